"""Which topics there are, what goes into each, and what does not belong there."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.exchanges.binance.names import Stream, stream_of, wanted_streams
from k2.ingestion.option_values import Shard
from k2.ingestion.topic_plan import TopicPlan, belongs, clashes, default_topics, planned_specs, sharded, sibling_topic

SYMBOLS = ("BTCUSDT", "ETHUSDT", "牛来USDT")


def plans(*wishes: str, raw: tuple[str, ...] = (), market: str = "spot", prefix: str = "market.crypto.trades") -> list[TopicPlan]:
    return list(default_topics(market, wishes, raw, prefix=prefix, partitions=3, retention_ms=1_000))


@pytest.mark.parametrize(
    ("prefix", "sort", "topic"),
    [
        ("market.crypto.trades", "trades", "market.crypto.trades.binance"),
        ("market.crypto.trades", "quotes", "market.crypto.quotes.binance"),
        ("market.futures.trades", "mark-prices", "market.futures.mark-prices.binance"),
        ("acme", "trades", "acme.binance"),
        ("acme", "klines", "acme.klines.binance"),
        ("acme.mytrades", "klines", "acme.mytrades.klines.binance"),
    ],
)
def test_each_sort_has_its_topic(prefix: str, sort: str, topic: str) -> None:
    """Beside the trades' where the prefix names those, else behind the prefix."""
    assert sibling_topic(prefix, sort) == topic


def test_streams_of_one_sort_share_a_topic() -> None:
    """Candles of all intervals, tickers of all windows; frames that are captured have one of their own."""
    found = plans("aggTrade", "kline_1m", "kline_1h@+08:00", "btcusdt@ticker", "!miniTicker@arr", raw=("trade", "btcusdt@odd"))
    assert [(plan.name.split(".")[2], plan.streams, plan.layout, plan.schema_name) for plan in found] == [
        ("trades", ("aggTrade",), "avro", "trade_v2"),
        ("klines", ("kline_1m", "kline_1h@+08:00"), "avro", "kline_v2"),
        ("tickers", ("btcusdt@ticker", "!miniTicker@arr"), "avro", "ticker_v2"),
        ("raw", ("trade", "btcusdt@odd"), "raw", "raw_v2"),
    ]


def test_a_topic_takes_what_its_patterns_name() -> None:
    """Specs of every symbol, or one stream by its name."""
    plan = TopicPlan(name="t", streams=("kline_*", "btcusdt@trade"))
    names = ("btcusdt@kline_1m", "ethusdt@kline_1M@+08:00", "btcusdt@trade", "ethusdt@trade", "btcusdt@aggTrade")
    assert [plan.takes(stream_of("spot", name)) for name in names] == [True, True, True, False, False]
    assert planned_specs([stream_of("spot", name) for name in names], plan) == ["kline_1m", "kline_1M@+08:00", "trade"]


@pytest.mark.parametrize(
    ("identity", "wishes", "market", "is_ours"),
    [
        ("binance.spot.aggTrade.BTCUSDT.1", ("aggTrade",), "spot", True),
        ("binance.spot.trade.BTCUSDT.1", ("aggTrade",), "spot", False),
        ("binance.usdm.aggTrade.BTCUSDT.1", ("aggTrade",), "spot", False),
        ("kraken.spot.aggTrade.BTCUSDT.1", ("aggTrade",), "spot", False),
        ("binance.spot.kline_1h.BTCUSDT.1", ("kline_1m",), "spot", True),
        ("binance.spot.ticker_1h.BTCUSDT.1", ("!miniTicker@arr",), "spot", True),
        ("binance.spot.bookTicker.BTCUSDT.1", ("kline_1m",), "spot", False),
        ("binance.usdm.markPrice@1s.BTCUSDT.1", ("markPrice",), "usdm", True),
        ("binance.spot.raw.BTCUSDT.0f", ("kline_1m",), "spot", False),
        ("nonsense", ("kline_1m",), "spot", False),
    ],
)
def test_one_market_and_one_sort_belong_into_a_topic(identity: str, wishes: tuple[str, ...], market: str, is_ours: bool) -> None:
    """Of trades one stream only: aggregates and single trades tell of the same trades twice."""
    [plan] = plans(*wishes, market=market)
    assert belongs(identity, market, plan, planned_specs(streams_of(*wishes, market=market), plan)) is is_ours


