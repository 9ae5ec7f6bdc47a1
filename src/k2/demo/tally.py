"""What was read back from the topic, counted by a reader who knows nothing of the client: the demo's own half of the books."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

LATEST_RECORDS = 60


class IdRanges:
    """
    A set of integers, kept as ascending closed intervals: what comes without holes takes no room, however long it runs.

    `first` and `last` need at least one number in it.
    """

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0

    def add(self, number: int) -> bool:
        """Take a number in. False where it was there already."""
        place = bisect_right(self._starts, number)
        if place and number <= self._ends[place - 1]:
            return False
        self.count += 1
        self._insert(place, number)
        return True

    def _insert(self, place: int, number: int) -> None:
        starts, ends = self._starts, self._ends
        continues = place > 0 and ends[place - 1] == number - 1
        precedes = place < len(starts) and starts[place] == number + 1
        if continues and precedes:
            ends[place - 1] = ends.pop(place)
            del starts[place]
        elif continues:
            ends[place - 1] = number
        elif precedes:
            starts[place] = number
        else:
            starts.insert(place, number)
            ends.insert(place, number)

    @property
    def first(self) -> int:
        return self._starts[0]

    @property
    def last(self) -> int:
        return self._ends[-1]

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last are not there."""
        return self.last - self.first + 1 - self.count if self._starts else 0


class RecordRow(Struct, frozen=True):
    """A decoded record, as far as it is shown."""

    message_id: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    currency: str


class SymbolTally(Struct):
    """All records of one symbol: their exchange ids, how many there were, and the latest one."""

    ids: IdRanges
    records: int
    latest: RecordRow


class TopicTally:
    """Counts decoded records. A record is told from its twin by `message_id`, whose last part is the exchange's id."""

    def __init__(self) -> None:
        self.records = 0
        self.symbols: dict[str, SymbolTally] = {}
        self.latest: deque[RecordRow] = deque(maxlen=LATEST_RECORDS)
        self._by_identity: dict[str, SymbolTally] = {}

    def take(self, record: Mapping[str, Any]) -> None:
        """Count one TradeV2 record."""
        identity, _, number = record["message_id"].rpartition(".")
        row = RecordRow(*(record[name] for name in RecordRow.__struct_fields__))
        tally = self._by_identity.get(identity)
        if tally is None:
            tally = self._by_identity[identity] = self.symbols[row.symbol] = SymbolTally(IdRanges(), 0, row)
        tally.ids.add(int(number))
        tally.records += 1
        tally.latest = row
        self.records += 1
        self.latest.append(row)

    @property
    def distinct(self) -> int:
        """How many different message ids came."""
        return sum(tally.ids.count for tally in self._by_identity.values())

    @property
    def missing(self) -> int:
        return sum(tally.ids.missing for tally in self._by_identity.values())
