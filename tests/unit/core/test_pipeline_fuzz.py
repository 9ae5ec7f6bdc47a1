"""Whatever bytes come: an outcome for each frame, one for each event, and no exception."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.outcome import Control, DeadLetter, Ignored, Outcome, Publish
from k2.ingestion.core.pipeline import Pipeline
from unit.core import recordings
from unit.core.pipelines import DATA, RECEIVED_AT_US, assert_tells_all, decoded, new_pipeline

MUTATED_FRAMES = 200_000
FRAMES_PER_PIPELINE = 500  # then begin anew: unknown fields make decoding lenient, and ids that were seen are ignored
KINDS = [("spot", "aggTrade"), ("spot", "trade"), ("usdm", "aggTrade"), ("usdm", "trade")]
OWN_SHARE = 0.8  # of the frames that are damaged; the others are of other streams, answers and noise
SYMBOLS = ("BTCUSDT", "牛来USDT", "NKNUSDT", "CTKUSDT", "SUSHIUSDT")
HOSTILE = [
    b"", b"null", b"true", b"-1", b"1e999", b"1.0", b"NaN", b"[]", b"{}", b'""', b'"', b"\\", b"\\u0000", b"\\ud800",
    b"\xff", b"\x00", b"9223372036854775808", b"99999999999999999999999999999999999999999999", b'"p":"1"', b',"zz":1',
    b'"stream":', b'"e":', b'"e":"trade"', b"}", b"{", b'{"result":null,"id":1}', b'"error":', b"\xef\xbb\xbf", b" ",
    b"0.000000001", b"serverShutdown", b'"BTCUSDT"',
]  # fmt: skip


def _one_symbol() -> Pipeline:
    return new_pipeline(symbols=("BTCUSDT",))


def _payloads(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / "payloads").glob(f"{kind}/*.frame"))]


def _recorded_trades(market: str, stream: str) -> list[bytes]:
    """A few hundred real trades of each recording of this kind, where the recordings are."""
    names = [
        name for name, (of_market, of_stream, *_) in recordings.RECORDINGS.items() if (of_market, of_stream) == (market, stream)
    ]
    frames = (recorded.frame for name in names if recordings.are_there() for recorded in recordings.frames_of(name))
    return list(islice((frame for frame in frames if b'"e":"%s"' % stream.encode() in frame), 300))


def _mutated(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(frame) + 1)
    end = min(len(frame), start + rng.choice((0, 1, 1, 2, 4, 8, 16, 64)))
    kind = rng.randrange(8)
    if kind == 0:
        return frame[:start]
    if kind == 1:
        return frame[:start] + frame[end:]
    if kind == 2:
        return frame[:end] + frame[start:]
    if kind in (3, 4):
        return frame[:start] + rng.choice(HOSTILE) + frame[end:]
    if kind == 5:
        return frame[:start] + other[start:]
    if kind == 6:
        return frame[:start] + rng.randbytes(end - start) + frame[end:]
    return (
        frame[:start] + bytes([frame[start] ^ (1 << rng.randrange(8))]) + frame[start + 1 :]
        if start < len(frame)
        else frame + b"\n"
    )


def _mutants(market: str, stream: str, count: int) -> Iterator[bytes]:
    rng = random.Random(f"{market} {stream}")  # noqa: S311 - the same frames in every run
    own, others = _payloads(f"{market}_{stream}") + _recorded_trades(market, stream), _payloads("*")
    for _ in range(count):
        frame = rng.choice(own if rng.random() < OWN_SHARE else others)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            frame = _mutated(frame, rng.choice(own), rng)
        yield frame


def _check(frame: bytes, outcomes: tuple[Outcome, ...]) -> type[Outcome]:
    """A frame without an array of events has exactly one outcome, and a dead letter holds all of the frame."""
    (outcome,) = outcomes
    if isinstance(outcome, DeadLetter):
        assert_tells_all(outcome, frame)
    elif isinstance(outcome, Publish):
        assert len(outcome.records) == 1
    return type(outcome)


@pytest.mark.parametrize(("market", "stream"), KINDS)
def test_mutated_real_frames_have_one_outcome_each(market: str, stream: str) -> None:
    """Fifty thousand damaged frames of each kind of stream, the same in every run: nothing raises, and the counts add up."""
    counts: Counter[type[Outcome]] = Counter()
    published, mutants = 0, _mutants(market, stream, MUTATED_FRAMES // len(KINDS))
    while batch := list(islice(mutants, FRAMES_PER_PIPELINE)):
        pipeline = new_pipeline(market, stream, SYMBOLS)
        counts.update(_check(frame, pipeline.process(frame, RECEIVED_AT_US)) for frame in batch)
        published += sum(row.published for row in pipeline.rows)
    assert counts.total() == MUTATED_FRAMES // len(KINDS)
    assert counts[Publish] == published
    assert all(counts[kind] > 100 for kind in (Publish, DeadLetter, Control, Ignored)), counts


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_bytes_have_one_outcome(frame: bytes) -> None:
    """Whatever a peer sends, processing ends in an outcome and never in an exception."""
    _check(frame, _one_symbol().process(frame, RECEIVED_AT_US))


@given(st.binary(max_size=60), st.sampled_from(["btcusdt@aggTrade", "x", ""]))
def test_any_bytes_behind_a_head_have_one_outcome(rest: bytes, stream: str) -> None:
    """The same for what is routed by its first bytes, well-formed or not."""
    for head in (b'{"stream":"', b"xxxxxxxxxxx", b'{"result":"'):
        frame = head + stream.encode() + b'"' + rest
        _check(frame, _one_symbol().process(frame, RECEIVED_AT_US))


NUMBERS = st.sampled_from(["1", "0.5", "-1", "NaN", "", "1e5", "61837.63000000"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5) | NUMBERS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
TIMES = st.integers(0, 2**63) | st.just(1_723_161_255_342)
FIELDS = {
    "e": st.just("aggTrade"), "E": TIMES, "s": st.sampled_from(["BTCUSDT", "ETHUSDT"]), "a": st.integers(-1, 2**64), "p": NUMBERS,
    "q": NUMBERS, "f": st.integers(), "l": st.integers(), "T": TIMES, "m": st.booleans(), "M": st.booleans(),
}  # fmt: skip
EVENTS = st.fixed_dictionaries({name: values | ANYTHING for name, values in FIELDS.items()}) | st.fixed_dictionaries(
    {}, optional={name: values | ANYTHING for name, values in FIELDS.items()}
)
MESSAGES = st.fixed_dictionaries(
    {"stream": st.just("btcusdt@aggTrade") | ANYTHING, "data": EVENTS | ANYTHING},
    optional={"error": ANYTHING, "result": ANYTHING, "id": ANYTHING, "code": ANYTHING, "msg": ANYTHING},
)


@settings(max_examples=400)
@given(MESSAGES | EVENTS | ANYTHING, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans())
def test_any_json_has_one_outcome(message: Any, separators: tuple[str, str], in_ascii: bool) -> None:
    """Well-formed or odd in every way: one outcome, and for a frame of our stream it is that of an event."""
    frame = json.dumps(message, separators=separators, ensure_ascii=in_ascii).encode()
    kind = _check(frame, _one_symbol().process(frame, RECEIVED_AT_US))
    if isinstance(message, dict) and message.get("stream") == "btcusdt@aggTrade":
        assert kind is not Control


@settings(max_examples=200)
@given(st.fixed_dictionaries(FIELDS))
def test_published_event_is_the_one_that_came(event: dict[str, Any]) -> None:
    """What gets through with odd values gets through unchanged."""
    frame = json.dumps({"stream": "btcusdt@aggTrade", "data": event}, separators=(",", ":")).encode()
    (outcome,) = _one_symbol().process(frame, RECEIVED_AT_US)
    if isinstance(outcome, Publish):
        record = decoded(outcome.records[0].value)
        vendor = record["vendor_data"]
        assert (record["source_sequence"], record["side"]) == (event["a"], "SELL" if event["m"] else "BUY")
        assert [int(vendor[key]) for key in ("event_time", "first_trade_id", "last_trade_id")] == [
            event["E"],
            event["f"],
            event["l"],
        ]
