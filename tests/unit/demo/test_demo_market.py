"""Claims about the simulated market of a run: its pace, its events, and the frames that are broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from k2.demo.malformed import malformed_frames, target
from k2.demo.market import market_for
from k2.demo.pace import MOST_FRAMES_PER_S, Pace, pace_for
from k2.ingestion.core.outcome import DeadLetter
from k2.ingestion.exchanges.binance.kinds import KINDS
from k2.ingestion.topic_plan import AVRO
from k2.ingestion.wishes import known_all_market_names, known_specs
from k2.simulator.intervals import next_opening_ms, opening_ms
from k2.simulator.market import Venue
from unit.demo.flows import frames_of, outcomes_of, pipeline_of, plan_for, streams_of
from unit.demo.samples import asked

NOW_MS = 1_790_000_000_000
VENUES: tuple[Venue, ...] = ("spot", "usdm")


def wishes() -> list[tuple[Venue, str]]:
    """A stream of each kind, and every stream of all symbols."""
    return [
        (venue, wish)
        for venue in VENUES
        for wish in (
            *(next(s for s in known_specs(venue) if kind.has(s)) for kind in KINDS if kind.market == venue),
            *known_all_market_names(venue),
        )
    ]


@pytest.mark.parametrize(
    ("values", "speed"),
    [
        pytest.param({}, 1, id="no-candles"),
        pytest.param({"streams": ["kline_1m"]}, 25, id="five-minutes-in-twelve-seconds"),
        pytest.param({"streams": ["kline_1m"], "candles": "updates"}, 1, id="every-update"),
        pytest.param({"streams": ["kline_1s"]}, 1, id="fast-enough"),
        pytest.param({"profile": "candles"}, 750, id="half-an-hour"),
        pytest.param({"profile": "events"}, 1, id="a-profile-with-updates"),
        pytest.param({"streams": ["aggTrade"], "raw_streams": ["kline_1h"]}, 1, id="captured-candles"),
    ],
)
def test_the_clock_runs_as_fast_as_candles_need(values: dict[str, Any], speed: int) -> None:
    """Several candles close while one watches; nothing runs faster that has no need to."""
    assert asked(**values).pace(NOW_MS).speed == speed


def test_what_speaks_by_the_clock_holds_it_back() -> None:
    """A clock that runs fast must not flood the machine with order books."""
    streams = streams_of("spot", "kline_1d", "depth@100ms")
    pace = pace_for(streams, "spot", 2, 12.0, closed_only=True, now_ms=NOW_MS)
    assert pace.speed == int(MOST_FRAMES_PER_S / (2 * (0.5 + 10)))


@pytest.mark.parametrize("spec", ["kline_1m", "kline_1d", "kline_1d@+08:00", "kline_1w", "kline_1M"])
def test_a_candle_closes_soon_and_nothing_comes_from_the_future(spec: str) -> None:
    """Of every interval one candle closes two seconds after the beginning, and the run ends before now."""
    pace = pace_for(streams_of("spot", spec), "spot", 1, 12.0, closed_only=True, now_ms=NOW_MS)
    interval, offset_ms = spec.removeprefix("kline_").removesuffix("@+08:00"), 8 * 3_600_000 if "@" in spec else 0
    assert pace.began_at_ms is not None
    closes_ms = next_opening_ms(interval, opening_ms(interval, pace.began_at_ms, offset_ms), offset_ms)
    assert 0 < closes_ms - pace.began_at_ms <= 2_000 * pace.speed
    assert pace.began_at_ms + 12 * 1_000 * pace.speed < NOW_MS


@pytest.mark.parametrize(
    ("market", "wish"),
    [("spot", "!miniTicker@arr"), ("spot", "!ticker_1h@arr"), ("usdm", "!ticker@arr"), ("usdm", "!markPrice@arr")],
)
def test_the_events_in_arrays_are_those_that_the_client_sees(market: Venue, wish: str) -> None:
    """Counted from the frames that were sent, they are as many as the client's rows make outcomes of."""
    streams = streams_of(market, wish)
    simulated, frames = frames_of(market, streams, arrays=[wish])
    sent = frames[: len(frames) // 2]
    outcomes = outcomes_of(pipeline_of(market, streams, [plan_for(AVRO, streams[0])]), [frame.combined for frame in sent])
    assert len(sent) < simulated.events_in({wish: len(sent)}) == len(outcomes)


def test_what_is_not_taken_apart_counts_by_frames() -> None:
    """A frame that is kept as it is, and one of a symbol's own stream, is one event."""
    simulated, _ = frames_of("spot", streams_of("spot", "!miniTicker@arr"))
    assert simulated.events_in({"!miniTicker@arr": 7, "btcusdt@trade": 2}) == 9


@pytest.mark.parametrize(
    ("values", "rate"), [({}, 600.0), ({"streams": ["trade"]}, 600 * 10 / 17), ({"raw_streams": ["trade"]}, 600.0)]
)
def test_the_rate_is_that_of_the_trades_that_are_wanted(values: dict[str, Any], rate: float) -> None:
    """Of single trades there are more than of aggregated ones, in which the market counts."""
    assert market_for(asked(**values), Pace()).options.rate == pytest.approx(rate)


@pytest.mark.parametrize("layout", [AVRO, "event"])
@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize(("market", "wish"), wishes())
def test_broken_frames_become_dead_letters(market: Venue, wish: str, updates: bool, layout: str) -> None:
    """Whatever the stream and the form: each broken frame is one event, and that a dead letter."""
    streams = streams_of(market, wish)
    pipeline = pipeline_of(market, streams, [plan_for(layout, streams[0])], updates=updates)
    frames = malformed_frames(market, streams[0].name, NOW_MS)
    outcomes = outcomes_of(pipeline, frames)
    assert len(outcomes) == len(frames) >= 4
    assert not [outcome for outcome in outcomes if not isinstance(outcome, DeadLetter)]


def test_broken_frames_of_no_stream_break_no_stream() -> None:
    """Where frames are only captured, whatever they hold, the broken ones are of no stream that is captured."""
    streams = streams_of("spot", "aggTrade")
    pipeline = pipeline_of("spot", streams, [plan_for("raw", streams[0])])
    outcomes = outcomes_of(pipeline, malformed_frames("spot", None, NOW_MS))
    assert [type(outcome) for outcome in outcomes] == [DeadLetter, DeadLetter]


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ([], None),
        (["btcusdt@depth", "btcusdt@trade"], "btcusdt@trade"),
        (["btcusdt@depth", "!miniTicker@arr"], "btcusdt@depth"),
    ],
)
def test_trades_are_broken_first(streams: list[str], expected: str | None) -> None:
    """Of them most can be wrong."""
    assert target(streams) == expected
