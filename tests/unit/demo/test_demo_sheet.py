"""Claims about the balance sheet at the end of the demo."""

from __future__ import annotations

import json

import pytest

from k2.demo.sheet import EventsHeld, Sent, SeriesRange, Sheet, TopicBooks, make_sheet, to_json
from k2.demo.sheet_lines import lines
from unit.demo.samples import BOOKS, GOOD, GOOD_CLIENT, RANGE, TOPIC, TRADES, changed, record, trade_tally

QUOTES = SeriesRange("BTCUSDT", "bookTicker", None, None, 500, 0)
SEVERAL = changed(
    records=1_500, delivered=1_500, topics=(BOOKS, TopicBooks("quotes", "event", 500, 500, 0, (QUOTES,))), series=(RANGE, QUOTES)
)


@pytest.mark.parametrize(
    ("sheet", "balanced", "told"),
    [
        pytest.param(GOOD, True, "Balanced: every event", id="all-accounted-for"),
        pytest.param(changed(received=1_009), False, "NOT balanced: events", id="an-event-without-a-fate"),
        pytest.param(changed(records=1_001), False, "NOT balanced: records", id="a-record-without-a-fate"),
        pytest.param(changed(balanced=False), False, "NOT balanced: the client's own verdict", id="the-client-says-no"),
        pytest.param(changed(consumed=999, distinct=999), False, "NOT balanced: topic", id="one-not-in-the-topic"),
        pytest.param(changed(consumed=1_001, distinct=1_001), False, "NOT balanced: topic", id="one-too-many-in-the-topic"),
        pytest.param(changed(distinct=999), False, "NOT balanced: twins", id="one-came-twice-and-one-never"),
        pytest.param(changed(letters={"not_json": 4}), False, "NOT balanced: letters", id="a-dead-letter-not-on-the-disk"),
        pytest.param(changed(sent=Sent(2_000, 2_000, 5)), True, "Balanced", id="frames-lost-on-the-way-are-not-the-client's"),
        pytest.param(changed(delivered=990, in_flight=10, consumed=990, distinct=990), True, "Balanced", id="some-in-flight"),
        pytest.param(changed(held=EventsHeld(999, 1_000, 1_000)), False, "NOT balanced: streams", id="an-event-in-no-topic"),
        pytest.param(
            changed(held=EventsHeld(1_000, 1_001, 1_000)), False, "NOT balanced: copies", id="an-event-in-one-topic-only"
        ),
        pytest.param(changed(held=None), True, "Balanced", id="streams-that-look-alike"),
        pytest.param(SEVERAL, True, "Balanced", id="several-topics"),
    ],
)
def test_the_verdict_is_on_every_equation(sheet: Sheet, balanced: bool, told: str) -> None:
    """Both ledgers must hold, each delivered record must have come back once, and each dead letter must lie on the disk."""
    assert sheet.balanced is balanced
    assert list(lines(sheet))[-1].text.startswith(told)
    assert to_json(sheet)["balanced"] is balanced


def test_an_equation_that_does_not_hold_is_shown_with_its_difference() -> None:
    """The reader sees where the books break, and by how much."""
    texts = [line.text for line in lines(changed(consumed=997, distinct=996))]
    assert any("delivered   <- does not balance: -3" in text for text in texts)
    assert any("different records   <- does not balance: +1" in text for text in texts)


def test_numbers_stand_under_each_other() -> None:
    """All amounts of the ledgers end in one column, so that a column can be added up by eye."""
    ledgers = [line.text for line in lines(GOOD)][2:16]
    ends = {len(text[:22].rstrip()) for text in ledgers if text[:22].strip() and text[21:22].strip()}
    assert ends <= {21, 22}


@pytest.mark.parametrize(
    "sheet",
    [
        pytest.param(GOOD, id="the-usual"),
        pytest.param(changed(letters={f"a_rather_long_reason_{i}": 1 for i in range(5)}), id="long-reasons"),
        pytest.param(changed(sent=Sent(1_234_567, 7_654_321, 12)), id="arrays"),
        pytest.param(changed(speed=3_000, seconds=1_000.0), id="fast"),
        pytest.param(SEVERAL, id="several-topics"),
        pytest.param(
            changed(
                topics=(BOOKS, TopicBooks("t" * 249, "futures-quote", 10**8, 10**8 - 9, 0)),
                records=10**7,
                series=(*(SeriesRange("1000000MOGUSDT", f"depth@{i}ms", 5 * 10**12, 5 * 10**12, 10**9, 99) for i in range(9)),),
            ),
            id="long-names",
        ),
    ],
)
def test_the_sheet_fits_a_terminal(sheet: Sheet) -> None:
    """No line is wider than 80 columns."""
    assert max(len(line.text) for line in lines(sheet)) <= 80


