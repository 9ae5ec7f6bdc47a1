"""What `k2 tail` is asked for, checked as a whole: every fault is reported at once, under the name of its option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from k2.ingestion.option_values import Choice, whole
from k2.reading.options import Check
from k2.tail.places import Place, place

if TYPE_CHECKING:
    from k2.ingestion.adapters.topic_reader import TopicRecord

DEFAULT_COUNT = 10
MOST_RECORDS = 1_000_000_000
MOST_PARTITIONS = 2**31 - 1

Format = Literal["table", "json"]


class Request(Struct, frozen=True):
    """
    Which records, and how they are shown.

    Attributes:
        count: At most so many; None for all that there are.
        keys: Records of one of these keys only; empty for all.
        partitions: Records of one of these partitions only; empty for all.
    """

    place: Place = "end"
    count: int | None = DEFAULT_COUNT
    follow: bool = False
    keys: frozenset[bytes] = frozenset()
    partitions: frozenset[int] = frozenset()
    format: Format = "json"

    @property
    def is_choosy(self) -> bool:
        """Whether it leaves out some of what the topic holds."""
        return bool(self.keys or self.partitions or self.follow) or isinstance(self.place, int)

    def wants(self, record: TopicRecord) -> bool:
        return not self.keys or record.key in self.keys


def make_request(values: Mapping[str, Any], now_ms: int, *, on_terminal: bool) -> Request:
    """
    What the options ask for.

    Args:
        values: Option texts by name; None or absent where not given.

    Raises:
        ConfigurationError: with every fault found.
    """
    check = Check()
    begin: Place = check.parsed("--from", values.get("place"), lambda text: place(text, now_ms), "end")
    follow = bool(values.get("follow"))
    unasked = DEFAULT_COUNT if begin == "end" and not follow else None
    count = check.parsed("--records", values.get("records"), whole(1, MOST_RECORDS), unasked)
    partitions = {check.parsed("--partition", text, whole(0, MOST_PARTITIONS), 0) for text in values.get("partition") or ()}
    shape = _format(check, values, on_terminal=on_terminal)
    check.raise_faults()
    keys = frozenset(key.encode(errors="surrogateescape") for key in values.get("key") or ())
    return Request(begin, count, follow, keys, frozenset(partitions), shape)


def _format(check: Check, values: Mapping[str, Any], *, on_terminal: bool) -> Format:
    asked = check.parsed("--format", values.get("format"), Choice("auto", "table", "json"), "auto")
    as_json = bool(values.get("json"))
    if as_json and asked == "table":
        check.faults.append("--json and --format table exclude each other")
    as_table = asked == "table" or (asked == "auto" and on_terminal and not as_json)
    return "table" if as_table else "json"
