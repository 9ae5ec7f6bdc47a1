"""What a generated market trades: price levels, tick and lot sizes. Known symbols resemble the real ones, others are derived."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import Struct

from k2.simulator import symbols
from k2.simulator.market import Instrument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k2.simulator.market import Venue

SPOT_DECIMALS = 8  # spot pads every number to eight decimals; futures print the decimals of the tick


class Listing(Struct, frozen=True):
    """
    A symbol with its numbers as integers: 1 is the last decimal that the exchange prints.

    `price` is where the walk is centred, `tick` the smallest step of a price, `step` what one step of the walk moves it by,
    `lot` the smallest quantity and `typical_lots` the median size of a trade.
    """

    symbol: str
    base_asset: str
    quote_asset: str
    price_decimals: int
    quantity_decimals: int
    price: int
    tick: int
    step: int
    lot: int
    typical_lots: int

    @property
    def instrument(self) -> Instrument:
        tick_size = decimal_text(self.tick, self.price_decimals)
        lot_size = decimal_text(self.lot, self.quantity_decimals)
        return Instrument(self.symbol, self.base_asset, self.quote_asset, tick_size, lot_size)


class _Level(Struct, frozen=True):
    """A price with its finest decimal, and the finest decimal of a quantity with the median trade in units of it."""

    price: float
    price_decimals: int
    quantity_decimals: int
    typical_lots: int


_SPOT_LEVELS = {
    "BTCUSDT": _Level(61_837.63, 2, 5, 320),
    "ETHUSDT": _Level(2_684.50, 2, 4, 450),
    "BNBUSDT": _Level(517.40, 2, 3, 300),
    "SOLUSDT": _Level(161.20, 2, 3, 900),
    "XRPUSDT": _Level(0.6121, 4, 0, 180),
    "DOGEUSDT": _Level(0.10243, 5, 0, 900),
    "ETHBTC": _Level(0.04341, 5, 4, 300),
    "BTCJPY": _Level(9_090_000.0, 0, 5, 100),
    "SHIBUSDT": _Level(0.00001402, 8, 0, 2_000_000),
}
_USDM_LEVELS = {
    "BTCUSDT": _Level(61_800.30, 2, 3, 12),
    "ETHUSDT": _Level(2_684.51, 2, 3, 150),
    "BNBUSDT": _Level(517.45, 2, 2, 90),
    "BTCUSD_PERP": _Level(61_810.5, 1, 0, 110),  # COIN-M: a contract of 100 USD, seen in the streams of all symbols
}
_LEVELS = {"spot": _SPOT_LEVELS, "usdm": _USDM_LEVELS}
_STEP_SHARE = 2e-6  # one step of the walk moves a price by this share of itself, or by one tick where that is more


def listing(symbol: str, venue: Venue, quotes: Mapping[str, str]) -> Listing:
    """
    The listing of a symbol; the same name always gives the same numbers.

    Args:
        quotes: Quote assets by symbol, for those whose suffix would mislead.
    """
    level = _LEVELS[venue].get(symbol) or _derived(symbol)
    price_decimals, quantity_decimals = _printed(level, venue)
    unit = 10**price_decimals
    tick = 10 ** (price_decimals - level.price_decimals)
    steps = max(1, round(level.price * _STEP_SHARE * unit / tick))
    price = round(level.price * unit / tick) * tick
    lot = 10 ** (quantity_decimals - level.quantity_decimals)
    base, quote = assets(symbol, quotes)
    return Listing(symbol, base, quote, price_decimals, quantity_decimals, price, tick, steps * tick, lot, level.typical_lots)


def assets(symbol: str, quotes: Mapping[str, str]) -> tuple[str, str]:
    """Base and quote asset; `quotes` is believed first."""
    if symbol in quotes:
        return symbol.removesuffix(quotes[symbol]), quotes[symbol]
    return symbols.split(symbol)


def decimal_text(value: int, decimals: int) -> str:
    """An integer count of the last decimal as the exchange prints it: 6183763 with two decimals is 61837.63."""
    if not decimals:
        return str(value)
    whole, fraction = divmod(value, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def signed_text(value: int, decimals: int) -> str:
    """The same for integers below 0 too."""
    return f"-{decimal_text(-value, decimals)}" if value < 0 else decimal_text(value, decimals)


def _printed(level: _Level, venue: Venue) -> tuple[int, int]:
    return (SPOT_DECIMALS, SPOT_DECIMALS) if venue == "spot" else (level.price_decimals, level.quantity_decimals)


def _derived(symbol: str) -> _Level:
    """A level for a symbol that is in no table: from 0.01 to 100, with four or five significant digits."""
    digest = crc32(symbol.encode())
    magnitude = digest % 4
    price = (1 + digest // 7 % 9) * 10.0 ** (magnitude - 2) * 1.0371
    return _Level(price, 6 - magnitude, magnitude, 50 * 10**magnitude)