def test_what_the_real_exchange_sent_is_not_told() -> None:
    """Only the simulated exchange counts what it sends; without its count there is no line for it."""
    assert not any(line.text.startswith("Exchange") for line in lines(changed(sent=None)))
    assert any(line.text.startswith("Exchange") for line in lines(GOOD))


def test_missing_ids_are_shown_with_their_symbol() -> None:
    """A hole in a symbol's ids is named, and does not hide among the others."""
    sheet = changed(series=(SeriesRange("BTCUSDT", "trade", 1, 10, 10, 0), SeriesRange("ETHUSDT", "trade", 1, 10, 8, 2)))
    states = {line.text.split()[0]: line.text for line in lines(sheet) if line.text.startswith(("BTC", "ETH"))}
    assert states["BTCUSDT"].endswith("contiguous")
    assert states["ETHUSDT"].endswith("2 missing")


def test_the_json_form_is_flat_and_complete() -> None:
    """A script finds every number under the name that the client's own log line uses."""
    found = json.loads(json.dumps(to_json(GOOD)))
    expected = {
        "received": 1_008, "published": 1_000, "dead_lettered": 5, "ignored": 3, "records": 1_000, "delivered": 1_000,
        "spooled": 0, "in_flight": 0, "consumed": 1_000, "distinct": 1_000, "missing": 0, "sent": 1_003, "sent_events": 1_003,
        "malformed": 5, "events_in_topics": 1_000, "topic": TOPIC, "market_speed": 1, "balanced": True,
    }  # fmt: skip
    assert expected.items() <= found.items()


def test_the_json_form_tells_of_each_topic_and_symbol() -> None:
    """By topic what it holds of each stream, by symbol what came of it over all streams."""
    found = json.loads(json.dumps(to_json(SEVERAL)))
    assert {name: topic["consumed"] for name, topic in found["topics"].items()} == {TOPIC: 1_000, "quotes": 500}
    assert found["topics"]["quotes"]["series"]["bookTicker"]["BTCUSDT"]["records"] == 500
    assert found["symbols"] == {"BTCUSDT": {"symbol": "BTCUSDT", "first_id": 1, "last_id": 1_000, "records": 1_500, "missing": 0}}


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        pytest.param(SEVERAL, "made of 1,000 events, one for each of their topics", id="several-records-of-an-event"),
        pytest.param(SEVERAL, "read back from 2 topics", id="several-topics"),
        pytest.param(SEVERAL, "with jumps", id="numbers-with-holes-by-design"),
        pytest.param(changed(sent=Sent(400, 1_003, 5)), "405  frames sent with 1,008 events", id="arrays"),
        pytest.param(changed(speed=25), "market time ran 25 times as fast", id="fast-clock"),
        pytest.param(
            changed(series=tuple(SeriesRange(f"S{i}", "miniTicker", None, None, 10, 0) for i in range(3_000))),
            "and 2,976 more with 29,760 records, no id missing", id="thousands-of-symbols",
        ),
    ],
)  # fmt: skip
def test_what_is_not_as_with_one_topic_of_trades_is_said(sheet: Sheet, told: str) -> None:
    """Several topics, arrays, jumps and a fast clock are explained where they are."""
    assert any(told in line.text for line in lines(sheet))


def test_streams_are_listed_as_they_were_asked_for() -> None:
    """The order in which records happened to come back does not shuffle the list."""
    tally = trade_tally()
    for symbol in ("BNBUSDT", "BTCUSDT"):
        tally.take(TOPIC, record(1, symbol))
    rows = [(symbol, "aggTrade") for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT")]
    sheet = make_sheet(GOOD_CLIENT, tally, {}, plans=[TRADES], rows=rows, held=None, sent=None, speed=1, seconds=1.0)
    assert [row.symbol for row in sheet.series] == ["BTCUSDT", "BNBUSDT"]
