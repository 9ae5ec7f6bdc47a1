"""
The stream table: one row for each kind of stream that we carry.

A kind says everything that differs from the others: the names of its streams, its wire type, mapping, schema, topic, numbering,
and which of its events are left out. Adding a stream is adding a row, a wire type, a mapping and a schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from k2.ingestion.core.avro import Encoder, MapShape
from k2.ingestion.core.outcome import IgnoreReason
from k2.ingestion.core.rows import Writer
from k2.ingestion.core.sequence import ContiguousSequence, RisingSequence, RisingTimes, Sequence
from k2.ingestion.exchanges.binance import books, candles, liquidations, mapping, prices, quotes, tickers
from k2.ingestion.exchanges.binance.events import BlockTrade, FuturesAggTrade, FuturesTrade, SpotAggTrade, SpotTrade
from k2.ingestion.exchanges.binance.futures import other_market, vendor_shape

ASSET_CLASSES = {"spot": "crypto", "usdm": "futures"}
RAW_TOPIC, RAW_SCHEMA = "raw", "raw_v2"


class StreamKind(Struct, frozen=True, kw_only=True):
    """
    One kind of stream.

    Attributes:
        name: What the kind is called, for people. Also a part of the `envelope` layout's contract.
        label: What its events are called in the `event` layout; the name in snake case where it is empty.
        specs: A regular expression of the exchange's names behind the `@`.
        all_market: A regular expression of its all-market names, or empty where there is none.
        event_type: The payload.
        writer: Makes the writer of a symbol's records from their encoder and the beginning of their message_id.
        original: Makes the exchange's message of a decoded record again, as near to the event as the record allows.
        topic: Which of the market's topics its records go to.
        numbering: How the ids of a symbol run.
        constants: The fields of a record that follow from the spec.
        skip: Which events are left out, and why.
        sparse: Silence is nothing unusual.
        updates: The kind that takes its place where updates of what is not complete yet are wanted as well.
    """

    market: str
    name: str
    specs: str
    event_type: type[Struct]
    writer: Callable[[Encoder, bytes], Writer]
    original: Callable[[Mapping[str, Any]], dict[str, Any]]
    schema_name: str
    topic: str
    numbering: Callable[[str, str], Sequence]
    all_market: str = ""
    constants: Callable[[str], Mapping[str, Any]] = lambda _: {}
    vendor_data: MapShape | None = None
    skip: Callable[[Any], IgnoreReason | None] | None = None
    sparse: bool = False
    updates: StreamKind | None = None
    label: str = ""

    @property
    def event_name(self) -> str:
        """What an event of this kind is called, in words."""
        return self.label or re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    def has(self, spec: str) -> bool:
        """Whether a stream of this spec is of this kind."""
        return re.fullmatch(self.specs, spec) is not None

    def has_all_market(self, name: str) -> bool:
        """Whether an all-market stream of this name is of this kind."""
        return bool(self.all_market) and re.fullmatch(self.all_market, name) is not None


_trades = partial(
    StreamKind, original=mapping.original_message, schema_name="trade_v2", topic="trades", numbering=ContiguousSequence,
    constants=lambda _: mapping.CONSTANTS,
)  # fmt: skip
_candles = partial(
    StreamKind, name="kline", original=candles.original_message, schema_name="kline_v2", topic="klines",
    constants=candles.constants,
)  # fmt: skip
_closed_candles = partial(
    _candles, event_type=candles.Kline, writer=candles.closed_candle, numbering=ContiguousSequence, skip=candles.still_open
)
_any_candles = partial(_candles, event_type=candles.KlineUpdate, writer=candles.any_candle, numbering=RisingSequence)
_quotes = partial(
    StreamKind, name="bookTicker", specs="bookTicker", original=quotes.original_message, schema_name="quote_v2", topic="quotes",
    numbering=RisingSequence,
)  # fmt: skip
_depths = partial(StreamKind, original=books.original_depth, schema_name="depth_v2", numbering=ContiguousSequence)
_futures_depths = partial(
    _depths, market="usdm", event_type=books.FuturesDepth, writer=books.futures_depth, vendor_data=vendor_shape("depthUpdate")
)
_books = partial(
    StreamKind, name="partialDepth", original=books.original_book, schema_name="book_v2", topic="books", numbering=RisingSequence
)
_tickers = partial(
    StreamKind, original=tickers.original_message, schema_name="ticker_v2", topic="tickers", numbering=RisingSequence
)
_spot_tickers = partial(_tickers, market="spot")
_futures_tickers = partial(_tickers, market="usdm", skip=other_market)
_SPOT_KLINES = rf"kline_({candles.SPOT_INTERVALS})(@\+08:00)?"
_USDM_KLINES = rf"kline_({candles.FUTURES_INTERVALS})"

KINDS = (
    _trades(
        market="spot", name="aggTrade", label="aggregate_trade",
        specs="aggTrade", event_type=SpotAggTrade, writer=mapping.spot_trade,
        vendor_data=mapping.vendor_shape("aggTrade", ()),
    ),
    _trades(
        market="spot", name="trade", specs="trade", event_type=SpotTrade, writer=mapping.spot_trade,
        vendor_data=mapping.vendor_shape("trade", ()),
    ),
    _trades(
        market="spot", name="blockTrade", specs="blockTrade", event_type=BlockTrade, writer=mapping.spot_trade,
        vendor_data=mapping.vendor_shape("blockTrade", ()), topic="block-trades", numbering=RisingSequence, sparse=True,
    ),
    _closed_candles(market="spot", specs=_SPOT_KLINES, updates=_any_candles(market="spot", specs=_SPOT_KLINES)),
    _quotes(
        market="spot", event_type=quotes.SpotQuote, writer=quotes.spot_quote, constants=lambda _: quotes.SPOT_CONSTANTS,
    ),
    _depths(
        market="spot", name="depth", label="depth_update",
        specs="depth(@100ms)?", event_type=books.SpotDepth, writer=books.spot_depth, topic="depth",
        constants=lambda _: books.SPOT_DEPTH_CONSTANTS,
    ),
    _books(
        market="spot", specs="depth(5|10|20)(@100ms)?", event_type=books.SpotBook, writer=books.spot_book,
        constants=books.spot_book_constants,
    ),
    _spot_tickers(
        name="miniTicker", specs="miniTicker", all_market="!miniTicker@arr", event_type=tickers.SpotMiniTicker,
        writer=tickers.spot_mini_ticker, constants=lambda _: tickers.SPOT_MINI_CONSTANTS,
    ),
    _spot_tickers(
        name="ticker", specs="ticker", event_type=tickers.SpotTicker, writer=tickers.spot_ticker,
        constants=lambda _: tickers.SPOT_CONSTANTS,
    ),
    _spot_tickers(
        name="windowTicker", specs=rf"ticker_({tickers.WINDOWS})", all_market=rf"!ticker_({tickers.WINDOWS})@arr",
        event_type=tickers.WindowTicker, writer=tickers.window_ticker, constants=tickers.window_constants,
    ),
    StreamKind(
        market="spot", name="avgPrice", label="average_price",
        specs="avgPrice", event_type=prices.AveragePrice, writer=prices.average_price,
        original=prices.original_average_price, schema_name="average_price_v2", topic="average-prices", numbering=RisingSequence,
    ),
    StreamKind(
        market="spot", name="referencePrice", specs="referencePrice", event_type=prices.ReferencePrice,
        writer=prices.reference_price, original=prices.original_reference_price, schema_name="reference_price_v2",
        topic="reference-prices", numbering=RisingSequence,
    ),
    _trades(
        market="usdm", name="aggTrade", label="aggregate_trade",
        specs="aggTrade", event_type=FuturesAggTrade, writer=mapping.futures_agg_trade,
        vendor_data=mapping.vendor_shape("aggTrade", ("nq", "st")),
    ),
    _trades(
        market="usdm", name="trade", specs="trade", event_type=FuturesTrade, writer=mapping.futures_trade,
        vendor_data=mapping.vendor_shape("trade", ("X", "st")), skip=mapping.no_trade,
    ),
    _closed_candles(market="usdm", specs=_USDM_KLINES, updates=_any_candles(market="usdm", specs=_USDM_KLINES)),
    _quotes(
        market="usdm", all_market="!bookTicker", event_type=quotes.FuturesQuote, writer=quotes.futures_quote,
        vendor_data=vendor_shape("bookTicker"), skip=other_market,
    ),
    _futures_depths(name="depth", label="depth_update", specs="depth(@(0|100|500)ms)?", topic="depth"),
    _futures_depths(name="rpiDepth", label="rpi_depth_update", specs="rpiDepth@500ms", topic="rpi-depth"),
    _books(
        market="usdm", specs="depth(5|10|20)(@(100|500)ms)?", event_type=books.FuturesBook, writer=books.futures_book,
        constants=books.book_constants, vendor_data=vendor_shape("depthUpdate"),
    ),
    _futures_tickers(
        name="miniTicker", specs="miniTicker", all_market="!miniTicker@arr", event_type=tickers.FuturesMiniTicker,
        writer=tickers.futures_mini_ticker, constants=lambda _: tickers.FUTURES_MINI_CONSTANTS,
        vendor_data=vendor_shape("24hrMiniTicker"),
    ),
    _futures_tickers(
        name="ticker", specs="ticker", all_market="!ticker@arr", event_type=tickers.FuturesTicker, writer=tickers.futures_ticker,
        constants=lambda _: tickers.FUTURES_CONSTANTS, vendor_data=vendor_shape("24hrTicker"),
    ),
    StreamKind(
        market="usdm", name="markPrice", specs="markPrice(@1s)?", all_market="!markPrice@arr(@1s)?", event_type=prices.MarkPrice,
        writer=prices.mark_price, original=prices.original_mark_price, schema_name="mark_price_v2", topic="mark-prices",
        numbering=RisingSequence, vendor_data=vendor_shape("markPriceUpdate"), skip=other_market,
    ),
    StreamKind(
        market="usdm", name="forceOrder", label="liquidation",
        specs="forceOrder", all_market="!forceOrder@arr", event_type=liquidations.Liquidation,
        writer=liquidations.liquidation, original=liquidations.original_message, schema_name="liquidation_v2",
        topic="liquidations", numbering=RisingTimes, vendor_data=vendor_shape("forceOrder"), skip=liquidations.other_market,
        sparse=True,
    ),
)  # fmt: skip


def kind_of(market: str, spec: str) -> StreamKind | None:
    """The kind of a symbol's stream; None for one that we do not decode."""
    return next((kind for kind in KINDS if kind.market == market and kind.has(spec)), None)


def all_market_kind(market: str, name: str) -> StreamKind | None:
    """The kind of an all-market stream; None for one that we do not decode."""
    return next((kind for kind in KINDS if kind.market == market and kind.has_all_market(name)), None)
