"""The desk writes down whatever cannot be published, so that a person can read it and a program can replay it."""

from __future__ import annotations

import base64
import json
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.assembly import make_desk, make_record, trade_event
from k2.ingestion.adapters.dead_letters import BoxLimits, BoxState, DeadLetterBox
from k2.ingestion.adapters.journal import DailyJournal
from k2.ingestion.core.delivery import verdict_on
from k2.ingestion.core.letter_reader import read_letter
from k2.ingestion.core.outcome import DeadLetter, Reason, Record, Stage
from k2.ingestion.dead_letter_desk import ROOM_FROM_PENDING, DeadLetterDesk
from k2.ingestion.happenings import Happenings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

REFUSED = verdict_on("INVALID_TIMESTAMP", alone=True)
AT_THE_END = verdict_on("_PURGE_QUEUE", alone=True)
QUICK = {"first_retry_s": 0.01, "longest_retry_s": 0.02}
RECORD = make_record(26129)


class Office:
    """A desk with its box and its file."""

    def __init__(self, directory: Path, market: str = "spot", **limits: Any) -> None:
        self.directory, self.states = directory, list[BoxState]()
        self.journal = DailyJournal(directory, "binance")
        self.box = DeadLetterBox(self.journal, on_change=self.states.append, limits=BoxLimits(**{**QUICK, **limits}))
        self.box.start()
        self.happenings = Happenings("picows")
        self.desk = make_desk(self.box, self.happenings, market)

    async def letters(self) -> list[dict[str, Any]]:
        assert await self.box.flush(20)
        return [json.loads(line) for line in self.journal.path.read_bytes().splitlines()]

    async def line(self) -> bytes:
        assert await self.box.flush(20)
        return self.journal.path.read_bytes().rstrip(b"\n")

    async def letter(self) -> dict[str, Any]:
        [letter] = await self.letters()
        return letter

    def take_the_directory_away(self) -> None:
        """What even root cannot write to: the directory becomes a file."""
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()
        self.directory.write_bytes(b"")

    def bring_the_directory_back(self) -> None:
        self.directory.unlink()

    def wait_until_unwritable(self) -> None:
        deadline = time.monotonic() + 20
        while self.box.writable:
            assert time.monotonic() < deadline
            time.sleep(0.005)


class ListBox:
    """A box without a bottom."""

    pending, writable = 0, True

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def put(self, line: bytes) -> bool:
        self._lines.append(line)
        return True


def damaged(at: int) -> st.SearchStrategy[bytes]:
    """Our record with a few bytes replaced, or cut off there."""
    head, tail = RECORD.value[:at], RECORD.value[at:]
    return st.binary(max_size=6).map(lambda noise: head + noise + tail[len(noise) :]) | st.just(head)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "dlq")
    yield office
    office.box.close()


class TestRecords:
    @pytest.mark.parametrize(
        ("market", "stream", "extra"),
        [
            ("spot", "aggTrade", {}),
            ("spot", "trade", {}),
            ("usdm", "aggTrade", {"nq": "0.4", "st": 1}),
            ("usdm", "trade", {"X": "MARKET", "st": 1}),
        ],
    )
    async def test_the_message_is_the_exchanges_again(
        self, tmp_path: Path, market: str, stream: str, extra: dict[str, Any]
    ) -> None:
        """A record that failed after encoding shows the event under the exchange's own keys, with its values."""
        office = Office(tmp_path / "dlq", market)
        office.desk.record(make_record(7, market, stream, **extra), REFUSED, "no", 1)
        letter = await office.letter()
        office.box.close()
        event = trade_event(7, market=market, stream=stream, **extra)
        assert letter["original_message"] == {key: value for key, value in event.items() if key != "M"}
        assert (letter["market"], letter["stream"], letter["symbol"]) == (market, stream, "BTCUSDT")

    async def test_the_record_can_be_produced_again(self, office: Office) -> None:
        """Topic, key, value, time and headers come out of the letter as they went in."""
        record = Record("trades", RECORD.key, RECORD.value, RECORD.timestamp_ms, [("k2-source", b"late")])
        office.desk.record(record, REFUSED, "INVALID_TIMESTAMP: too old", 1)
        assert read_letter(await office.line()).record == record

    @pytest.mark.parametrize(
        ("code", "stage", "reason", "outcome"),
        [
            ("INVALID_TIMESTAMP", "produce", "delivery_rejected", "not_written"),
            ("MSG_SIZE_TOO_LARGE", "produce", "too_large", "not_written"),
            ("OUT_OF_ORDER_SEQUENCE_NUMBER", "produce", "delivery_unknown", "unknown"),
            ("_PURGE_QUEUE", "shutdown", "not_delivered_at_shutdown", "unknown"),
            ("_PURGE_INFLIGHT", "shutdown", "not_delivered_at_shutdown", "unknown"),
        ],
    )
    async def test_the_verdict_is_in_the_letter(self, office: Office, code: str, stage: str, reason: str, outcome: str) -> None:
        """Where it failed, why, and whether it may be in the topic; and it is counted by reason."""
        office.desk.record(RECORD, verdict_on(code, alone=True), f"{code}: what the broker said", 1)
        letter = await office.letter()
        assert (letter["stage"], letter["reason"], letter["outcome"]) == (stage, reason, outcome)
        assert code in letter["error"]
        assert +office.desk.records == {reason: 1}

    async def test_when_it_was_received_is_told(self, office: Office) -> None:
        """The time of receipt is read from the record itself."""
        office.desk.record(RECORD, REFUSED, "no", 1)
        assert (await office.letter())["received_at_us"] > RECORD.timestamp_ms * 1_000

    async def test_without_a_schema_the_record_is_kept(self, tmp_path: Path) -> None:
        """Before the schema is known there is no message to show, and nothing is lost for it."""
        office = Office(tmp_path / "dlq")
        desk = DeadLetterDesk(office.box, office.happenings, "spot")
        desk.record(RECORD, REFUSED, "no", 1)
        letter = await office.letter()
        office.box.close()
        assert (letter["original_message"], letter["received_at_us"]) == ({}, None)
        assert b64decode(letter["payload"]) == RECORD.value

    @given(value=st.binary(max_size=120) | st.integers(0, len(RECORD.value) - 1).flatmap(damaged))
    @settings(deadline=None)
    def test_a_record_that_is_not_ours_is_kept(self, value: bytes) -> None:
        """Whatever the bytes of a record are, the letter holds exactly them; this runs inside librdkafka's callback."""
        lines: list[bytes] = []
        desk = make_desk(ListBox(lines), Happenings("picows"))  # type: ignore[arg-type]  # a box that only collects
        desk.record(Record("trades", b"BTCUSDT", value, 1), REFUSED, "no", 1)
        [letter] = map(json.loads, lines)
        assert base64.b64decode(letter["value"]) == value
        assert isinstance(letter["original_message"], dict)


