"""Fields that the exchange adds: noticed once, tolerated for ever, whatever they are called."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from k2.ingestion.core.outcome import FieldAppeared, Notice, Publish
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.core.wire import MAX_ADOPTED_FIELDS, WireDecoder
from unit.core.pipelines import RECEIVED_AT_US, SYMBOLS, new_pipeline

EVENT = {
    "e": "aggTrade", "E": 1723161255343, "s": "BTCUSDT", "a": 1, "p": "61837.63", "q": "0.02", "f": 1, "l": 2, "T": 1723161255342,
    "m": True, "M": True,
}  # fmt: skip
HOSTILE_NAMES = [
    "zz", "", " ", "a:b", "a.b", "a`b", "`", "q'q", 'q"q', "b\\s", "n\nl", "\x00", "\x7f", "牛", "\u2028", "\U0001d54a", "stream",
    "adopted_0", "__class__", "E ", "Object missing required field", "x` - at `$.data", "x` - at `$",
    "x" * 256, "x" * 257, "x" * 5_000,
]  # fmt: skip


def _frame(
    extra: dict[str, Any] | None = None, around: dict[str, Any] | None = None, number: int = 1, symbol: str = "BTCUSDT"
) -> bytes:
    data = EVENT | {"a": number, "s": symbol} | (extra or {})
    return json.dumps({"stream": f"{symbol.lower()}@aggTrade", "data": data} | (around or {}), ensure_ascii=False).encode()


def _notices(pipeline: Pipeline, frame: bytes) -> tuple[Notice, ...]:
    (outcome,) = pipeline.process(frame, RECEIVED_AT_US)
    assert isinstance(outcome, Publish), outcome
    return outcome.notices


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_new_field_of_an_event_is_noticed_once(name: str) -> None:
    """By its name, whatever that is, and the event is published the first time and ever after."""
    pipeline = new_pipeline()
    assert _notices(pipeline, _frame({name: [1]})) == (FieldAppeared("aggTrade", name[:256]),)
    assert _notices(pipeline, _frame({name: {"other": 2}}, number=2)) == ()
    assert _notices(pipeline, _frame(number=3)) == ()


AMBIGUOUS = "x` - at `$.data"  # in the envelope msgspec's text about it is the one about `x` inside `data`


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name not in (AMBIGUOUS, "stream")], ids=ascii)
def test_new_field_of_the_envelope_is_noticed_once(name: str) -> None:
    """The same beside the event."""
    pipeline = new_pipeline()
    assert _notices(pipeline, _frame(around={name: [1]})) == (FieldAppeared("aggTrade", name[:256].removesuffix("` - at `$")),)
    assert _notices(pipeline, _frame(around={name: "x"}, number=2)) == ()


def test_name_that_imitates_the_decoder_is_noticed_once_under_some_name() -> None:
    """Where the text cannot tell, the name may be wrong, but the record comes and the notice does not come again."""
    pipeline = new_pipeline()
    assert _notices(pipeline, _frame(around={AMBIGUOUS: 1})) == (FieldAppeared("aggTrade", "x"),)
    assert _notices(pipeline, _frame(around={AMBIGUOUS: 1}, number=2)) == ()


def test_fields_that_come_together_are_all_noticed() -> None:
    """In the order in which they stand, with the one event that brought them."""
    notices = _notices(new_pipeline(), _frame({"one": 1, "two": 2}, {"three": 3}))
    assert notices == tuple(FieldAppeared("aggTrade", name) for name in ("one", "two", "three"))


def test_noticing_a_field_does_not_blind_us_for_the_next() -> None:
    """Decoding is strict again after each new field, so that the next one is noticed too."""
    pipeline = new_pipeline()
    for number in range(1, MAX_ADOPTED_FIELDS + 1):
        assert _notices(pipeline, _frame({f"new{number}": number}, number=number)) == (FieldAppeared("aggTrade", f"new{number}"),)


def test_flood_of_new_fields_is_noticed_up_to_a_bound() -> None:
    """Beyond the bound it is noise: one more is noticed, and all of it is tolerated."""
    pipeline = new_pipeline()
    notices = _notices(pipeline, _frame({f"noise{index}": index for index in range(500)}))
    assert len(notices) == MAX_ADOPTED_FIELDS + 1
    assert _notices(pipeline, _frame({f"noise{index}": index for index in range(500, 1_000)}, number=2)) == ()


def test_field_is_noticed_once_for_all_symbols() -> None:
    """The exchange adds a field to a kind of stream; a thousand symbols make no thousand notices."""
    pipeline = new_pipeline()
    notices = [_notices(pipeline, _frame({"zz": 1}, symbol=symbol)) for symbol in SYMBOLS]
    assert notices == [(FieldAppeared("aggTrade", "zz"),), (), ()]


@given(
    st.dictionaries(st.text(max_size=12), st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.lists(st.none()), max_size=6)
)
def test_any_new_fields_leave_the_event_as_it_is(extra: dict[str, Any]) -> None:
    """Whatever is added, the record is the same byte for byte, and each field is noticed once at most."""
    extra = {name: value for name, value in extra.items() if name not in EVENT}
    (plain,) = new_pipeline().process(_frame(), RECEIVED_AT_US)
    (extended,) = new_pipeline().process(_frame(extra), RECEIVED_AT_US)
    assert isinstance(plain, Publish)
    assert isinstance(extended, Publish)
    assert extended.records == plain.records
    assert len(set(map(str, extended.notices))) == len(extended.notices) <= len(extra)


class _Inner(Struct, forbid_unknown_fields=True):
    x: int


class _Outer(Struct, forbid_unknown_fields=True):
    k: _Inner


def test_object_inside_an_event_that_stays_strict_ends_in_an_error() -> None:
    """A field that cannot be adopted is noticed once; it must not be tried again for ever."""
    wire = WireDecoder("kline", _Outer)
    frame = b'{"stream":"s","data":{"k":{"x":1,"y":2}}}'
    assert _adopted(wire, frame) == (FieldAppeared("kline", "y"),)
    assert _adopted(wire, frame) is None


def _adopted(wire: WireDecoder, frame: bytes) -> tuple[Notice, ...] | None:
    with pytest.raises(msgspec.ValidationError) as refused:
        wire.decode(frame)
    return wire.adopt(refused.value)
