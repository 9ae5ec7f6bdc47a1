"""Which dead letters are meant."""

from __future__ import annotations

from msgspec import Struct

from k2.ingestion.core.letter_reader import Letter
from k2.ingestion.core.outcome import Reason, Stage


class Selection(Struct, frozen=True):
    """
    What a letter must be to be taken. An empty set asks for nothing.

    `since_ms` and `until_ms` bound the time of the failure, in milliseconds since the Unix epoch: from the first on, before the
    second.
    """

    stages: frozenset[Stage] = frozenset()
    reasons: frozenset[Reason] = frozenset()
    symbols: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def asks_for_something(self) -> bool:
        return self != Selection()

    def takes(self, letter: Letter) -> bool:
        return (
            _asked_for(letter.stage, self.stages)
            and _asked_for(letter.reason, self.reasons)
            and _asked_for(letter.named_symbol.upper(), self.symbols)
            and _asked_for(letter.topic, self.topics)
            and _asked_for(letter.id, self.ids)
            and (self.since_ms is None or letter.failed_at.timestamp() * 1_000 >= self.since_ms)
            and (self.until_ms is None or letter.failed_at.timestamp() * 1_000 < self.until_ms)
        )


def _asked_for(value: str, wanted: frozenset[str]) -> bool:
    return not wanted or value in wanted
