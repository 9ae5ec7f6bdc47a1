"""What the tools share that read a topic back: waiting for broker and registry, opening a topic, decoding its records."""
