"""Splits a symbol into its base and quote asset, for symbols that nobody described."""

from __future__ import annotations

QUOTE_ASSETS = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "DAI", "USD1", "XUSD", "AEUR", "EURI", "USD"),
    *("BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL"),
    *(
        "EUR",
        "GBP",
        "AUD",
        "TRY",
        "BRL",
        "JPY",
        "ARS",
        "MXN",
        "COP",
        "CZK",
        "PLN",
        "RON",
        "UAH",
        "ZAR",
        "NGN",
        "RUB",
        "IDRT",
        "BIDR",
    ),
)
_LONGEST_FIRST = sorted(QUOTE_ASSETS, key=len, reverse=True)


def split(symbol: str) -> tuple[str, str]:
    """
    Base and quote asset of a symbol by its longest known suffix: BTCFDUSD is BTC in FDUSD, not BTCFD in USD.

    A symbol with no known suffix is all base, and quoted in USDT.
    """
    pair = symbol.partition("_")[0]  # delivery futures append their date: BTCUSDT_260925
    for quote in _LONGEST_FIRST:
        if pair.endswith(quote) and pair != quote:
            return pair.removesuffix(quote), quote
    return pair, "USDT"
