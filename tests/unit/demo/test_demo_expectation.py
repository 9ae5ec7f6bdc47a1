"""Claims about what the demo's books should hold, as it follows from what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k2.demo.expectation import events_in_topics, expected_rows
from k2.demo.options import DemoOptions
from k2.demo.tally import Tally
from k2.ingestion.core.outcome import Publish, Record
from unit.demo.flows import SYMBOLS, decoded, frames_of, outcomes_of, pipeline_of
from unit.demo.samples import asked

HALVES = """\
version: 1
description: the same in two forms, and some of it in a third
options: {{streams: {streams}}}
topics:
  - {{id: all, name: all, streams: "*", layout: event}}
  - {{id: some, name: some, streams: {some}, layout: avro}}
"""


def halves(directory: Path, streams: str, some: str) -> DemoOptions:
    path = directory / "halves.yaml"
    path.write_text(HALVES.format(streams=streams, some=some))
    return asked(profile=str(path), symbols=list(SYMBOLS))


def played(options: DemoOptions) -> tuple[int, list[Record]]:
    """How many events were published in a run without a broker, and the records that they made."""
    _, frames = frames_of(options.venue, options.streams, arrays=options.arrays)
    pipeline = pipeline_of(options.venue, options.streams, options.topics, updates=not options.closed_only)
    published = [
        outcome for outcome in outcomes_of(pipeline, [frame.combined for frame in frames]) if isinstance(outcome, Publish)
    ]
    return len(published), [record for outcome in published for record in outcome.records]


def tallied(options: DemoOptions, records: list[Record]) -> Tally:
    tally, plans = Tally(options.topics, options.market, closed_only=options.closed_only), {p.name: p for p in options.topics}
    for record in records:
        tally.take(record.topic, decoded(plans[record.topic], record), record.timestamp_ms)
    return tally


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="trades"),
        pytest.param({"profile": "events", "symbols": list(SYMBOLS)}, id="events-in-two-topics"),
        pytest.param({"profile": "envelopes"}, id="envelopes"),
        pytest.param({"profile": "futures", "symbols": list(SYMBOLS)}, id="futures"),
        pytest.param({"streams": ["!miniTicker@arr", "kline_1s", "depth5"], "raw_streams": ["aggTrade", "!miniTicker@arr"]},
                     id="arrays-and-captured-frames"),
    ],
)  # fmt: skip
def test_the_topics_hold_as_many_different_events_as_were_published(values: dict[str, Any]) -> None:
    """Counted from the records alone, each event once, in however many topics it lies."""
    options = asked(**{"symbols": list(SYMBOLS), **values})
    published, records = played(options)
    tally = tallied(options, records)
    assert published > 0
    assert (tally.records, tally.distinct) == (len(records), len(records))
    held = events_in_topics(options, tally)
    assert held is not None
    assert (held.events, held.found) == (published, held.expected)


def test_an_event_that_lies_in_no_topic_is_noticed() -> None:
    """Records that were never read back make fewer events than were published."""
    options = asked(profile="events", symbols=list(SYMBOLS))
    published, records = played(options)
    held = events_in_topics(options, tallied(options, [record for record in records if b"kline" not in record.value]))
    assert held is not None
    assert held.events < published


def test_an_event_that_lies_in_one_of_its_topics_only_is_noticed() -> None:
    """The other topic has it, so it is counted as an event, but there is a record too few."""
    options = asked(profile="events", symbols=list(SYMBOLS))
    published, records = played(options)
    lost = next(place for place, record in enumerate(records) if record.topic == "binance-trades")
    held = events_in_topics(options, tallied(options, [*records[:lost], *records[lost + 1 :]]))
    assert held is not None
    assert (held.events, held.found) == (published, held.expected - 1)


def test_where_streams_look_alike_nothing_is_claimed(tmp_path: Path) -> None:
    """The payload of depth@100ms is that of depth: which of them is missing in one topic cannot be told."""
    options = halves(tmp_path, "[depth, depth@100ms]", "depth")
    assert events_in_topics(options, tallied(options, [])) is None


def test_streams_of_different_kinds_may_go_to_different_topics(tmp_path: Path) -> None:
    """Each kind is counted by the topic that holds most of it."""
    options = halves(tmp_path, "[aggTrade, bookTicker]", "aggTrade")
    published, records = played(options)
    held = events_in_topics(options, tallied(options, records))
    assert held is not None
    assert held.events == published < len(records) == held.expected == held.found


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        pytest.param({}, [("BTCUSDT", "aggTrade"), ("ETHUSDT", "aggTrade")], id="trades"),
        pytest.param({"streams": ["depth@100ms"]}, [("BTCUSDT", "depth@100ms"), ("ETHUSDT", "depth@100ms")], id="avro"),
        pytest.param({"profile": "events", "streams": ["depth@100ms"]},
                     [("BTCUSDT", "depth"), ("ETHUSDT", "depth")], id="payload"),
        pytest.param({"streams": ["off"], "raw_streams": ["trade"]},
                     [("BTCUSDT", "btcusdt@trade"), ("ETHUSDT", "ethusdt@trade")], id="captured"),
        pytest.param({"streams": ["!miniTicker@arr"]}, [], id="all-symbols"),
    ],
)  # fmt: skip
def test_rows_are_known_before_the_first_record(values: dict[str, Any], rows: list[tuple[str, str]]) -> None:
    """A symbol and stream without a record has its row from the beginning, under the name that its records will have."""
    assert list(expected_rows(asked(symbols=list(SYMBOLS), **values))) == rows


@pytest.mark.parametrize("values", [{}, {"profile": "events"}, {"profile": "futures"}, {"streams": ["kline_1s", "depth"]}])
def test_expected_rows_are_those_that_come(values: dict[str, Any]) -> None:
    """Nothing turns up under another name than expected."""
    options = asked(**{**values, "symbols": list(SYMBOLS)})
    _, records = played(options)
    assert set(tallied(options, records).series()) <= set(expected_rows(options))
