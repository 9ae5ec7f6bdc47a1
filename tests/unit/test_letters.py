"""The dead letter's line: strict JSON whatever was in the event, the exact bytes inside, and the runbook's jq commands work."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.letter_reader import UnreadableLetterError, read_letter
from k2.ingestion.core.letters import (
    MAX_DEPTH,
    MAX_ERROR_BYTES,
    TOO_DEEP,
    FailedRecord,
    encode_letter,
    original_message,
)
from k2.ingestion.core.outcome import DeadLetter, Headers, Reason, Record, Stage, WriteOutcome

FRAME = b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT","a":26129,"p":"0.01633102","q":"4.70443515"}}'


def frame_letter(payload: bytes = FRAME, error: str = "p: not a number", **fields: Any) -> DeadLetter:
    return DeadLetter(Stage.MAP, Reason.NUMBER_INVALID, error, payload, **fields)


def failed_record(**fields: Any) -> FailedRecord:
    record = Record("t", b"BTCUSDT", b"\x00\x01\xff", 1_700_000_000_000, [("k2-source", b"late"), ("text", "ü"), ("none", None)])
    outcome = WriteOutcome.UNKNOWN
    known = {"original_message": {"s": "BTCUSDT", "a": 1}, "stream": "aggTrade", "symbol": "BTCUSDT"} | fields
    return FailedRecord(record, Stage.PRODUCE, Reason.DELIVERY_UNKNOWN, "_MSG_TIMED_OUT", outcome, **known)


def line_of(letter: DeadLetter | FailedRecord) -> bytes:
    return encode_letter(
        letter, letter_id="id-1", failed_at_us=1_700_000_000_000_001, received_at_us=17, market="spot", attempts=2
    )


def document_of(letter: DeadLetter | FailedRecord) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line_of(letter), parse_constant=_refuse_constant)
    return document


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def test_frame_letter_holds_every_field() -> None:
    """A letter of a frame has exactly the promised fields."""
    letter = frame_letter(stream="aggTrade", symbol="BTCUSDT", topic="market.crypto.trades.binance")
    assert document_of(letter) == {
        "version": 1,
        "id": "id-1",
        "failed_at": "2023-11-14T22:13:20.000001Z",
        "stage": "map",
        "reason": "number_invalid",
        "error": "p: not a number",
        "outcome": "not_written",
        "attempts": 2,
        "market": "spot",
        "stream": "aggTrade",
        "symbol": "BTCUSDT",
        "topic": "market.crypto.trades.binance",
        "original_message": {"e": "aggTrade", "s": "BTCUSDT", "a": 26129, "p": "0.01633102", "q": "4.70443515"},
        "payload_kind": "frame",
        "payload": FRAME.decode(),
        "payload_encoding": "utf8",
        "payload_sha256": hashlib.sha256(FRAME).hexdigest(),
        "received_at_us": 17,
    }


def test_record_letter_holds_the_record() -> None:
    """A letter of an undelivered record adds what is needed to produce it again, and tells people its exchange keys."""
    document = document_of(failed_record())
    added = {key: document[key] for key in ("payload_kind", "topic", "key", "timestamp", "value", "outcome", "original_message")}
    assert added == {
        "payload_kind": "record",
        "topic": "t",
        "key": "BTCUSDT",
        "timestamp": 1_700_000_000_000,
        "value": "AAH/",
        "outcome": "unknown",
        "original_message": {"s": "BTCUSDT", "a": 1},
    }


def test_record_comes_back_out_of_its_letter() -> None:
    """Topic, key, value, timestamp and headers survive the way through the file."""
    record = read_letter(line_of(failed_record())).record
    headers: Headers = [("k2-source", b"late"), ("text", "ü".encode()), ("none", None)]
    assert record == Record("t", b"BTCUSDT", b"\x00\x01\xff", 1_700_000_000_000, headers)


@given(st.binary(), st.text(), st.text())
def test_any_bytes_make_one_strict_line(payload: bytes, error: str, symbol: str) -> None:
    """Whatever a peer sent, the line is plain ASCII, one line, strict JSON, and gives the exact bytes back."""
    line = line_of(frame_letter(payload, error, symbol=symbol))
    document = json.loads(line, parse_constant=_refuse_constant)
    assert line.isascii()
    assert b"\n" not in line
    assert isinstance(document["original_message"], dict)
    assert read_letter(line).payload == payload


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters()), _VALUES))
def test_any_object_is_an_original_message(event: dict[str, Any]) -> None:
    """NaN, infinities and lone surrogates in an object, which Python reads and writes gladly, do not reach the line."""
    frame = json.dumps(event).encode()
    letter = read_letter(line_of(frame_letter(frame)))
    json.dumps(letter.original_message, ensure_ascii=False).encode("utf-8")
    assert letter.payload == frame


@given(st.dictionaries(st.text(st.characters()), _VALUES))
def test_any_object_is_a_records_original_message(event: dict[str, Any]) -> None:
    """The same holds for an object that the caller rebuilt."""
    document = document_of(failed_record(original_message=event))
    json.dumps(document["original_message"], ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(FRAME, {"e": "aggTrade", "s": "BTCUSDT", "a": 26129, "p": "0.01633102", "q": "4.70443515"}, id="combined"),
        pytest.param(b'{"e":"trade","s":"X"}', {"e": "trade", "s": "X"}, id="raw"),
        pytest.param(b'{"data":{"s":"X"}}', {"data": {"s": "X"}}, id="data-without-stream-is-no-envelope"),
        pytest.param(
            b'{"stream":"!ticker@arr","data":[{"s":"A"},{"s":"X","c":"1"}]}', {"s": "X", "c": "1"}, id="element-of-array"
        ),
        pytest.param(b'[{"s":"X"}]', {"s": "X"}, id="element-of-raw-array"),
        pytest.param(b'[{"s":"A"}]', {}, id="array-without-the-symbol"),
        pytest.param(b'{"stream":"x","data":7}', {}, id="envelope-of-a-number"),
        pytest.param(b"17", {}, id="a-number"),
        pytest.param(b"", {}, id="empty"),
        pytest.param(b'{"s":"X"', {}, id="cut-short"),
        pytest.param(b'{"s":"\xff"}', {}, id="not-utf8"),
        pytest.param(b'{"a":18446744073709551617}', {"a": 18446744073709551617}, id="more-than-64-bits"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", {"a": "9" * 5000}, id="more-digits-than-python-converts"),
        pytest.param(b'{"p":NaN,"q":-Infinity,"r":1e999}', {"p": "NaN", "q": "-Infinity", "r": "1e999"}, id="not-finite"),
        pytest.param(b'{"s":"\\ud800","\\udfff":1}', {"s": "?", "?": 1}, id="lone-surrogates"),
        pytest.param(b'{"s":"\\ud83d\\ude00"}', {"s": "\U0001f600"}, id="a-surrogate-pair-is-a-character"),
        pytest.param(b"[" * 100_000, {}, id="depth-bomb"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, id="closed-depth-bomb"),
    ],
)
def test_original_message(frame: bytes, message: dict[str, Any]) -> None:
    """The original message is the event as an object, and {} where there is none."""
    assert original_message(frame, "X") == message


def test_deep_nesting_is_cut_for_jq() -> None:
    """Python reads 300 levels and jq does not, so what lies deeper than 64 is replaced."""
    line = line_of(frame_letter(b'{"a":' * 300 + b"1" + b"}" * 300))
    assert line.decode().partition('"payload_kind"')[0].count("{") < 70
    assert TOO_DEEP.encode() in line
    assert read_letter(line).original_message


def test_error_is_bounded_in_bytes() -> None:
    """A peer cannot fill the disk through the error text, and no character is cut in half."""
    error = document_of(frame_letter(error="é" * 5000))["error"]
    assert error == "é" * (MAX_ERROR_BYTES // 2)


def test_a_letter_is_read_as_it_was_written() -> None:
    """Every field comes back with its meaning; a letter of a frame holds no record."""
    letter = read_letter(line_of(frame_letter(stream="btcusdt@aggTrade", symbol="BTCUSDT", topic="t")))
    assert (letter.id, letter.stage, letter.reason, letter.error) == ("id-1", Stage.MAP, Reason.NUMBER_INVALID, "p: not a number")
    assert letter.failed_at == datetime(2023, 11, 14, 22, 13, 20, 1, UTC)
    assert (letter.outcome, letter.attempts, letter.received_at_us) == (WriteOutcome.NOT_WRITTEN, 2, 17)
    assert (letter.market, letter.stream, letter.symbol, letter.topic) == ("spot", "btcusdt@aggTrade", "BTCUSDT", "t")
    assert (letter.payload, letter.record, letter.original_message["a"]) == (FRAME, None, 26129)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"symbol": "ETHUSDT"}, "ETHUSDT", id="known"),
        pytest.param({}, "BTCUSDT", id="claimed-by-the-event"),
        pytest.param({"payload": b"{"}, "", id="nowhere"),
        pytest.param({"payload": b'{"s":7}'}, "", id="no-text"),
    ],
)
def test_whose_letter_it_is(fields: dict[str, Any], expected: str) -> None:
    """The symbol is the one that the client knew, else the one that the event claims, else none."""
    assert read_letter(line_of(frame_letter(**fields))).named_symbol == expected


def altered(**changes: object) -> bytes:
    return json.dumps(document_of(frame_letter()) | changes).encode()


def altered_record(**changes: object) -> bytes:
    return json.dumps(document_of(failed_record()) | changes).encode()


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels else {}


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in document_of(failed_record()).items() if name != key}).encode()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param(b"", "no JSON", id="empty"),
        pytest.param(line_of(frame_letter())[:-20], "no JSON", id="torn"),
        pytest.param(b"\xff\x00garbage", "no JSON", id="binary"),
        pytest.param(b'{"x":' + b"[" * 100_000, "no JSON", id="nested-too-deeply"),
        pytest.param(b"[1]", "no dead letter", id="another-programs-line"),
        pytest.param(b'{"level":"info"}', "no dead letter: Object missing required field `version`", id="log-line"),
        pytest.param(altered(version=2), "version 2, this program reads 1", id="of-a-later-version"),
        pytest.param(altered(reason="moonphase"), "no dead letter: Invalid enum value 'moonphase'", id="unknown-reason"),
        pytest.param(altered(failed_at="yesterday"), "no dead letter", id="no-time"),
        pytest.param(altered(failed_at="2024-01-01T00:00:00"), "with a timezone", id="time-of-no-zone"),
        pytest.param(altered(failed_at="0001-01-01T00:00:00+14:00"), "a damaged letter", id="time-before-all-times"),
        pytest.param(altered(id=""), "length >= 1 - at `$.id`", id="no-id"),
        pytest.param(altered(id="x" * 201), "length <= 200 - at `$.id`", id="endless-id"),
        pytest.param(altered(attempts=-1), ">= 0 - at `$.attempts`", id="negative-attempts"),
        pytest.param(altered(attempts=10**30), "at `$.attempts`", id="countless-attempts"),
        pytest.param(altered(received_at_us=10**30), "at `$.received_at_us`", id="received-after-all-times"),
        pytest.param(altered(original_message=nested(MAX_DEPTH + 1)), "deeper than 64 levels", id="nested-beyond-any-writer"),
        pytest.param(altered(payload=FRAME.decode() + " "), "payload and payload_sha256 do not match", id="payload-edited"),
        pytest.param(altered(payload="?", payload_encoding="base64"), "a damaged letter", id="no-base64"),
        pytest.param(without("timestamp"), "a record without its timestamp", id="record-without-time"),
        pytest.param(altered_record(timestamp=-1), ">= 0 - at `$.timestamp`", id="record-before-1970"),
        pytest.param(altered_record(timestamp=2**62), "at `$.timestamp`", id="record-after-all-times"),
        pytest.param(altered_record(topic=""), "a record without its topic", id="record-without-topic"),
    ],
)
def test_what_is_no_letter_is_told(line: bytes, why: str) -> None:
    """Anything but a whole letter of this version is refused with the reason, and never passes for the original."""
    with pytest.raises(UnreadableLetterError) as caught:
        read_letter(line)
    assert why in str(caught.value)


@given(st.binary() | st.builds(lambda keep: line_of(failed_record())[:keep], st.integers(0, 600)))
def test_no_line_breaks_the_reader(line: bytes) -> None:
    """Whatever lies in a file, a line is a letter or it is refused."""
    with suppress(UnreadableLetterError):
        assert read_letter(line).payload is not None


def test_a_letter_names_the_one_that_it_follows() -> None:
    """A letter that was replayed in vain stands for the one before it, and older readers pass over that."""
    line = encode_letter(frame_letter(), letter_id="id-2", failed_at_us=0, received_at_us=None, market="spot", replay_of="id-1")
    assert json.loads(line)["replay_of"] == "id-1"
    assert read_letter(line).id == "id-2"
