"""Whatever the exchange sends on any of its streams: an outcome for each event, and no exception."""

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
from unit.core.pipelines import assert_tells_all, fields_of
from unit.exchanges.goldens import GOLDENS, Golden, event_of, frame_with, pipeline_for

EVERY_GOLDEN = pytest.mark.parametrize("golden", GOLDENS.values(), ids=list(GOLDENS))
NAMES = st.sampled_from(list(GOLDENS))

NUMBERS = st.sampled_from(["1", "0.5", "-1", "", "NaN", "1e5", "0.000000001", "9" * 31, "118250.10000000"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5) | NUMBERS
    | st.sampled_from([0, -1, 2**63 - 1, -(2**63), 2**63 // 1000, 2**63 // 1000 + 1, 1784894400123])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8
)


def _check(frame: bytes, outcomes: tuple[Outcome, ...], schema: str) -> Outcome:
    """One outcome, and what it says holds: a dead letter has all of the frame, and a record can be read."""
    (outcome,) = outcomes
    if isinstance(outcome, DeadLetter):
        assert_tells_all(outcome, frame)
    elif isinstance(outcome, Publish):
        (record,) = outcome.records
        fields = fields_of(record.value, schema)
        assert record.key == fields["symbol"].encode()
        assert record.timestamp_ms == fields["timestamp"] // 1_000
    return outcome


def _processed(pipeline: Pipeline, golden: Golden, frame: bytes) -> Outcome:
    return _check(frame, pipeline.process(frame, golden["received_at_us"]), golden["schema"])


@st.composite
def _changed(draw: st.DrawFn) -> tuple[Golden, Any]:
    """A documented event with up to three of its values, at any depth, replaced, removed or doubled in a list."""
    golden = GOLDENS[draw(NAMES)]
    event: Any = event_of(golden)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(event))))
        if draw(st.booleans()):
            holder[key] = draw(ANYTHING)
        elif isinstance(holder, dict):
            del holder[key]
        else:
            holder.insert(key, holder[key])
        if not event:
            break
    return golden, event


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


@settings(max_examples=1_500)
@given(_changed())
def test_changed_event_has_one_outcome(changed: tuple[Golden, Any]) -> None:
    """Whatever stands where something else should."""
    golden, event = changed
    assert not isinstance(_processed(pipeline_for(golden), golden, frame_with(golden["stream"], event)), Control)


@settings(max_examples=400)
@given(NAMES, ANYTHING)
def test_any_data_has_one_outcome(name: str, data: Any) -> None:
    """Well-formed JSON that is no event at all."""
    golden = GOLDENS[name]
    assert not isinstance(_processed(pipeline_for(golden), golden, frame_with(golden["stream"], data)), Control)


HOSTILE = [
    b"", b"null", b"-1", b"1e999", b"1.0", b"NaN", b"[]", b"{}", b'""', b'"', b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\x00",
    b"9223372036854775807", b"9223372036854775808", b"9223372036854776", b"99999999999999999999999999999", b',"zz":1', b"}", b"{",
    b"]", b"[", b'["1","1"]', b'"-1"', b"true", b"0.000000001", b"\xef\xbb\xbf", b" ", b'"BTCUSDT"', b'"st":2', b",",
]  # fmt: skip
MUTANTS = 1_000
MUTANTS_PER_PIPELINE = 100  # then begin anew: unknown fields make decoding lenient, and ids that were seen are ignored


def _mutants(golden: Golden) -> Iterator[bytes]:
    rng = random.Random(golden["frame"])  # noqa: S311 - the same frames in every run
    for _ in range(MUTANTS):
        frame = golden["frame"].encode()
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            frame = _mutated(frame, rng)
        yield frame


def _mutated(frame: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(frame) + 1)
    end = min(len(frame), start + rng.choice((0, 1, 1, 2, 4, 8, 16)))
    mutations = (
        frame[:start],
        frame[:start] + frame[end:],
        frame[:end] + frame[start:],
        frame[:start] + rng.choice(HOSTILE) + frame[end:],
        frame[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in frame[start:end]) + frame[end:],
        frame[:start] + b"%d" % rng.randrange(10) + frame[end:],
    )
    return rng.choice(mutations)


@EVERY_GOLDEN
def test_damaged_frames_have_one_outcome_each(golden: Golden) -> None:
    """A thousand of each, the same in every run: nothing raises, and some of every kind still get through."""
    counts, mutants = Counter[type[Outcome]](), _mutants(golden)
    while batch := list(islice(mutants, MUTANTS_PER_PIPELINE)):
        pipeline = pipeline_for(golden)
        counts.update(type(_processed(pipeline, golden, frame)) for frame in batch)
    assert counts.total() == MUTANTS
    assert counts[DeadLetter] > MUTANTS // 2
    assert counts[Publish] + counts[Ignored] > 0


@settings(max_examples=200)
@given(NAMES, st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
def test_ids_of_any_size_have_an_outcome(name: str, numbers: list[int]) -> None:
    """Up to the end of what a long holds, in any order."""
    golden = GOLDENS[name]
    pipeline, event = pipeline_for(golden), event_of(golden)
    for number in numbers:
        changed = {key: number if key in ("u", "t", "lastUpdateId") else value for key, value in event.items()}
        frame = frame_with(golden["stream"], changed | ({"pu": number - 1, "U": number} if "U" in event else {}))
        _processed(pipeline, golden, frame)
        assert json.loads(frame)["stream"] == golden["stream"]
