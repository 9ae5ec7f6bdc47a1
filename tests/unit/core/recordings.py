"""Frames of real connections, where the recordings lie beside the repository."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unit.core.pipelines import ROOT

DIRECTORY = ROOT.parent / "shared" / "recordings"
# What each of the four holds of our streams: market, stream, symbols, number of trade frames.
RECORDINGS = {
    "spot_btcusdt_20240808.gz": ("spot", "trade", ("BTCUSDT",), 9_757),
    "usdm_btcusdt_20240808.gz": ("usdm", "trade", ("BTCUSDT",), 21_313),
    "spot_multi_20211012.txt": ("spot", "aggTrade", ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"), 2),
    "usdm_multi_20210722.txt": ("usdm", "aggTrade", ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"), 91),
}


@dataclass(frozen=True)
class Recorded:
    """A frame and the local clock when it came, in microseconds since the Unix epoch."""

    received_at_us: int
    frame: bytes


def path_of(name: str) -> Path:
    return DIRECTORY / name


def are_there() -> bool:
    return all(path_of(name).is_file() for name in RECORDINGS)


def frames_of(name: str) -> Iterator[Recorded]:
    """Every frame of a recording; lines that hold something else are left out."""
    content = path_of(name).read_bytes()
    for line in (gzip.decompress(content) if name.endswith(".gz") else content).split(b"\n"):
        time, _, frame = line.partition(b" ")
        if frame.startswith(b'{"stream":'):
            nanoseconds = float(time[:-1]) * 1e9 if time.endswith(b":") else int(time)
            yield Recorded(int(nanoseconds // 1_000), frame)
