"""Dead letters as the client writes them, for tests that read them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from faults.assembly import SCHEMA_ID, frame_of, make_record, trade_event
from faults.harness import FIRST_TIME_MS
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.letter_reader import Letter, read_letter
from k2.ingestion.core.letters import FailedRecord, encode_letter
from k2.ingestion.core.outcome import DeadLetter, Headers, Reason, Record, Stage, WriteOutcome
from k2.ingestion.topic_plan import TopicPlan
from k2.replay.batch import Item, letters_of_failures, letters_of_refusals
from k2.replay.destinations import Environment, Wanted
from k2.replay.workbench import Workbench

TOPIC = "trades.binance"
SYMBOL = "BTCUSDT"
RECEIVED_AT_US = (FIRST_TIME_MS + 60_000) * 1_000
FAILED_AT_US = 1_700_000_100_000_000  # 2023-11-14T22:15:00Z


def wanting(market: str, stream: str, topic: str, symbols: Iterable[str]) -> Wanted:
    """What the settings of a client plan that streams trades into one topic."""
    plan = TopicPlan(name=topic, streams=(stream,), schema_name="trade_v2")
    return Wanted(market, frozenset({stream}), frozenset(symbols), (plan,))


WANTED = wanting("spot", "aggTrade", TOPIC, [SYMBOL])


def written_with(schema_id: int) -> Callable[[bytes], bool]:
    """A registry that has one schema: whether a value was written with it."""
    return lambda value: value[1:5] == schema_id.to_bytes(4)


ENVIRONMENT = Environment(
    schema=load_schema,
    schema_id=lambda _topic, _schema: SCHEMA_ID,
    still_reads=written_with(SCHEMA_ID),
    quote_asset=lambda _market, _symbol: "USDT",
)


def new_workbench() -> Workbench:
    return Workbench(WANTED, ENVIRONMENT)


def line_of(letter: DeadLetter | FailedRecord, letter_id: str, **known: Any) -> bytes:
    circumstances = {"failed_at_us": FAILED_AT_US, "received_at_us": RECEIVED_AT_US, "market": "spot", **known}
    return encode_letter(letter, letter_id=letter_id, **circumstances)


def letter_from(letter: DeadLetter | FailedRecord, letter_id: str = "letter-1", **known: Any) -> Letter:
    """The letter as it comes out of its file."""
    return read_letter(line_of(letter, letter_id, **known))


def good_line(number: int, letter_id: str = "", **known: Any) -> bytes:
    """A letter of an event that is all right by now: our clock had been wrong."""
    stream = f"{SYMBOL.lower()}@aggTrade"
    frame = frame_of(trade_event(number))
    letter = DeadLetter(Stage.MAP, Reason.TIMESTAMP_OUT_OF_RANGE, "from the future", frame, stream, SYMBOL, TOPIC)
    return line_of(letter, letter_id or f"good-{number}", **known)


def broken_line(number: int, letter_id: str = "", **known: Any) -> bytes:
    """A letter of an event that will never make sense: it has no price."""
    event = {key: value for key, value in trade_event(number).items() if key != "p"}
    stream = f"{SYMBOL.lower()}@aggTrade"
    letter = DeadLetter(Stage.DECODE, Reason.MISSING_FIELD, "no p", frame_of(event), stream, SYMBOL, TOPIC)
    return line_of(letter, letter_id or f"broken-{number}", **known)


def empty_line(number: int, letter_id: str = "", **known: Any) -> bytes:
    """A letter of a frame that a later version understands, and that holds no event: an answer of the exchange."""
    frame = b'{"result":null,"id":%d}' % number
    letter = DeadLetter(Stage.ROUTE, Reason.UNKNOWN_STREAM, "neither a combined frame nor an event", frame)
    return line_of(letter, letter_id or f"empty-{number}", **known)


def record_line(
    number: int,
    letter_id: str = "",
    *,
    outcome: WriteOutcome = WriteOutcome.NOT_WRITTEN,
    headers: Headers | None = None,
    event: dict[str, Any] | None = None,
    **known: Any,
) -> bytes:
    """A letter of a record that Kafka did not take."""
    return line_of(failed_record(number, outcome, headers, event), letter_id or f"record-{number}", **known)


def failed_record(
    number: int, outcome: WriteOutcome, headers: Headers | None = None, event: dict[str, Any] | None = None
) -> FailedRecord:
    made = make_record(number)
    record = Record(TOPIC, made.key, made.value, made.timestamp_ms, headers)
    message = trade_event(number) if event is None else event
    return FailedRecord(
        record, Stage.PRODUCE, Reason.DELIVERY_REJECTED, "MSG_SIZE_TOO_LARGE: no", outcome, message, "aggTrade", SYMBOL
    )


def new_letter(item: Item) -> bytes:
    """The one line that stands for an item of one event."""
    [line] = [*letters_of_failures(item), *letters_of_refusals(item)]
    return line


def identity_of(number: int) -> str:
    return f"binance.spot.aggTrade.{SYMBOL}.{number}"


def write_file(path: Path, *lines: bytes) -> None:
    """Lines as they are, each with its line feed, behind those that are there."""
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in lines)


def documents_in(directory: Path) -> list[dict[str, Any]]:
    """Every line of the directory's files, in order; garbage is left out."""
    lines = (line for path in sorted(directory.glob("binance-*.jsonl")) for line in path.read_bytes().splitlines())
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def snapshot_of(directory: Path) -> dict[str, tuple[bytes, int]]:
    """The files of a directory, their bytes and when they were written to."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}
