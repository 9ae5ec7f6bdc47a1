"""The dead letter's line: strict JSON whatever was in the event, the exact bytes inside, and the runbook's jq commands work."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.core.letters import (
    MAX_ERROR_BYTES,
    TOO_DEEP,
    FailedRecord,
    encode_letter,
    original_message,
    payload_of,
    record_of,
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
    record = record_of(document_of(failed_record()))
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
    assert payload_of(document) == payload


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters()), _VALUES))
def test_any_object_is_an_original_message(event: dict[str, Any]) -> None:
    """NaN, infinities and lone surrogates in an object, which Python reads and writes gladly, do not reach the line."""
    frame = json.dumps(event).encode()
    document = document_of(frame_letter(frame))
    json.dumps(document["original_message"], ensure_ascii=False).encode("utf-8")
    assert payload_of(document) == frame


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


def test_error_is_bounded_in_bytes() -> None:
    """A peer cannot fill the disk through the error text, and no character is cut in half."""
    error = document_of(frame_letter(error="é" * 5000))["error"]
    assert error == "é" * (MAX_ERROR_BYTES // 2)


def test_altered_payload_is_noticed() -> None:
    """A letter whose payload was edited does not pass for the original."""
    document = document_of(frame_letter())
    document["payload"] += " "
    with pytest.raises(ValueError, match="payload_sha256"):
        payload_of(document)
