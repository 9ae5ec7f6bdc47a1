// node shrink.js FROM TO: a screenshot with few colours is a third of its size.
import sharp from 'sharp';

const [from, to] = process.argv.slice(2);
await sharp(from).png({ palette: true, colours: 128, effort: 10, compressionLevel: 9 }).toFile(to);
