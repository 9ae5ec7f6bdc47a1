"""What a table shows of a record: a few fields chosen for trades, and for any other record those that it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from k2.ingestion.adapters.logs import printable
from k2.ingestion.core.decoding import Fields, json_ready
from k2.reading.decoded import Decoded
from k2.reading.text import text_of
from k2.tail.lines import moment_of

DIM, STRONG, MARK = "dim", "bold", "yellow"
SIDE_STYLES = {"BUY": "green", "SELL": "red"}
SOURCE_HEADER = "k2-source"
LONGEST_TEXT = 200  # characters that are looked at; how many of them are shown depends on the terminal
FEWEST_DECIMALS = 2
NOTHING = "-"

Styling = Callable[[str], str]


def always(style: str) -> Styling:
    return lambda _: style


class Column(Struct, frozen=True):
    """
    One column: how its cells are read off a record, and how they look.

    Attributes:
        least: The width to begin with.
        is_number: Never cut, and aligned to the right.
        is_indispensable: Shown even where the terminal is too narrow for it.
    """

    title: str
    cell: Callable[[Decoded], str]
    least: int = 0
    is_number: bool = False
    style: Styling = always("")
    is_indispensable: bool = True


def columns_for(fields: Fields) -> tuple[Column, ...]:
    """The columns for records with these fields."""
    if fields.keys() >= _TRADE_FIELDS:
        return _OF_TRADES
    return (_TIME, _PLACE, Column("Key", key_cell, style=always(STRONG)), _SOURCE, *map(_own_column, fields, fields.values()))


def time_cell(decoded: Decoded) -> str:
    moment = moment_of(decoded.record.timestamp_ms)
    return moment.time().isoformat("milliseconds") if moment else NOTHING


def place_cell(decoded: Decoded) -> str:
    return f"{decoded.record.partition}:{decoded.record.offset}"


def key_cell(decoded: Decoded) -> str:
    key = decoded.record.key
    return value_cell(key if key is None else text_of(key) or key)


def source_cell(decoded: Decoded) -> str:
    """Where the record came from if not live, and how many other headers it has."""
    headers = dict(decoded.record.headers)
    source = headers.pop(SOURCE_HEADER, None)
    named = source.decode(errors="replace") if isinstance(source, bytes) else source
    return " ".join([*([one_line(named)] if named else []), *([f"+{len(headers)}"] if headers else [])])


def value_cell(value: Any) -> str:
    """Any value on one line: numbers exact, whatever else as far as one could want to read it there."""
    match value:
        case None:
            return NOTHING
        case Decimal():
            return decimal_cell(value)
        case bool() | int() | float():
            return str(value)
        case str():
            return one_line(value)
        case bytes() | datetime():
            return one_line(json_ready(value))
        case _:
            return one_line(json.dumps(json_ready(value), ensure_ascii=False))


def decimal_cell(value: Decimal) -> str:
    """Exact, without the padding beyond two decimals."""
    whole, _, decimals = f"{value:f}".partition(".")
    shown = decimals.rstrip("0").ljust(min(FEWEST_DECIMALS, len(decimals)), "0")
    return f"{whole}.{shown}" if shown else whole


def one_line(text: str) -> str:
    """The beginning of a foreign text, without characters that command a terminal."""
    return printable(text[:LONGEST_TEXT])


def _field(name: str) -> Callable[[Decoded], str]:
    return lambda decoded: value_cell((decoded.fields or {}).get(name))


def _own_column(name: str, value: Any) -> Column:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return Column(one_line(name), _field(name), is_number=is_number, is_indispensable=False)


_TIME = Column("Time (UTC)", time_cell, style=always(DIM))
_PLACE = Column("Offset", place_cell, least=8, is_number=True, style=always(DIM))
_SOURCE = Column("Source", source_cell, style=always(MARK))
_OF_TRADES = (
    _TIME,
    Column("Symbol", _field("symbol"), least=8, style=always(STRONG)),
    Column("Side", _field("side"), style=lambda side: SIDE_STYLES.get(side, "")),
    Column("Price", _field("price"), least=10, is_number=True),
    Column("Quantity", _field("quantity"), least=10, is_number=True),
    Column("Sequence", _field("source_sequence"), least=10, is_number=True),
    _SOURCE,
    _PLACE,
)
_TRADE_FIELDS = {"symbol", "side", "price", "quantity", "source_sequence"}
