"""
Binance's trade events as they come over the wire, and what all events are made of.

Prices and quantities stay text: they are checked where they become Avro decimals. Times are milliseconds since the Unix epoch.
The keys differ only in case (`e` and `E`, `t` and `T`). The event's type is a field and no tag: a frame may leave a tag out.

Source: Binance spot API docs, "Aggregate Trade Streams", "Trade Streams" and "Block Trade Streams"; USD-M futures docs,
"Aggregate Trade Streams". The futures trade stream is undocumented; its form was read from real frames.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field


class OneId:
    """An event that covers no id but its own."""

    __slots__ = ()

    exchange_id: int

    @property
    def first_id(self) -> int:
        return self.exchange_id


class OneTrade(OneId):
    """A trade by itself, where other events hold several."""

    __slots__ = ()

    @property
    def first_trade_id(self) -> int:
        return self.exchange_id

    @property
    def last_trade_id(self) -> int:
        return self.exchange_id


class Untimed:
    """An event that does not say when it happened. The time of receipt stands for it."""

    __slots__ = ()

    occurred_at_ms: ClassVar[None] = None
    event_time_ms: ClassVar[int] = 0


class NumberedByTime:
    """An event without a number: the time when the exchange sent it stands for one."""

    __slots__ = ()

    event_time_ms: int

    @property
    def exchange_id(self) -> int:
        return self.event_time_ms

    @property
    def first_id(self) -> int:
        return self.event_time_ms


class TimedWhenSent(NumberedByTime):
    """One that says nothing else of when it happened."""

    __slots__ = ()

    @property
    def occurred_at_ms(self) -> int:
        return self.event_time_ms


Long = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# A time that fits an Avro long in microseconds as well.
Milliseconds = Annotated[int, Meta(ge=-(2**63 // 1000), le=2**63 // 1000)]


class SpotAggTrade(Struct, OneId, gc=False, forbid_unknown_fields=True):
    """Trades of one taker order at one price, in one event. `exchange_id` is contiguous within the symbol."""

    event_type: Literal["aggTrade"] = field(name="e")
    event_time_ms: Long = field(name="E")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    first_trade_id: Long = field(name="f")
    last_trade_id: Long = field(name="l")
    occurred_at_ms: Long = field(name="T")
    buyer_is_maker: bool = field(name="m")
    ignored: bool | UnsetType = field(name="M", default=UNSET)


class SpotTrade(Struct, OneTrade, gc=False, forbid_unknown_fields=True):
    """One trade. `exchange_id` is contiguous within the symbol. The order ids `b` and `a` were removed in June 2024."""

    event_type: Literal["trade"] = field(name="e")
    event_time_ms: Long = field(name="E")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    occurred_at_ms: Long = field(name="T")
    buyer_is_maker: bool = field(name="m")
    ignored: bool | UnsetType = field(name="M", default=UNSET)
    buyer_order_id: Long | UnsetType = field(name="b", default=UNSET)
    seller_order_id: Long | UnsetType = field(name="a", default=UNSET)


class BlockTrade(Struct, OneTrade, gc=False, forbid_unknown_fields=True):
    """A trade that was agreed on outside the order book. `exchange_id` counts block trades only."""

    event_type: Literal["blockTrade"] = field(name="e")
    event_time_ms: Long = field(name="E")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    occurred_at_ms: Long = field(name="T")
    buyer_is_maker: bool = field(name="m")


class FuturesAggTrade(Struct, OneId, gc=False, forbid_unknown_fields=True):
    """Like the spot event. `normal_quantity` leaves out retail price improvement; `symbol_type` 1 is USD-M, 2 COIN-M."""

    event_type: Literal["aggTrade"] = field(name="e")
    event_time_ms: Long = field(name="E")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    first_trade_id: Long = field(name="f")
    last_trade_id: Long = field(name="l")
    occurred_at_ms: Long = field(name="T")
    buyer_is_maker: bool = field(name="m")
    normal_quantity: str | UnsetType = field(name="nq", default=UNSET)
    symbol_type: Long | UnsetType = field(name="st", default=UNSET)


class FuturesTrade(Struct, OneTrade, gc=False, forbid_unknown_fields=True):
    """One trade. `execution` is MARKET, RPI, INSURANCE_FUND, ADL or NA; a frame with NA has price and quantity 0."""

    event_type: Literal["trade"] = field(name="e")
    event_time_ms: Long = field(name="E")
    symbol: str = field(name="s")
    exchange_id: Id = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    occurred_at_ms: Long = field(name="T")
    buyer_is_maker: bool = field(name="m")
    execution: str | UnsetType = field(name="X", default=UNSET)
    symbol_type: Long | UnsetType = field(name="st", default=UNSET)


Trade = SpotAggTrade | SpotTrade | BlockTrade | FuturesAggTrade | FuturesTrade
