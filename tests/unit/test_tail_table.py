"""Records as rows on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from k2.tail.columns import decimal_cell, value_cell
from k2.tail.table import Table
from unit.topic_records import decoded_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k2.ingestion.core.decoding import Fields
    from k2.reading.decoded import Decoded

TERMINAL = 80
AT_MS = 1_723_161_255_342  # 2024-08-08 23:54:15.342 UTC
DAY_MS = 86_400_000
HEAD = "Time (UTC)"


def trade(symbol: str = "BTCUSDT", price: str = "61837.63000000", quantity: str = "0.02000000", side: str = "BUY") -> Fields:
    """A TradeV2 with the fields that are shown among others."""
    return {
        "message_id": f"binance.spot.trade.{symbol}.7",
        "symbol": symbol,
        "timestamp": datetime(2024, 8, 8, tzinfo=UTC),
        "price": Decimal(price),
        "quantity": Decimal(quantity),
        "side": side,
        "source_sequence": 3_735_683_259,
    }


def shown(*batches: Sequence[Decoded], width: int | None = TERMINAL) -> list[str]:
    table = Table(width)
    return [line.plain for batch in batches for line in table.lines(batch)]


def test_trades_on_eighty_columns() -> None:
    """A header, the date, and rows of what one looks for in trades: long symbols, wide ones and large numbers fit."""
    batch = [
        decoded_record(trade(), at_ms=AT_MS, partition=2, offset=10),
        decoded_record(trade("1000PEPEUSDC", "0.00001234", "71350000.00000000", "SELL"), at_ms=AT_MS + 8, partition=11, offset=7),
        decoded_record(trade("币安人生USDT"), at_ms=AT_MS + 9, partition=2, offset=11, headers=[("k2-source", b"late")]),
    ]
    lines = shown(batch)
    assert lines == [
        "Time (UTC)   Symbol       Side      Price    Quantity   Sequence Source   Offset",
        "2024-08-08",
        "23:54:15.342 BTCUSDT      BUY    61837.63        0.02 3735683259            2:10",
        "23:54:15.350 1000PEPEUSDC SELL 0.00001234 71350000.00 3735683259            11:7",
        "23:54:15.351 币安人生USDT BUY    61837.63        0.02 3735683259 late       2:11",
    ]
    assert max(map(cell_len, lines)) == TERMINAL


def test_rows_are_added_below() -> None:
    """The header comes once, the date where it changes, and a column that has to grow grows from there on."""
    first, second = (
        decoded_record(trade(), at_ms=AT_MS),
        decoded_record(trade(price="123456789012345.12345678"), at_ms=AT_MS + DAY_MS),
    )
    lines = shown([first], [first], [second], width=120)
    assert [line.split()[0] for line in lines] == [
        HEAD.split(maxsplit=1)[0],
        "2024-08-08",
        *["23:54:15.342"] * 2,
        "2024-08-09",
        "23:54:15.342",
    ]
    assert "123456789012345.12345678" in lines[-1]
    assert lines[2] == lines[3]


def test_any_record_has_columns_of_its_own() -> None:
    """Time, place and key, and as many of its fields as there is room for; how many are left out is told."""
    fields = {"id": 7, "note": "x" * 60, "amount": Decimal("12345678901234567890.12345678"), "tags": ["a"], "none": None}
    decoded = decoded_record(fields, at_ms=AT_MS)
    narrow, wide = shown([decoded]), shown([decoded], width=160)
    assert narrow[0].split() == ["Time", "(UTC)", "Offset", "Key", "Source", "id", "note", "+3", "(--json)"]
    assert max(map(cell_len, narrow)) <= TERMINAL
    assert wide[0].split()[-5:] == ["id", "note", "amount", "tags", "none"]
    assert wide[2].split()[-3:] == ["12345678901234567890.12345678", '["a"]', "-"]


def test_a_row_too_wide_has_columns_leave() -> None:
    """Where a later row needs the room, a new header tells which columns are left, and no row is wider than the terminal."""
    short, long = (
        decoded_record({"id": 7, "note": "x", "more": "y"}),
        decoded_record({"id": 7, "note": "x" * 20, "more": "y" * 20}),
    )
    lines = shown([short], [long], [short])
    assert [line.split()[-3:] for line in lines if line.startswith(HEAD)] == [["id", "note", "more"], ["note", "+1", "(--json)"]]
    assert max(map(cell_len, lines)) <= TERMINAL


def test_other_fields_have_another_header() -> None:
    """A topic of several schemas shows which one a row is of."""
    lines = shown([decoded_record({"a": 1}), decoded_record({"b": 2}), decoded_record({"b": 3})])
    assert [line.split()[-1] for line in lines if line.startswith(HEAD)] == ["a", "b"]


def test_what_cannot_be_decoded_has_a_row() -> None:
    """Where it lies, its key, and the reason as far as there is room."""
    decoded = decoded_record(None, error="not in Confluent's framing: " + "x" * 100, at_ms=AT_MS, partition=1, offset=5)
    head, row = shown([decoded])
    assert head == "2024-08-08"
    assert row.startswith("23:54:15.342  1:5  BTCUSDT  not in Confluent's framing: xxx")
    assert row.endswith("…")
    assert cell_len(row) <= TERMINAL


@given(
    st.text(max_size=300),
    st.dictionaries(
        st.text(min_size=1, max_size=5), st.text(max_size=20) | st.binary(max_size=5) | st.lists(st.text()), max_size=4
    ),
    st.none() | st.binary(max_size=8),
    st.none() | st.integers(20, 200),
)
def test_nothing_commands_the_terminal(error: str, fields: dict[str, Any], key: bytes | None, width: int | None) -> None:
    """Whatever the records hold, only printable characters come out, each record on one line."""
    headers = [("k2-source", key), (error, key)]
    batch = [decoded_record(fields, key=key, headers=headers), decoded_record(None, error=error, key=key)]
    lines = shown(batch, width=width)
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 4  # header, date, and the two


@given(st.decimals(0, 10**30 - 1, places=8))
def test_prices_are_exact(price: Decimal) -> None:
    """Only zeros at the end are left out, and at least two decimals stay."""
    text = decimal_cell(price)
    assert Decimal(text) == price
    assert 2 <= len(text.partition(".")[2]) <= 8


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (True, "True"),
        (7, "7"),
        (0.5, "0.5"),
        (Decimal(7), "7"),
        (Decimal("-1.50"), "-1.50"),
        (Decimal("1E+3"), "1000"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        (b"\xff", "/w=="),
        (datetime(2024, 8, 8, tzinfo=UTC), "2024-08-08T00:00:00.000000Z"),
        ({"币": [1, Decimal("2.0")]}, '{"币": [1, "2.0"]}'),
    ],
)
def test_values_on_one_line(value: object, expected: str) -> None:
    """Each kind of value as people read it."""
    assert value_cell(value) == expected
