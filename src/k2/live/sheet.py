"""The client's two ledgers, as it tells them, and the equations that they must make."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

# What JSON's numbers hold in every language. Whoever answers with more is no client, and breaks no arithmetic of ours.
Count = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class ClientSheet(Struct, frozen=True, kw_only=True):
    """The client's own sheet: the keys of its log line "Shutdown complete", and of `balance` in its health."""

    received: Count = 0
    published: Count = 0
    dead_lettered: Count = 0
    ignored: Count = 0
    ignored_by_reason: dict[str, Count] = field(default_factory=dict)
    records: Count = 0
    delivered: Count = 0
    dead_lettered_records: Count = 0
    spooled: Count = 0
    in_flight: Count = 0
    balanced: bool = False


class Check(Struct, frozen=True):
    """An equation: `left` is to equal the sum of `parts`, each a number and what it counts."""

    title: str
    left: tuple[int, str]
    parts: tuple[tuple[int, str], ...]

    @property
    def difference(self) -> int:
        return self.left[0] - sum(number for number, _ in self.parts)

    @property
    def holds(self) -> bool:
        return self.difference == 0


def books(client: ClientSheet) -> tuple[Check, Check]:
    """Both ledgers as equations, in words short enough for a line of a screen."""
    events = ((client.published, "published"), (client.dead_lettered, "dead"), (client.ignored, "ignored"))
    records = (
        (client.delivered, "delivered"),
        (client.dead_lettered_records, "dead"),
        (client.spooled, "spooled"),
        (client.in_flight, "in flight"),
    )
    return Check("Events", (client.received, "received"), events), Check("Records", (client.records, "made"), records)
