"""Recordings: read whole, repeated byte for byte."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import pytest

from k2.errors import ConfigurationError
from k2.simulator import recording
from k2.simulator.market import TRADE_KINDS, Window
from k2.simulator.recorded import RecordedMarket
from unit.simulator.wire import dial, get, receive, recording_path

if TYPE_CHECKING:
    from pathlib import Path

    from unit.simulator.conftest import Serve

_TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1.5","q":"2","T":%d,"m":true,"M":true}}'
_SPACED = (
    b'{"stream":"btcusdt@aggTrade", "data": {"e":"aggTrade", "E":1723161256000,"s":"BTCUSDT","a":5,"p":"1","q":"1",'
    b'"f":1,"l":2,"T":1,"m":true}}'
)
_BOOK = b'{"lastUpdateId":7,"bids":[["1.0","2.0"]],"asks":[]}'
_KLINE = (
    b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1723161255500,"s":"BTCUSDT",'
    b'"k":{"t":1723161240000,"T":1723161299999,"s":"BTCUSDT","i":"1m"}}}'
)


def _trade(number: int) -> bytes:
    return _TRADE % (1_723_161_255_000 + number * 100, number, 1_723_161_254_900 + number * 100)


@pytest.fixture
def gzipped(tmp_path: Path) -> Path:
    """Four trades 100 ms apart with a snapshot, a spaced frame and an odd line between them."""
    bodies = [_trade(1), _BOOK, _trade(2), _SPACED, _KLINE, _trade(3), _trade(4)]
    lines = [b"%d %b" % (1_723_161_253_000_000_000 + i * 100_000_000, body) for i, body in enumerate(bodies)]
    path = tmp_path / "recording.gz"
    path.write_bytes(gzip.compress(b"\n".join([*lines, b"17231 {torn", b""])))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "recording.txt"
    lines = [b"wss://stream.binance.com:9443/stream?streams=btcusdt@trade <-> 1633998511.15", b"1633998512.06: " + _trade(1)]
    path.write_bytes(b"\n".join([*lines, b"1633998512.56: " + _trade(2), b"", b""]))
    return path


def test_the_compressed_format_is_read(gzipped: Path) -> None:
    """Frames keep their bytes; the snapshot is kept apart; odd lines are counted."""
    loaded = recording.load(gzipped)
    assert [recorded.frame.combined for recorded in loaded.frames] == [
        _trade(1),
        _trade(2),
        _SPACED,
        _KLINE,
        _trade(3),
        _trade(4),
    ]
    assert [round(recorded.offset_s, 3) for recorded in loaded.frames] == [0.0, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert loaded.snapshots == {"BTCUSDT": _BOOK}
    assert (loaded.venue, loaded.odd_lines, loaded.first_event_ms) == ("spot", 1, 1_723_161_255_100)
    assert loaded.symbols == ["BTCUSDT"]


def test_the_plain_format_is_read(plain: Path) -> None:
    """The first line is the address, not a frame."""
    loaded = recording.load(plain)
    assert [recorded.frame.combined for recorded in loaded.frames] == [_trade(1), _trade(2)]
    assert loaded.frames[1].offset_s == pytest.approx(0.5)
    assert loaded.odd_lines == 0


def test_a_raw_frame_is_the_part_that_data_names(gzipped: Path) -> None:
    """Spaces in the envelope do not disturb the cut."""
    frames = [recorded.frame for recorded in recording.load(gzipped).frames]
    assert json.loads(frames[2].raw) == json.loads(_SPACED)["data"]
    assert frames[0].raw == _trade(1)[len(b'{"stream":"btcusdt@trade","data":') : -1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(None, "cannot be read: No such file", id="absent"),
        pytest.param(b"\x1f\x8bnonsense", "cannot be read", id="torn-gzip"),
        pytest.param(b"hello\n", "no frames in it", id="no-frames"),
        pytest.param(b"", "no frames in it", id="empty"),
    ],
)
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    """The error names the option, the file and what is wrong."""
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"--recording .*x: .*{complaint}"):
        recording.load(path)


@pytest.mark.parametrize(
    ("name", "venue", "frames", "symbols"),
    [
        ("spot_btcusdt_20240808.gz", "spot", 41_248, ["BTCUSDT"]),
        ("usdm_btcusdt_20240808.gz", "usdm", 93_953, ["BTCUSDT"]),
        ("spot_multi_20211012.txt", "spot", 265, ["NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"]),
        ("usdm_multi_20210722.txt", "usdm", 1_535, ["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"]),
    ],
)
def test_real_recordings_are_read_whole(name: str, venue: str, frames: int, symbols: list[str]) -> None:
    """Every line but the address and the snapshot is a frame, and the market is recognised."""
    loaded = recording.load(recording_path(name))
    assert (loaded.venue, len(loaded.frames), loaded.symbols, loaded.odd_lines) == (venue, frames, symbols, 0)
    assert list(loaded.snapshots) == (["BTCUSDT"] if name.endswith(".gz") else [])


async def test_a_real_recording_arrives_byte_for_byte(serve: Serve) -> None:
    """At full speed all 41,248 frames of a real hour arrive, in order, unchanged; then the line stays open."""
    path = recording_path("spot_btcusdt_20240808.gz")
    lines = [line.split(b" ", 1)[1] for line in gzip.decompress(path.read_bytes()).splitlines()]
    recorded = [line for line in lines if line.startswith(b'{"stream"')]
    exchange = await serve(RecordedMarket(recording.load(path), speed=None))
    streams = "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
    async with dial(exchange, f"/stream?streams={streams}") as client:
        assert await receive(client, len(recorded)) == recorded
        await asyncio.wait_for(exchange.exhausted.wait(), 5)
        assert exchange.open_connections
    assert exchange.sent.total() == len(recorded)


async def test_raw_connections_get_the_events_alone(serve: Serve, gzipped: Path) -> None:
    """Below /ws the envelope is missing and the event is unchanged."""
    exchange = await serve(RecordedMarket(recording.load(gzipped), speed=None))
    async with dial(exchange, "/ws/btcusdt@trade") as client:
        assert await receive(client) == [_trade(1)[len(b'{"stream":"btcusdt@trade","data":') : -1]]


async def test_a_recording_begins_with_its_first_reader(serve: Serve, gzipped: Path) -> None:
    """Nothing is issued before somebody subscribes, and a reader who comes first misses nothing."""
    exchange = await serve(RecordedMarket(recording.load(gzipped), speed=100.0))
    await asyncio.sleep(0.05)
    async with dial(exchange, "/stream?streams=btcusdt@trade") as client:
        assert await receive(client, 4) == [_trade(number) for number in range(1, 5)]


def test_what_it_has_streams_of_is_told(gzipped: Path) -> None:
    """A client that asks for another stream would hear nothing: trades come first, as they are what most ask for."""
    kinds = RecordedMarket(recording.load(gzipped)).stream_kinds()
    assert kinds[0] in TRADE_KINDS
    assert set(kinds) == {stream.partition("@")[2] for stream in recording.load(gzipped).streams}


def test_the_recorded_pace_is_kept(gzipped: Path) -> None:
    """At speed 2 a frame comes after half its recorded time."""
    market = RecordedMarket(recording.load(gzipped), speed=2.0)
    market.begin(50.0, 0)
    assert [len(market.pull(now_s, (), 100)) for now_s in (50.0, 50.11, 50.16, 50.31)] == [1, 1, 1, 3]
    assert market.idle_s(51.0) is None


def test_original_times_leave_every_byte_alone(gzipped: Path) -> None:
    """Frames are the recorded objects themselves."""
    loaded = recording.load(gzipped)
    market = RecordedMarket(loaded, speed=None)
    market.begin(0.0, 1_800_000_000_000)
    assert market.pull(0.0, (), 100) == [recorded.frame for recorded in loaded.frames]


def test_times_can_be_moved_to_the_present(gzipped: Path) -> None:
    """Event times move together and the first is now; everything else stays; candle bounds stay whole intervals."""
    market = RecordedMarket(recording.load(gzipped), speed=1.0, times="now")
    now_ms = 1_800_000_000_123
    market.begin(0.0, now_ms)
    frames = market.pull(1.0, (), 100)
    events = [json.loads(frame.raw) for frame in frames]
    assert [(e["E"] - now_ms, e["T"] - now_ms) for e in events if e["e"] == "trade"] == [
        (0, -100),
        (100, 0),
        (200, 100),
        (300, 200),
    ]
    assert frames[0].combined == _TRADE % (now_ms, 1, now_ms - 100)
    candle = events[3]
    assert candle["E"] == now_ms + 400
    assert (candle["k"]["t"] % 60_000, candle["k"]["T"] - candle["k"]["t"]) == (0, 59_999)
    assert abs(candle["E"] - candle["k"]["t"]) < 120_000


@pytest.mark.parametrize("speed", [10.0, None])
def test_moved_times_are_the_present_at_any_speed(gzipped: Path, speed: float | None) -> None:
    """However fast a recording runs, its events are not from the future."""
    market = RecordedMarket(recording.load(gzipped), speed=speed, times="now")
    market.begin(0.0, 1_800_000_000_000)
    last = [json.loads(frame.raw) for frame in market.pull(0.07, (), 100)][-1]
    assert 1_800_000_000_000 - 300 <= last["E"] <= 1_800_000_000_070


def test_the_past_of_a_recording_is_what_was_issued(gzipped: Path) -> None:
    """REST finds the trades that have been issued, and no later ones."""
    market = RecordedMarket(recording.load(gzipped), speed=1.0)
    market.begin(0.0, 0)
    market.pull(0.5, (), 100)
    assert [t.id for t in market.history("trade", "BTCUSDT", Window(from_id=2))] == [2, 3]
    assert [(t.id, t.first_id, t.last_id) for t in market.history("aggTrade", "BTCUSDT", Window())] == [(5, 1, 2)]
    assert market.history("trade", "ETHUSDT", Window()) == []


async def test_the_snapshot_is_served_as_the_order_book(serve: Serve, gzipped: Path) -> None:
    """The recorded REST answer comes from REST, never as a frame."""
    exchange = await serve(RecordedMarket(recording.load(gzipped), speed=None))
    status, body, _ = await get(exchange, "/api/v3/depth?symbol=BTCUSDT")
    assert (status, body) == (200, json.loads(_BOOK))
