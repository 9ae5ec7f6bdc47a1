"""What an audit found: how many of each kind, and the first few."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct


class Kind(StrEnum):
    """Everything that can be found. A closed set."""

    LOST = "lost"
    DOUBLED = "doubled"
    DISORDERED = "disordered"
    CHANGED = "changed"
    UNDECODABLE = "undecodable"
    CURRENCY = "currency_differs"
    BEYOND = "beyond"


MEANINGS = {
    Kind.LOST: "recorded, and not in the topic",
    Kind.DOUBLED: "records whose message_id came before",
    Kind.DISORDERED: "records behind younger ones of their key, without a k2-source header",
    Kind.CHANGED: "records that do not say what was recorded",
    Kind.UNDECODABLE: "records that cannot be decoded, so nobody knows what they say",
    Kind.CURRENCY: "records in another currency than the symbol's ending says; the recording says nothing of it",
    Kind.BEYOND: "records that were not recorded",
}
FAULTS = (Kind.LOST, Kind.DOUBLED, Kind.DISORDERED, Kind.CHANGED, Kind.UNDECODABLE)


class Difference(Struct, frozen=True):
    """One field that says something else than it should; None where it is not there."""

    field: str
    expected: Any
    found: Any


class Finding(Struct, frozen=True, omit_defaults=True):
    """One thing found. `place` is partition and offset, or None for what is not in the topic."""

    message_id: str | None = None
    place: tuple[int, int] | None = None
    note: str = ""
    differences: tuple[Difference, ...] = ()


class Findings(Struct):
    """All of one kind: how many, and the first few."""

    count: int = 0
    first: list[Finding] = msgspec.field(default_factory=list)

    def add(self, finding: Finding, at_most: int) -> None:
        self.count += 1
        if len(self.first) < at_most:
            self.first.append(finding)


class Verdict(Struct, frozen=True):
    """
    The outcome of an audit.

    Attributes:
        events: How many events the recording has for this topic.
        unpublishable: How many further ones no record can be made of.
        records: How many records the topic has.
    """

    market: str
    stream: str
    symbols: tuple[str, ...]
    events: int
    unpublishable: int
    records: int
    findings: dict[Kind, Findings]

    @property
    def is_clean(self) -> bool:
        return not any(self.findings[kind].count for kind in FAULTS)
