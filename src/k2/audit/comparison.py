"""
Compares a topic's records with recorded events, one after the other.

What is kept are the recording's events and where each was found; of the topic no more than the last sequence of each key.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from k2.audit.oracle import Expected
from k2.audit.recorded import RecordedEvents
from k2.audit.verdict import Difference, Finding, Findings, Kind, Verdict
from k2.ingestion.core.decoding import Fields
from k2.ingestion.exchanges.binance.symbols import quote_asset
from k2.reading.decoded import Decoded

SOURCE_HEADER = "k2-source"
KEY, KAFKA_TIMESTAMP, CURRENCY, RECEIVED, VENDOR_DATA = "key", "kafka_timestamp", "currency", "ingestion_timestamp", "vendor_data"
TIMES = {"timestamp", f"{VENDOR_DATA}.event_time", KAFKA_TIMESTAMP}
OPENING = datetime(2017, 1, 1, tzinfo=UTC)  # of Binance: nothing was received before
ABSENT = "(absent)"


class Comparison:
    """
    Takes every record of a topic, in the order of its partition, and ends in a verdict.

    Args:
        ignore_times: The recording was replayed with other times than its own.
        shown: How many findings of each kind are kept; all are counted.
    """

    def __init__(self, recorded: RecordedEvents, *, ignore_times: bool = False, shown: int = 5) -> None:
        self._recorded, self._ignore_times, self._shown = recorded, ignore_times, shown
        self._findings = {kind: Findings() for kind in Kind}
        self._places: dict[str, tuple[int, int]] = {}
        self._order = KeyOrder({symbol.encode() for symbol in recorded.symbols})
        self._records = 0

    def see(self, decoded: Decoded) -> None:
        """Take the next record."""
        self._records += 1
        message_id = _message_id(decoded)
        if decoded.fields is None:
            self._note(Kind.UNDECODABLE, decoded, decoded.error)
        elif message_id in self._places:
            partition, offset = self._places[message_id]
            self._note(Kind.DOUBLED, decoded, f"first at {partition}:{offset}")
        elif fault := self._order.fault_of(decoded):
            self._note(Kind.DISORDERED, decoded, fault)
        if message_id in self._recorded.events:
            self._places.setdefault(message_id, _place(decoded))
            self._compare(decoded, self._recorded.expected(message_id))
        elif decoded.fields is not None:
            self._note(Kind.BEYOND, decoded)

    def verdict(self) -> Verdict:
        """What was found, once all records were seen."""
        lost = Findings()
        for message_id in self._recorded.events:
            if message_id not in self._places:
                lost.add(Finding(message_id), self._shown)
        recorded = self._recorded
        symbols = tuple(sorted(recorded.symbols))
        findings = {**self._findings, Kind.LOST: lost}
        return Verdict(
            recorded.market, recorded.stream, symbols, len(recorded.events), recorded.unpublishable, self._records, findings
        )

    def _compare(self, decoded: Decoded, expected: Expected) -> None:
        found = tuple(differences(expected, decoded, ignore_times=self._ignore_times))
        only_currency = all(difference.field == CURRENCY for difference in found)
        if found:
            self._note(Kind.CURRENCY if only_currency else Kind.CHANGED, decoded, differences=found)

    def _note(self, kind: Kind, decoded: Decoded, note: str = "", differences: tuple[Difference, ...] = ()) -> None:
        finding = Finding(_message_id(decoded) or None, _place(decoded), note, differences)
        self._findings[kind].add(finding, self._shown)


class KeyOrder:
    """
    Whether `source_sequence` rises within each of these keys.

    Records with the header `k2-source` say themselves that they come out of order. Those that came before are not handed in.
    """

    def __init__(self, keys: set[bytes]) -> None:
        self._keys = keys
        self._last: dict[bytes, dict[int, int]] = {}  # by key and partition

    def fault_of(self, decoded: Decoded) -> str:
        """What is wrong with the place of this record; empty if nothing is."""
        key, partition = decoded.record.key, decoded.record.partition
        sequence = (decoded.fields or {}).get("source_sequence")
        if key not in self._keys or not isinstance(sequence, int) or SOURCE_HEADER in dict(decoded.record.headers):
            return ""
        by_partition = self._last.setdefault(key, {})
        others, before = by_partition.keys() - {partition}, by_partition.get(partition)
        by_partition[partition] = sequence
        if before is None and others:
            return f"its key has records in partition {', '.join(map(str, sorted(others)))} too"
        return f"source_sequence {sequence} after {before}" if before is not None and sequence < before else ""


def differences(expected: Expected, decoded: Decoded, *, ignore_times: bool = False) -> Iterator[Difference]:
    """
    Where a record is not as expected. Fields that the recording does not determine are not looked at.

    The currency is that of the symbol's ending, which the exchange's own metadata may know better.
    """
    record, fields = decoded.record, decoded.fields or {}
    currency = quote_asset(expected.fields["symbol"])
    wanted = {KEY: expected.key, KAFKA_TIMESTAMP: expected.timestamp_ms, **_flat(expected.fields)}
    wanted |= {CURRENCY: currency} if currency else {}
    found = {KEY: record.key, KAFKA_TIMESTAMP: record.timestamp_ms, **_flat(fields)}
    surplus = {name: ABSENT for name in found if name.startswith(f"{VENDOR_DATA}.") and name not in wanted}
    for name, value in (wanted | surplus).items():
        if found.get(name, ABSENT) != value and not (ignore_times and name in TIMES):
            yield Difference(name, value, found.get(name, ABSENT))
    if not _is_plausible(fields.get(RECEIVED)):
        yield Difference(RECEIVED, f"a time since {OPENING.year}", fields.get(RECEIVED, ABSENT))


def _is_plausible(received_at: Any) -> bool:
    return isinstance(received_at, datetime) and received_at.tzinfo is not None and received_at >= OPENING


def _flat(fields: Fields) -> dict[str, Any]:
    """The fields, and those of `vendor_data` each for itself."""
    vendor_data = fields.get(VENDOR_DATA)
    if not isinstance(vendor_data, dict):
        return dict(fields)
    inner = {f"{VENDOR_DATA}.{name}": value for name, value in vendor_data.items()}
    return {name: value for name, value in fields.items() if name != VENDOR_DATA} | inner


def _message_id(decoded: Decoded) -> str:
    """Empty where it has none."""
    message_id = (decoded.fields or {}).get("message_id")
    return message_id if isinstance(message_id, str) else ""


def _place(decoded: Decoded) -> tuple[int, int]:
    return decoded.record.partition, decoded.record.offset