class TestEvents:
    async def test_an_event_is_kept_with_its_frame(self, office: Office) -> None:
        """The exact bytes, the stage and the reason of an event that could not be understood."""
        frame = b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT"}}'
        office.desk.event(DeadLetter(Stage.DECODE, Reason.MISSING_FIELD, "no a", frame, "btcusdt@aggTrade", "BTCUSDT"), 5)
        letter = await office.letter()
        assert (letter["stage"], letter["reason"], letter["received_at_us"]) == ("decode", "missing_field", 5)
        assert letter["original_message"] == {"e": "aggTrade", "s": "BTCUSDT"}
        assert letter["payload"].encode() == frame

    async def test_each_letter_has_an_id_of_its_own(self, office: Office) -> None:
        """Two of a kind can be told apart."""
        for _ in range(2):
            office.desk.event(DeadLetter(Stage.DECODE, Reason.NOT_JSON, "no", b"{"), 5)
        first, second = await office.letters()
        assert first["id"] != second["id"]


class TestRoom:
    async def test_a_whole_queue_at_the_end_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """More records at once than the box holds, on a slow disk: the desk waits for the writer, and none goes astray."""
        append = DailyJournal.append

        def append_slowly(journal: DailyJournal, lines: Sequence[bytes]) -> None:
            time.sleep(0.2)
            append(journal, lines)

        monkeypatch.setattr(DailyJournal, "append", append_slowly)
        office = Office(tmp_path / "dlq", max_lines=ROOM_FROM_PENDING + 1_000)
        count = ROOM_FROM_PENDING + 4_000
        for _ in range(count):
            office.desk.record(RECORD, AT_THE_END, "the end", 1)
        assert len(await office.letters()) == count
        assert (office.desk.full, office.box.refused) == (False, 0)
        office.box.close()

    def test_a_box_that_refuses_is_full(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """While nothing can be written letters wait; the one that finds no room goes to stderr, and the desk says so."""
        office = Office(tmp_path / "dlq", max_lines=3)
        office.take_the_directory_away()
        office.desk.record(RECORD, REFUSED, "first", 1)
        office.wait_until_unwritable()
        for number in range(2):
            office.desk.record(RECORD, REFUSED, f"waits {number}", 1)
        assert not office.desk.full
        office.desk.record(RECORD, REFUSED, "one too many", 1)
        assert office.desk.full
        [line] = capsys.readouterr().err.splitlines()
        assert json.loads(line)["error"] == "one too many"
        office.bring_the_directory_back()
        office.box.close()

    def test_nobody_waits_for_a_writer_that_cannot_write(self, tmp_path: Path) -> None:
        """With the disk gone the end is not held up."""
        office = Office(tmp_path / "dlq", longest_retry_s=60, first_retry_s=60)
        office.take_the_directory_away()
        office.desk.record(RECORD, AT_THE_END, "first", 1)
        office.wait_until_unwritable()
        began_s = time.monotonic()
        for _ in range(ROOM_FROM_PENDING + 10):
            office.desk.record(RECORD, AT_THE_END, "the end", 1)
        assert time.monotonic() - began_s < 8
        office.bring_the_directory_back()
        office.box.close()

    async def test_letters_that_waited_are_written_when_the_disk_is_back(self, tmp_path: Path) -> None:
        """A fault that passes costs nothing, and both its beginning and its end are reported."""
        office = Office(tmp_path / "dlq")
        office.take_the_directory_away()
        office.desk.record(RECORD, REFUSED, "waits", 1)
        office.wait_until_unwritable()
        office.bring_the_directory_back()
        assert (await office.letter())["error"] == "waits"
        assert office.box.writable
        assert [state.writable for state in office.states] == [False, True]
        office.box.close()
