"""
What a simulated exchange trades: the port between a market (recorded or generated) and the server that shows it.

A market knows nothing of connections. It is asked again and again for the frames that are due, and remembers what it has
issued so that REST can repeat it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

Venue = Literal["spot", "usdm"]
TradeKind = Literal["aggTrade", "trade"]
TRADE_KINDS: tuple[TradeKind, ...] = ("aggTrade", "trade")


class Frame(NamedTuple):
    """One event as the combined connection sends it; the bare event is `combined[data_at:-1]`."""

    stream: str
    combined: bytes
    data_at: int

    @property
    def raw(self) -> bytes:
        return self.combined[self.data_at : -1]


class Instrument(Struct, frozen=True):
    """A listed symbol. Decimals say how many the exchange quotes; `*_step` are the smallest changes, as text."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: str = "0.00000001"
    lot_size: str = "0.00000001"
    status: str = "TRADING"


class PastTrade(Struct, frozen=True):
    """An issued trade, or an aggregate of the trades `first_id` to `last_id`. Numbers are the exchange's decimal text."""

    id: int
    price: str
    quantity: str
    first_id: int
    last_id: int
    traded_at_ms: int
    buyer_is_maker: bool


class Window(Struct, frozen=True):
    """Which issued trades REST was asked for. Bounds are inclusive; without any, the newest `limit`."""

    limit: int = 500
    from_id: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class CandleWindow(Struct, frozen=True):
    """Which candles REST was asked for: those that open within the bounds (inclusive); without any, the newest `limit`."""

    interval: str
    limit: int = 500
    start_ms: int | None = None
    end_ms: int | None = None
    offset_ms: int = 0


class Market(Protocol):
    """A source of frames. `now_s` is always the monotonic clock, `wall_ms` milliseconds since the Unix epoch."""

    @property
    def venue(self) -> Venue: ...

    @property
    def eager(self) -> bool:
        """True when frames come as fast as they are taken: the server then waits for its slowest reader."""

    @property
    def waits_for_reader(self) -> bool:
        """True when the market should begin with the first subscription instead of with the server."""

    def begin(self, now_s: float, wall_ms: int) -> None:
        """Start the market's clock. Only the first call counts, so that a market outlives its server."""

    def pull(self, now_s: float, wanted: Collection[str], limit: int) -> list[Frame]:
        """Issue what is due, in order, `limit` events at most. Streams outside `wanted` may be left out."""

    def idle_s(self, now_s: float) -> float | None:
        """Seconds until the next frame is due, or None when the market is over."""

    def instruments(self) -> Mapping[str, Instrument]: ...

    def stream_kinds(self) -> Sequence[str]:
        """What it has streams of, trades first: their names behind the `@`, and the whole names of those of all symbols."""

    def history(self, kind: TradeKind, symbol: str, window: Window) -> list[PastTrade]:
        """Issued trades by ascending id."""

    def klines(self, symbol: str, window: CandleWindow) -> list[list[object]]:
        """Candles by ascending time, each as REST lists it."""

    def depth(self, symbol: str, limit: int) -> bytes | None:
        """The order book as REST answers it, `limit` levels a side at most, or None."""

    def list_symbol(self, symbol: str) -> None:
        """
        Let a symbol trade from now on.

        Raises:
            ValueError: it is trading already, or the market cannot have it.
        """

    def delist(self, symbol: str, *, listed: bool = True) -> None:
        """
        Let a symbol's streams fall silent.

        Args:
            listed: Whether exchangeInfo still has it, with the status of a halted symbol.

        Raises:
            ValueError: it is not trading, or the market cannot do without it.
        """


def select(count: int, id_at: Callable[[int], int], time_at: Callable[[int], int], window: Window) -> range:
    """Positions among `count` trades, sorted by id and by time, that `window` asks for."""
    everything = range(count)
    if window.from_id is not None:
        first = bisect_left(everything, window.from_id, key=id_at)
        return range(first, min(count, first + window.limit))
    end = count if window.end_ms is None else bisect_right(everything, window.end_ms, key=time_at)
    if window.start_ms is None:
        return range(max(0, end - window.limit), end)
    first = bisect_left(everything, window.start_ms, key=time_at)
    return range(first, max(first, min(end, first + window.limit)))
