"""Claims about the balance sheet at the end of the demo."""

from __future__ import annotations

import json

import pytest

from k2.demo.sheet import Sheet, SymbolRange, lines, make_sheet, to_json
from k2.demo.tally import TopicTally
from unit.demo.samples import GOOD, GOOD_CLIENT, changed, record


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
        pytest.param(changed(sent=2_000), True, "Balanced", id="frames-lost-on-the-way-are-not-the-client's"),
        pytest.param(changed(delivered=990, in_flight=10, consumed=990, distinct=990), True, "Balanced", id="some-in-flight"),
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
    assert any("different message ids   <- does not balance: +1" in text for text in texts)


def test_numbers_stand_under_each_other() -> None:
    """All amounts of the ledgers end in one column, so that a column can be added up by eye."""
    ledgers = [line.text for line in lines(GOOD)][2:16]
    ends = {len(text[:22].rstrip()) for text in ledgers if text[:22].strip() and text[21:22].strip()}
    assert ends <= {21, 22}


@pytest.mark.parametrize("sheet", [GOOD, changed(letters={f"a_rather_long_reason_{i}": 1 for i in range(5)})])
def test_the_sheet_fits_a_terminal(sheet: Sheet) -> None:
    """No line is wider than 80 columns."""
    assert max(len(line.text) for line in lines(sheet)) <= 80


def test_what_the_real_exchange_sent_is_not_told() -> None:
    """Only the simulated exchange counts what it sends; without its count there is no line for it."""
    assert not any(line.text.startswith("Exchange") for line in lines(changed(sent=None)))
    assert any(line.text.startswith("Exchange") for line in lines(GOOD))


def test_missing_ids_are_shown_with_their_symbol() -> None:
    """A hole in a symbol's ids is named, and does not hide among the others."""
    sheet = changed(symbols=(SymbolRange("BTCUSDT", 1, 10, 10, 0), SymbolRange("ETHUSDT", 1, 10, 8, 2)))
    states = {line.text.split()[0]: line.text for line in lines(sheet) if line.text.startswith(("BTC", "ETH"))}
    assert states["BTCUSDT"].endswith("contiguous")
    assert states["ETHUSDT"].endswith("2 missing")


def test_the_json_form_is_flat_and_complete() -> None:
    """A script finds every number under the name that the client's own log line uses."""
    found = json.loads(json.dumps(to_json(GOOD)))
    expected = {
        "received": 1_008, "published": 1_000, "dead_lettered": 5, "ignored": 3, "records": 1_000, "delivered": 1_000,
        "spooled": 0, "in_flight": 0, "consumed": 1_000, "distinct": 1_000, "missing": 0, "sent": 1_003, "malformed": 5,
        "balanced": True,
    }  # fmt: skip
    assert expected.items() <= found.items()


def test_symbols_are_listed_as_they_were_asked_for() -> None:
    """The order in which records happened to come back does not shuffle the list."""
    tally = TopicTally()
    for symbol in ("BNBUSDT", "BTCUSDT"):
        tally.take(record(1, symbol))
    sheet = make_sheet(
        GOOD_CLIENT, tally, {}, topic="t", symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT"), sent=None, malformed=0, seconds=1.0
    )
    assert [row.symbol for row in sheet.symbols] == ["BTCUSDT", "BNBUSDT"]
