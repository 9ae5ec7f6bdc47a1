"""Number texts as Avro decimals: exact, or refused with a reason."""

from __future__ import annotations

import io
import time
from decimal import Decimal

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.core.decimals import DecimalMemo, NumberError, decimal_memo, encode_unscaled
from k2.ingestion.core.outcome import Reason

PRECISION, SCALE = 38, 8
SCHEMA = fastavro.parse_schema({"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": SCALE})
INVALID, OUT_OF_RANGE = Reason.NUMBER_INVALID, Reason.NUMBER_OUT_OF_RANGE


def _decoded(value: bytes) -> Decimal:
    decoded = fastavro.schemaless_reader(io.BytesIO(value), SCHEMA, None)
    assert isinstance(decoded, Decimal)
    return decoded


@st.composite
def _texts(draw: st.DrawFn) -> str:
    """Texts that TradeV2 can hold: up to 30 digits before the point and 8 behind, padded as exchanges do."""
    whole = str(draw(st.integers(0, 10**30 - 1) | st.sampled_from([0, 1, 10**30 - 1])))
    fraction = draw(st.from_regex(r"[0-9]{0,8}", fullmatch=True))
    leading, trailing = draw(st.integers(0, 5)), draw(st.integers(0, 10))
    digits = fraction + "0" * trailing
    return "0" * leading + whole + (f".{digits}" if digits else "")


@settings(max_examples=500)
@given(_texts())
def test_decoded_number_is_the_text(text: str) -> None:
    """Not a digit is lost or made up on the way."""
    assert _decoded(DecimalMemo(PRECISION, SCALE)[text]) == Decimal(text)


@given(st.lists(_texts(), max_size=30))
def test_memo_answers_alike_whatever_it_has_seen(texts: list[str]) -> None:
    """What the memo holds, and when it was emptied, shows in nothing but time."""
    small, large = DecimalMemo(PRECISION, SCALE, max_entries=3), DecimalMemo(PRECISION, SCALE)
    for text in [*texts, *texts]:
        assert small[text] == large[text] == DecimalMemo(PRECISION, SCALE)[text]
        assert len(small) <= 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", INVALID),
        (".", INVALID),
        ("1.", INVALID),
        (".5", INVALID),
        ("1.2.3", INVALID),
        ("NaN", INVALID),
        ("Infinity", INVALID),
        ("inf", INVALID),
        ("-1", INVALID),
        ("-0", INVALID),
        ("+1", INVALID),
        ("1e5", INVALID),
        ("1E-5", INVALID),
        ("0x10", INVALID),
        ("1_000", INVALID),
        ("1,5", INVALID),
        (" 1", INVALID),
        ("1 ", INVALID),
        ("1\n", INVALID),
        ("1\0", INVALID),
        ("\uff11\uff12", INVALID),
        ("١٢", INVALID),
        ("²", INVALID),
        ("None", INVALID),
        ("0.000000001", OUT_OF_RANGE),
        ("1.123456789", OUT_OF_RANGE),
        ("1" + "0" * 30, OUT_OF_RANGE),
        ("9" * 39, OUT_OF_RANGE),
        ("9" * 128, OUT_OF_RANGE),
        ("1." + "0" * 200, OUT_OF_RANGE),
    ],
)
def test_text_that_is_no_exact_number_is_refused(text: str, reason: Reason) -> None:
    """Nothing is rounded, trimmed or guessed: the reason says which way the text fails, and it is not remembered."""
    memo = DecimalMemo(PRECISION, SCALE)
    with pytest.raises(NumberError) as refused:
        memo[text]
    assert refused.value.reason is reason
    assert not memo