def test_captured_frames_belong_together() -> None:
    """Whatever stream they are of."""
    [plan] = plans(raw=("trade",))
    assert belongs("binance.spot.raw.BTCUSDT.0f", "spot", plan, ())
    assert not belongs("binance.spot.trade.BTCUSDT.1", "spot", plan, ())


def streams_of(*wishes: str, market: str = "spot") -> tuple[Stream, ...]:
    return wanted_streams(market, wishes, SYMBOLS)


@pytest.mark.parametrize(
    ("market", "wishes", "words"),
    [
        ("spot", ("aggTrade", "trade"), ("aggTrade", "trade")),
        ("spot", ("miniTicker", "!miniTicker@arr"), ("miniTicker", "!miniTicker@arr")),
        ("spot", ("btcusdt@ticker_1h", "!ticker_1h@arr"), ("ticker_1h", "!ticker_1h@arr")),
        ("spot", ("depth", "depth@100ms"), ("depth", "depth@100ms")),
        ("spot", ("depth5@100ms", "depth5"), ("depth5", "depth5@100ms")),
        ("usdm", ("!markPrice@arr", "!markPrice@arr@1s"), ("!markPrice@arr", "!markPrice@arr@1s")),
        ("usdm", ("markPrice@1s", "!markPrice@arr"), ("markPrice@1s", "!markPrice@arr")),
        ("usdm", ("bookTicker", "!bookTicker"), ("bookTicker", "!bookTicker")),
        ("spot", ("miniTicker", "ticker", "!ticker_1h@arr", "ticker_4h"), ()),
        ("spot", ("aggTrade", "kline_1m", "kline_5m", "kline_1m@+08:00", "depth", "depth5", "depth10"), ()),
    ],
    ids=str,
)
def test_what_would_be_told_twice_is_refused(market: str, wishes: tuple[str, ...], words: tuple[str, ...]) -> None:
    """At another speed, of all symbols and of each, aggregated and one by one: one line, which names both."""
    found = clashes(streams_of(*wishes, market=market), plans(*wishes, market=market))
    assert bool(found) == bool(words)
    assert len(found) <= 1
    assert all(word in found[0] for word in words)


def test_json_may_tell_of_both() -> None:
    """Its records say which stream they are of, and the documents want it so."""
    plan = TopicPlan(name="trades", streams=("aggTrade", "trade"), layout="event")
    assert clashes(streams_of("aggTrade", "trade"), [plan]) == []


def test_records_of_two_schemas_cannot_share_a_topic() -> None:
    """A subject has one schema."""
    plan = TopicPlan(name="all", streams=("*",), schema_name="trade_v2")
    assert "several schemas" in clashes(streams_of("aggTrade", "kline_1m"), [plan])[0]


def names_of(streams: tuple[Stream, ...]) -> set[str]:
    return {stream.name for stream in streams}


@given(st.integers(1, 5), st.lists(st.from_regex(r"[A-Z]{2,6}USDT", fullmatch=True), min_size=1, max_size=20, unique=True))
def test_parts_are_the_whole(count: int, symbols: list[str]) -> None:
    """Each stream is in exactly one part; all-market streams are in the first."""
    streams = wanted_streams("spot", ("trade", "bookTicker", "!miniTicker@arr"), symbols)
    parts = [names_of(sharded(streams, Shard(index, count))) for index in range(count)]
    assert set().union(*parts) == names_of(streams)
    assert all(not one & other for one, other in itertools.combinations(parts, 2))
    assert "!miniTicker@arr" in parts[0]
