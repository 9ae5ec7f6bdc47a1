"""Every stream of either venue: that it speaks, in the exchange's form, and the same in every run."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from k2.cli.exchange import stream_lines
from k2.simulator.catalogue import CATALOGUES
from k2.simulator.intervals import INTERVALS
from k2.simulator.market import Venue
from k2.simulator.streams import in_short, names
from unit.simulator.listening import VENUES, begun, events, frames

_SYMBOLS = ("BTCUSDT", "ETHUSDT")
_CANDLE = "t T s i f L o c h l v n x q V Q B"
_SPOT_WINDOW = "e E s p P o h l c w v q O C F L n"
_USDM_DEPTH = "e E T s ps U u pu b a st"
_USDM_MARK = "e E s p ap P i r T st"

# The keys of each kind of event in their order, by a pattern of the stream's kind; those of an inner object behind a slash.
_SPOT_KEYS = {
    "aggTrade": "e E s a p q f l T m M",
    "trade": "e E s t p q T m M",
    "blockTrade": "e E s t p q T m",
    r"kline_.*": f"e E s k / {_CANDLE}",
    "bookTicker": "u s b B a A",
    r"depth(@100ms)?": "e E s U u b a",
    r"depth(5|10|20)(@100ms)?": "lastUpdateId bids asks",
    "miniTicker|!miniTicker@arr": "e E s c o h l v q",
    "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    r"ticker_(1h|4h|1d)|!ticker_(1h|4h|1d)@arr": _SPOT_WINDOW,
    "avgPrice": "e E s i w T",
    "referencePrice": "e s r t",
}
_USDM_KEYS = {
    "aggTrade": "e E a s p q nq f l T m st",
    "trade": "e E T s t p q X m st",
    r"kline_.*": f"e E s k / {_CANDLE}",
    "bookTicker|!bookTicker": "e u s ps b B a A T E st",
    r"depth(5|10|20)?(@\d+ms)?": _USDM_DEPTH,
    r"markPrice(@1s)?|!markPrice@arr(@1s)?": _USDM_MARK,
    r"forceOrder|!forceOrder@arr": "e E o / s S o f q p ap X l z T ps st",
    "miniTicker|!miniTicker@arr": "e E s ps c o h l v q st",
    "ticker|!ticker@arr": "e E s ps p P w c Q o h l v q O C F L n st",
}
_KEYS: dict[Venue, dict[str, str]] = {"spot": _SPOT_KEYS, "usdm": _USDM_KEYS}
_ALL = [(venue, kind) for venue in VENUES for kind in CATALOGUES[venue].kinds]


def _stream(kind: str, symbol: str = "btcusdt") -> str:
    return kind if kind.startswith("!") else f"{symbol}@{kind}"


def _keys(event: dict[str, Any]) -> str:
    inner = next((value for value in event.values() if isinstance(value, dict)), None)
    return " ".join([*event, "/", *inner] if inner else event)


@pytest.mark.parametrize(("venue", "kind"), _ALL)
def test_every_stream_speaks_in_the_exchanges_form(venue: Venue, kind: str) -> None:
    """Its keys are those of the documentation and of real frames, in their order, for each of its symbols."""
    expected = next(keys for pattern, keys in _KEYS[venue].items() if re.fullmatch(pattern, kind))
    told = [event for _, event in events(begun(venue=venue, symbols=_SYMBOLS), (_stream(kind),), 10.0)]
    single = [part for event in told for part in (event if isinstance(event, list) else [event])]
    assert {_keys(event) for event in single} == {expected}


def test_the_catalogue_is_complete() -> None:
    """It has what the exchange documents, and not what was retired or what the other venue has."""
    spot, usdm = CATALOGUES["spot"].kinds, CATALOGUES["usdm"].kinds
    assert [kind for kind in spot if kind.startswith("kline_")] == [
        *(f"kline_{interval}" for interval in INTERVALS["spot"]),
        *(f"kline_{interval}@+08:00" for interval in INTERVALS["spot"]),
    ]
    assert (len(INTERVALS["spot"]), len(INTERVALS["usdm"])) == (16, 15)
    assert not {"!ticker@arr", "markPrice", "!bookTicker"} & set(spot)
    assert not {"kline_1s", "kline_1m@+08:00", "avgPrice", "blockTrade", "referencePrice", "ticker_1h"} & set(usdm)


@pytest.mark.parametrize(
    "kind", ["!miniTicker@arr", "!ticker@arr", "!markPrice@arr", "!markPrice@arr@1s", "!forceOrder@arr", "!bookTicker"]
)
def test_futures_streams_of_all_symbols_carry_the_other_futures_too(kind: str) -> None:
    """One COIN-M symbol is among them, and tells by its type and its pair."""
    told = [event for _, event in events(begun(venue="usdm", symbols=_SYMBOLS), (kind,), 30.0)]
    single = [part for event in told for part in (event if isinstance(event, list) else [event])]
    inner = [event["o"] if event["e"] == "forceOrder" else event for event in single]
    assert {event["s"]: event["st"] for event in inner} == {"BTCUSDT": 1, "ETHUSDT": 1, "BTCUSD_PERP": 2}
    assert {event["ps"] for event in inner if event.get("ps") and event["st"] == 2} <= {"BTCUSD"}


@pytest.mark.parametrize(("kind", "in_array"), [("!miniTicker@arr", True), ("!forceOrder@arr", False), ("!bookTicker", False)])
def test_only_arrays_are_arrays(kind: str, *, in_array: bool) -> None:
    """Liquidations and quotes of all symbols come one by one, in spite of a name that ends in `@arr`."""
    told = events(begun(venue="usdm"), (kind,), 10.0)
    assert {isinstance(event, list) for _, event in told} == {in_array}


def test_arrays_have_only_what_changed() -> None:
    """A symbol that did not trade within the second is left out."""
    market = begun(symbols=tuple(f"S{number}USDT" for number in range(40)), rate=20.0)
    sizes = [len(event) for _, event in events(market, ("!miniTicker@arr",), 20.0)]
    assert min(sizes) >= 1
    assert max(sizes) < 40


@pytest.mark.parametrize("venue", VENUES)
def test_the_same_seed_gives_the_same_bytes(venue: Venue) -> None:
    """On all streams together, however often the market is asked, and whoever listens."""
    streams = [_stream(kind, symbol) for kind in CATALOGUES[venue].kinds for symbol in ("btcusdt", "ethusdt")]
    whole = frames(begun(venue=venue, symbols=_SYMBOLS), streams, 12.0)
    at_once = begun(venue=venue, symbols=_SYMBOLS).pull(12.0, streams, 100_000)
    few = frames(begun(venue=venue, symbols=_SYMBOLS), streams[3:9], 12.0)
    assert whole == at_once
    assert [frame for frame in whole if frame.stream in streams[3:9]] == few
    assert frames(begun(venue=venue, symbols=_SYMBOLS, seed=2), streams, 12.0) != whole


@pytest.mark.parametrize("venue", VENUES)
def test_events_come_in_the_order_of_their_time(venue: Venue) -> None:
    """What comes by time is told after the trades until then and before those later on."""
    streams = [_stream(kind) for kind in CATALOGUES[venue].kinds]
    told = [event for _, event in events(begun(venue=venue), streams, 10.0)]
    times = [(event[0] if isinstance(event, list) else event).get("E", 0) for event in told]
    known = [time for time in times if time]
    assert known == sorted(known)


def test_an_unlisted_and_a_retired_stream_are_silent() -> None:
    """As on the exchange, names that mean nothing are no error."""
    wanted = ("!ticker@arr", "btcusdt@kline_7m", "nosuch@trade", "btcusdt@", "@", "", "btcusdt@markPrice", "BTCUSDT@trade")
    assert frames(begun(), wanted, 10.0) == []


def test_a_unicode_symbol_is_cut_where_its_event_begins() -> None:
    """The bare event of a symbol beyond ASCII is whole."""
    market = begun(symbols=("牛来USDT",))
    told = frames(market, ("牛来usdt@trade", "牛来usdt@kline_1m"), 5.0)
    assert {json.loads(frame.raw)["s"] for frame in told} == {"牛来USDT"}
    assert {frame.stream for frame in told} == {"牛来usdt@trade", "牛来usdt@kline_1m"}


@pytest.mark.parametrize(
    ("kinds", "short"),
    [
        (["trade"], ["trade"]),
        (["depth", "depth5", "depth@100ms", "depth5@100ms"], ["depth[5][@100ms]"]),
        (["kline_1m", "kline_1M", "trade"], ["kline_1<m|M>", "trade"]),
        (["depth", "depth@0ms", "depth5"], ["depth[@0ms]", "depth5"]),
    ],
)
def test_many_kinds_are_told_in_short(kinds: list[str], short: list[str]) -> None:
    """What may be left out stands in brackets, of what stands in angle brackets one is chosen."""
    assert in_short(kinds) == short


@pytest.mark.parametrize("venue", VENUES)
def test_the_command_lists_the_streams_in_a_few_lines(venue: Venue) -> None:
    """Each line fits a terminal."""
    lines = stream_lines(CATALOGUES[venue].kinds)
    assert len(lines) <= 6
    assert max(map(len, lines)) <= 120


def test_a_time_zone_survives_the_url() -> None:
    """A plus that a query made a space is a plus again."""
    assert names("btcusdt@kline_1d@ 08:00/btcusdt@trade") == ["btcusdt@kline_1d@+08:00", "btcusdt@trade"]