@given(st.text(max_size=12) | st.text("0123456789.eE+-_ ", max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    """What is accepted is what `Decimal` reads, and a plain sequence of digits with at most one point."""
    try:
        encoded = DecimalMemo(PRECISION, SCALE)[text]
    except NumberError:
        return
    assert _decoded(encoded) == Decimal(text)
    assert set(text) <= set("0123456789.")


@pytest.mark.parametrize("text", ["9" * 1_000_000, "0." + "0" * 1_000_000, "x" * 1_000_000])
def test_enormous_text_is_refused_at_once(text: str) -> None:
    """A megabyte of digits costs no more than a look at its length, and the error does not repeat it."""
    started = time.process_time()
    with pytest.raises(NumberError) as refused:
        DecimalMemo(PRECISION, SCALE)[text]
    assert time.process_time() - started < 0.5
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "unscaled"),
    [
        ("0", 0),
        ("0.00000001", 1),
        ("1", 10**8),
        ("1.50000000000", 15 * 10**7),
        ("007", 7 * 10**8),
        ("9" * 30 + "." + "9" * 8, 10**38 - 1),
    ],
)
def test_limits_are_inclusive(text: str, unscaled: int) -> None:
    """38 digits fit, 8 of them behind the point, and zeros at either end do not count."""
    assert DecimalMemo(PRECISION, SCALE).unscaled(text) == unscaled


def test_memo_is_bounded() -> None:
    """Ten times as many numbers as the memo holds leave it no larger than its bound."""
    memo = DecimalMemo(PRECISION, SCALE, max_entries=100)
    sizes = [len(memo) for number in range(1_000) if memo[str(number)]]
    assert max(sizes) == 100


def test_memo_of_an_encoder_is_bounded_by_default() -> None:
    """The bound that encoders get is a number of entries, not none."""
    memo = DecimalMemo(PRECISION, SCALE)
    assert all(memo[str(number)] for number in range(66_000))
    assert len(memo) <= 65_536


@given(st.integers(-(10**60), 10**60))
def test_unscaled_value_is_the_shortest_twos_complement(number: int) -> None:
    """As Java's BigInteger and fastavro write it: not a byte more than the sign needs."""
    encoded = encode_unscaled(number)
    body = encoded[1:]
    assert encoded[0] == 2 * len(body)
    assert int.from_bytes(body, "big", signed=True) == number
    assert len(body) == 1 or int.from_bytes(body[1:], "big", signed=True) != number


@settings(max_examples=300)
@given(_texts(), st.booleans())
def test_signed_number_is_the_text_with_its_sign(text: str, negative: bool) -> None:
    """Where a schema allows it, a minus in front changes the sign and nothing else."""
    text = f"-{text}" if negative else text
    assert _decoded(DecimalMemo(PRECISION, SCALE, signed=True)[text]) == Decimal(text)


@given(_texts())
def test_unsigned_and_signed_agree_where_there_is_no_sign(text: str) -> None:
    """The permission alone changes no byte."""
    assert DecimalMemo(PRECISION, SCALE, signed=True)[text] == DecimalMemo(PRECISION, SCALE)[text]


@pytest.mark.parametrize("text", ["--1", "+1", "-", "-.5", "1-", "- 1", "-1e5", "-NaN", "\u22121", "-1\n", "-\uff11"])
def test_sign_is_one_minus_in_front_of_a_number(text: str) -> None:
    """Everything else is refused as before."""
    with pytest.raises(NumberError) as refused:
        DecimalMemo(PRECISION, SCALE, signed=True)[text]
    assert refused.value.reason is INVALID


@pytest.mark.parametrize(
    ("text", "unscaled"),
    [("-0", 0), ("-0.00000001", -1), ("-" + "9" * 30 + "." + "9" * 8, 1 - 10**38), ("-1.5000000000", -15 * 10**7)],
)
def test_limits_hold_below_zero(text: str, unscaled: int) -> None:
    """38 digits on either side."""
    assert DecimalMemo(PRECISION, SCALE, signed=True).unscaled(text) == unscaled


@pytest.mark.parametrize("text", ["-0.000000001", "-1" + "0" * 30])
def test_number_that_is_too_large_or_too_fine_below_zero_is_refused(text: str) -> None:
    """Nothing is rounded there either."""
    with pytest.raises(NumberError) as refused:
        DecimalMemo(PRECISION, SCALE, signed=True)[text]
    assert refused.value.reason is OUT_OF_RANGE


@pytest.mark.parametrize(("schema", "is_signed"), [({}, False), ({"signed": False}, False), ({"signed": True}, True)])
def test_sign_is_allowed_where_the_schema_says_so(schema: dict[str, bool], is_signed: bool) -> None:
    """Few numbers of ours may be negative, so the schema has to ask for it."""
    memo = decimal_memo({"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": SCALE} | schema)
    if is_signed:
        assert _decoded(memo["-1"]) == -1
    else:
        with pytest.raises(NumberError):
            memo["-1"]
