"""What the ways back from a record to the exchange's own message have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any


def decimal_text(number: Decimal) -> str:
    """The number as text, without the exchange's padding being known."""
    return f"{number:f}"


def milliseconds(at_us: int) -> int:
    return at_us // 1000


def decimal_texts(record: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """The record's numbers under the exchange's keys: `fields` maps these to the record's. What is null is left out."""
    return {key: decimal_text(record[name]) for key, name in fields.items() if record[name] is not None}


def level_texts(levels: Iterable[Mapping[str, Decimal]]) -> list[list[str]]:
    """The levels of an order book as the exchange writes them."""
    return [[decimal_text(level["price"]), decimal_text(level["quantity"])] for level in levels]
