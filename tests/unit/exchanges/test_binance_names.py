"""The exchange's names of streams, and which of them a wish means."""

from __future__ import annotations

import pytest

from k2.ingestion.exchanges.binance.names import is_full_name, kind_of_wish, spec_of, stream_of, wanted_streams

NAMED = [
    ("spot", "btcusdt@aggTrade", "BTCUSDT", "aggTrade", "aggTrade"),
    ("spot", "BTCUSDT@aggTrade", "BTCUSDT", "aggTrade", "aggTrade"),
    ("spot", "btcusdt@kline_1d@+08:00", "BTCUSDT", "kline_1d@+08:00", "kline"),
    ("spot", "这是测试币456@depth5@100ms", "这是测试币456", "depth5@100ms", "partialDepth"),
    ("usdm", "btcusdt_260925@markPrice@1s", "BTCUSDT_260925", "markPrice@1s", "markPrice"),
    ("spot", "btcusdt@nothing", "BTCUSDT", "nothing", None),
    ("usdm", "!markPrice@arr@1s", "ALL", "markPrice@1s", "markPrice"),
    ("usdm", "!bookTicker", "ALL", "bookTicker", "bookTicker"),
    ("spot", "!ticker_4h@arr", "ALL", "ticker_4h", "windowTicker"),
    ("usdm", "!contractInfo", "ALL", "contractInfo", None),
]


@pytest.mark.parametrize(("market", "name", "symbol", "spec", "kind"), NAMED)
def test_name_tells_symbol_spec_and_kind(market: str, name: str, symbol: str, spec: str, kind: str | None) -> None:
    """A stream without a kind can still be captured as it is."""
    stream = stream_of(market, name)
    assert (stream.symbol, stream.spec, stream.kind.name if stream.kind else None) == (symbol, spec, kind)
    assert stream.is_all_market is name.startswith("!")
    assert stream.name == (name if stream.is_all_market else f"{symbol.lower()}@{spec}")


@pytest.mark.parametrize("name", ["", "btcusdt", "@aggTrade", "btcusdt@", "!", "! ticker", "!ticker@arr@"])
def test_text_that_names_no_stream_is_refused(name: str) -> None:
    """With the text itself, and what a name looks like."""
    with pytest.raises(ValueError, match="no name of a") as refused:
        stream_of("spot", name)
    assert repr(name) in str(refused.value)
    assert "such as" in str(refused.value)


WISHES = [
    ("aggTrade", False, "aggTrade"),
    ("depth@100ms", False, "depth@100ms"),
    ("kline_1d@+08:00", False, "kline_1d@+08:00"),
    ("markPrice@1s", False, "markPrice@1s"),
    ("btcusdt@trade", True, "trade"),
    ("btcusdt@depth@100ms", True, "depth@100ms"),
    ("牛来usdt@kline_1d@+08:00", True, "kline_1d@+08:00"),
    ("!miniTicker@arr", True, "miniTicker"),
    ("!markPrice@arr@1s", True, "markPrice@1s"),
]


@pytest.mark.parametrize(("wish", "is_name", "spec"), WISHES)
def test_wish_is_a_name_or_a_spec(wish: str, is_name: bool, spec: str) -> None:
    """Both may hold an "@"."""
    assert (is_full_name(wish), spec_of(wish)) == (is_name, spec)


def test_spec_is_wished_for_every_symbol_and_a_name_for_itself() -> None:
    """In the order of the wishes, each stream once."""
    streams = wanted_streams("spot", ["trade", "btcusdt@trade", "!miniTicker@arr", "ethusdt@depth"], ["BTCUSDT", "牛来USDT"])
    expected = ["btcusdt@trade", "牛来usdt@trade", "!miniTicker@arr", "ethusdt@depth"]
    assert [stream.name for stream in streams] == expected


@pytest.mark.parametrize(
    ("market", "wish", "is_known"),
    [
        ("spot", "trade", True),
        ("spot", "btcusdt@kline_1s", True),
        ("usdm", "btcusdt@kline_1s", False),
        ("usdm", "!ticker@arr", True),
        ("spot", "!ticker@arr", False),
        ("spot", "!contractInfo", False),
    ],
)
def test_what_can_be_decoded_is_known_beforehand(market: str, wish: str, is_known: bool) -> None:
    """Before anything is subscribed to."""
    assert (kind_of_wish(market, wish) is not None) is is_known
