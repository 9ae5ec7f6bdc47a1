"""Recordings of every kind of stream whose times are moved to the present, and the real ones played whole."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from k2.simulator import recording
from k2.simulator.market import Frame
from k2.simulator.moving import moved, moved_snapshot
from k2.simulator.recorded import RecordedMarket
from unit.simulator.listening import VENUES, begun, frames
from unit.simulator.wire import dial, receive, recording_path

_NOW_MS = 1_800_000_000_123
_BY_MS = 10_000_000_123
_RECORDINGS = {
    "spot_btcusdt_20240808.gz": ["trade", "depth@100ms", "bookTicker"],
    "usdm_btcusdt_20240808.gz": ["trade", "depth@0ms", "bookTicker"],
    "spot_multi_20211012.txt": ["aggTrade", "depth@100ms", "bookTicker", "kline_1m"],
    "usdm_multi_20210722.txt": ["aggTrade", "bookTicker", "depth@100ms", "kline_1m"],
}


def _frame(stream: str, data: str) -> Frame:
    head = f'{{"stream":"{stream}","data":'
    return Frame(stream, f"{head}{data}}}".encode(), len(head))


@pytest.mark.parametrize(
    ("stream", "data", "moved_keys"),
    [
        ("btcusdt@trade", {"E": 1, "t": 1, "T": 1}, "ET"),
        ("btcusdt@blockTrade", {"E": 1, "t": 1, "T": 1}, "ET"),
        ("btcusdt@bookTicker", {"u": 1, "T": 1, "E": 1}, "ET"),
        ("!bookTicker", {"u": 1, "T": 1, "E": 1}, "ET"),
        ("btcusdt@depth@0ms", {"E": 1, "T": 1, "U": 1, "u": 1, "pu": 1}, "ET"),
        ("btcusdt@depth5", {"lastUpdateId": 1}, ""),
        ("btcusdt@miniTicker", {"E": 1}, "E"),
        ("btcusdt@ticker", {"E": 1, "O": 1, "C": 1, "F": 1, "L": 1, "n": 1}, "EOC"),
        ("!ticker_1h@arr", {"E": 1, "O": 1, "C": 1, "F": 1, "L": 1}, "EOC"),
        ("btcusdt@avgPrice", {"E": 1, "T": 1}, "ET"),
        ("btcusdt@referencePrice", {"t": 1}, "t"),
        ("btcusdt@forceOrder", {"E": 1, "T": 1}, "ET"),
    ],
)
def test_each_stream_has_its_own_times(stream: str, data: dict[str, int], moved_keys: str) -> None:
    """Ids stay, however long they are."""
    recorded = {key: 1_723_161_255_000 + number for number, key in enumerate(data)}
    after = json.loads(moved(_frame(stream, json.dumps(recorded)), _BY_MS).raw)
    assert {key for key in recorded if after[key] != recorded[key]} == set(moved_keys)
    assert all(after[key] - recorded[key] == _BY_MS for key in moved_keys)


@pytest.mark.parametrize("venue", VENUES)
def test_the_bounds_of_candles_stay_bounds(venue: Any) -> None:
    """On every interval and in every time zone a candle that was recorded is a candle of the present."""
    kinds = [kind for kind in begun(venue=venue).stream_kinds() if kind.startswith("kline_")]
    now = begun(venue=venue)
    streams = [f"btcusdt@{kind}" for kind in kinds]
    present = {f.stream: json.loads(moved(f, 0).raw)["k"] for f in frames(now, streams, 4.0)}
    for frame in frames(begun(venue=venue), streams, 4.0):
        before, after = json.loads(frame.raw), json.loads(moved(frame, _BY_MS).raw)
        length_ms = before["k"]["T"] - before["k"]["t"]
        assert after["E"] - before["E"] == _BY_MS
        if "1M" in frame.stream:
            assert 27 * 86_400_000 < after["k"]["T"] - after["k"]["t"] < 31 * 86_400_000 + 1
        else:
            assert after["k"]["T"] - after["k"]["t"] == length_ms
            assert (after["k"]["t"] - present[frame.stream]["t"]) % (length_ms + 1) == 0
        assert 0 <= after["E"] - after["k"]["t"] <= 2 * length_ms + 2


def test_the_next_funding_stays_a_time_of_funding() -> None:
    """It moves by whole periods and stays ahead of the event or ends with it."""
    frame = next(iter(frames(begun(venue="usdm"), ("btcusdt@markPrice",), 5.0)))
    after = json.loads(moved(frame, _BY_MS).raw)
    assert after["T"] % 28_800_000 == 0
    assert abs(after["T"] - after["E"]) <= 28_800_000


def test_the_snapshot_moves_with_its_recording() -> None:
    """Futures' order book of REST has times too."""
    assert moved_snapshot(b'{"lastUpdateId":5123107852948,"E":1723161256501,"T":1723161256493,"bids":[]}', 1) == (
        b'{"lastUpdateId":5123107852948,"E":1723161256502,"T":1723161256494,"bids":[]}'
    )


@pytest.mark.parametrize("name", _RECORDINGS)
def test_a_real_recording_plays_all_its_streams(name: str) -> None:
    """Each is named, and every one of its frames is issued."""
    loaded = recording.load(recording_path(name))
    market = RecordedMarket(loaded, speed=None)
    market.begin(0.0, _NOW_MS)
    assert set(market.stream_kinds()) == set(_RECORDINGS[name])
    issued = market.pull(0.0, (), len(loaded.frames) + 1)
    assert {frame.stream.partition("@")[2] for frame in issued} == set(_RECORDINGS[name])
    assert len(issued) == len(loaded.frames)


@pytest.mark.parametrize("name", _RECORDINGS)
def test_a_real_recording_can_be_of_the_present(name: str) -> None:
    """No time of the recording is left in it, and nothing but times is changed."""
    loaded = recording.load(recording_path(name))
    market = RecordedMarket(loaded, speed=None, times="now")
    market.begin(0.0, _NOW_MS)
    issued = market.pull(0.0, (), len(loaded.frames))
    times = re.compile(rb'"[ETt]":\d{13}(?!\d)')
    for recorded, frame in zip(loaded.frames, issued, strict=True):
        assert times.sub(b"", frame.combined) == times.sub(b"", recorded.frame.combined)
    said = [int(found) for frame in issued for found in re.findall(rb'"[ET]":(\d{13})(?!\d)', frame.combined)]
    assert min(said) > _NOW_MS - 3_600_000
    assert max(said) < _NOW_MS + 120_000


@pytest.mark.parametrize("stream", ["btcusdt@depth@0ms", "btcusdt@bookTicker"])
async def test_a_recorded_stream_is_subscribed_to_by_its_own_name(serve: Any, stream: str) -> None:
    """Speeds that are not documented and capitals within the kind belong to the name."""
    exchange = await serve(RecordedMarket(recording.load(recording_path("usdm_btcusdt_20240808.gz")), speed=None))
    async with dial(exchange, f"/public/stream?streams={stream}") as client:
        assert json.loads((await receive(client))[0])["stream"] == stream
