"""What symbols are made of."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.exchanges.binance.symbols import SymbolInfo, parse_exchange_info, quote_asset, unknown_symbols


@pytest.mark.parametrize(
    ("symbol", "quote"),
    [
        ("BTCUSDT", "USDT"),
        ("BTCFDUSD", "FDUSD"),
        ("BTCJPY", "JPY"),
        ("ETHBTC", "BTC"),
        ("BNBEUR", "EUR"),
        ("USDCUSDT", "USDT"),
        ("BTCUSDC", "USDC"),
        ("FDUSDUSDT", "USDT"),
        ("1000SHIBUSDT", "USDT"),
        ("BTCTUSD", "TUSD"),
        ("BTCUSD", "USD"),
        ("BTCBUSD", "BUSD"),
        ("BNBUSD", "USD"),
        ("BTCBIDR", "BIDR"),
        ("BNBBIDR", "BIDR"),
        ("BNBIDR", "IDR"),
        ("USDTIDRT", "IDRT"),
        ("EURUSDT", "USDT"),
        ("USDTTRY", "TRY"),
        ("BTCUSDT_250328", "USDT"),
        ("BTCUSD_PERP", "USD"),
        ("btcusdt", "USDT"),
        ("牛来USDT", "USDT"),
        ("USDT", ""),
        ("", ""),
        ("XYZ", ""),
    ],
)
def test_quote_asset_by_the_ending(symbol: str, quote: str) -> None:
    """The ending tells the quote asset: the longest that makes sense, and none where none is known."""
    assert quote_asset(symbol) == quote


@given(st.text(max_size=20))
def test_any_text_has_an_answer(symbol: str) -> None:
    """Whatever is asked, the answer is a proper ending of it or empty."""
    quote = quote_asset(symbol)
    assert symbol.upper().partition("_")[0].endswith(quote)


def listing(**fields: object) -> dict[str, object]:
    return {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"} | fields


BTC = SymbolInfo("BTCUSDT", "BTC", "USDT", "TRADING")


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        pytest.param(listing(), BTC, id="spot"),
        pytest.param(listing(filters=[{"x": 1}], contractType="PERPETUAL"), BTC, id="unknown-fields"),
        pytest.param({"symbol": "A", "baseAsset": "B", "quoteAsset": "C"}, SymbolInfo("A", "B", "C", ""), id="no-status"),
        pytest.param(listing(symbol="牛来USDT"), SymbolInfo("牛来USDT", "BTC", "USDT", "TRADING"), id="any-script"),
        pytest.param({"symbol": "BTCUSDT"}, None, id="no-assets"),
        pytest.param(listing(symbol=7), None, id="mistyped"),
        pytest.param("BTCUSDT", None, id="no-object"),
    ],
)
def test_entries_are_read_one_by_one(entry: object, read: SymbolInfo | None) -> None:
    """An entry is read where it makes sense and left out where it does not, without harm to the others."""
    other = listing(symbol="OTHER")
    infos = parse_exchange_info(json.dumps({"timezone": "UTC", "symbols": [entry, other]}).encode())
    expected = [read] if read else []
    assert list(infos.values()) == [*expected, SymbolInfo("OTHER", "BTC", "USDT", "TRADING")]


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b"{}", b'{"symbols": 1}', b"\xff"])
def test_no_listing_is_an_error(document: bytes) -> None:
    """What holds no list of symbols is a ValueError, not an empty list."""
    with pytest.raises(ValueError, match=r"."):
        parse_exchange_info(document)


def test_unknown_symbols_keep_their_order() -> None:
    """The symbols that the exchange does not list are named in the order asked for."""
    assert unknown_symbols(["NOPE", "btcusdt", "NADA"], {"BTCUSDT": BTC}) == ["NOPE", "NADA"]
