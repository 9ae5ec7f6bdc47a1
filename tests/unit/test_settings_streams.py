"""Claims about what is streamed: which names are understood, which are refused, and where their records go by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.described import describe
from k2.ingestion.exchanges.binance.kinds import KINDS
from k2.ingestion.exchanges.binance.names import kind_of_wish
from k2.ingestion.settings import Settings, load_settings
from k2.ingestion.topic_plan import RAW
from k2.ingestion.wishes import known_all_market_names, known_specs

MARKETS = ("spot", "usdm")


def load(*argv: str, **environ: str) -> Settings:
    return load_settings(argv, environ)


def faults_of(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(argv, environ or {})
    return caught.value.faults


@pytest.mark.parametrize(
    ("argv", "streams"),
    [
        pytest.param([], ("aggTrade",), id="default"),
        pytest.param(["--streams", "trade,kline_1m"], ("trade", "kline_1m"), id="commas"),
        pytest.param(["--streams", "depth@100ms", "kline_1d@+08:00"], ("depth@100ms", "kline_1d@+08:00"), id="speed-and-zone"),
        pytest.param(["--streams", "BTCUSDT@trade", "btcusdt@trade"], ("btcusdt@trade",), id="name-of-a-stream"),
        pytest.param(["--streams", "!miniTicker@arr"], ("!miniTicker@arr",), id="all-market"),
        pytest.param(["--stream", "AGGTRADE"], ("aggTrade",), id="former-flag-and-any-case"),
        pytest.param(["--streams", "kline_1M"], ("kline_1M",), id="month-and-not-minute"),
        pytest.param(["--streams", "这是测试币456@trade"], ("这是测试币456@trade",), id="chinese"),
        pytest.param(["--streams", "off", "--raw-streams", "trade"], (), id="captures-only"),
    ],
)
def test_streams_are_read_as_people_write_them(argv: list[str], streams: tuple[str, ...]) -> None:
    """Kinds and names mix, spaces and commas do, and each comes once, written as the exchange writes it."""
    assert load(*argv).feed.streams == streams


@pytest.mark.parametrize(
    ("argv", "environ", "told"),
    [
        pytest.param(["--streams", "kline_7m"], {}, "--streams: spot has no stream 'kline_7m'; did you mean kline_", id="close"),
        pytest.param(["--streams", "xyz"], {}, "'xyz'; it has aggTrade, trade, ", id="nothing-close"),
        pytest.param(["--streams", "KLINE_1M"], {}, "did you mean kline_1m or kline_1M or", id="minute-or-month"),
        pytest.param(["--streams", "btcusdt@trad"], {}, "'btcusdt@trad'; did you mean trade", id="in-a-name"),
        pytest.param([], {"K2_STREAM": "tickr"}, "K2_STREAM (--streams): spot has no stream 'tickr'", id="former-variable"),
        pytest.param(
            ["--market", "usdm", "--streams", "kline_1s"],
            {},
            "usdm has no stream 'kline_1s'; that is one of spot (--market)",
            id="of-the-other-market",
        ),
        pytest.param(["--streams", "!tickr@arr"], {}, "spot has no stream '!tickr@arr'; ", id="all-market"),
        pytest.param(["--streams", "trade", "aggTrade"], {}, "--streams: topic market.crypto.trades.binance", id="clash"),
    ],
)
def test_a_stream_that_cannot_be_had_is_one_fault(argv: list[str], environ: dict[str, str], told: str) -> None:
    """The fault names the option, the word, and what comes close to it."""
    (fault,) = faults_of(argv, environ)
    assert told in fault
    assert fault.isprintable()


@pytest.mark.parametrize("market", MARKETS)
def test_every_known_name_is_one_that_the_table_has(market: str) -> None:
    """What a fault proposes can be had, and every kind of the table is among it."""
    names = (*known_specs(market), *known_all_market_names(market))
    kinds = [kind_of_wish(market, name) for name in names]
    assert None not in kinds
    assert {kind.name for kind in kinds if kind} == {kind.name for kind in KINDS if kind.market == market}


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        (["--streams", "trade", "--stream", "aggTrade"], {}),
        ([], {"K2_STREAMS": "trade", "K2_STREAM": "aggTrade"}),
    ],
)
def test_an_option_under_both_of_its_names_is_refused(argv: list[str], environ: dict[str, str]) -> None:
    """Nobody could tell which of the two was meant."""
    (fault,) = faults_of(argv, environ)
    assert "mean the same: give one of them" in fault


def test_a_former_flag_beats_the_variable() -> None:
    """The older name has the rank of the newer."""
    settings = load("--stream", "trade", K2_STREAMS="aggTrade")
    assert (settings.feed.streams, str(settings.sources["feed.streams"])) == (("trade",), "flag --stream")


@pytest.mark.parametrize("name", ["contractInfo", "!contractInfo", "btcusdt@brandNew@250ms", "btcusdt@brandNew@Fast", "aggTrade"])
def test_any_name_can_be_captured(name: str) -> None:
    """A stream that the client does not know can still be kept as it comes."""
    settings = load("--raw-streams", name)
    assert settings.feed.raw_streams == (name,)
    assert [plan.layout for plan in settings.topics if plan.name == "market.crypto.raw.binance"] == [RAW]


@pytest.mark.parametrize(
    ("argv", "topics"),
    [
        (["--streams", "trade"], ["market.crypto.trades.binance"]),
        (
            ["--streams", "kline_1m", "aggTrade", "kline_1h"],
            ["market.crypto.klines.binance", "market.crypto.trades.binance"],
        ),
        (["--streams", "kline_1m", "--market", "usdm"], ["market.futures.klines.binance"]),
        (["--streams", "aggTrade", "kline_1m", "--topic-prefix", "a.trades"], ["a.trades.binance", "a.klines.binance"]),
        (["--streams", "aggTrade", "kline_1m", "--topic-prefix", "a"], ["a.binance", "a.klines.binance"]),
    ],
)
def test_each_sort_of_record_has_a_topic(argv: list[str], topics: list[str]) -> None:
    """Topics come in the order of the streams, named after market and prefix, with partitions and retention of the settings."""
    settings = load(*argv, "--partitions", "3", "--retention-ms", "-1")
    assert [plan.name for plan in settings.topics] == topics
    assert {(plan.partitions, plan.retention_ms) for plan in settings.topics} == {(3, -1)}
    assert (settings.topics[0].name, settings.topics[0].subject) == (topics[0], f"{topics[0]}-value")


@pytest.mark.parametrize(
    ("words", "symbols", "quote_assets"),
    [
        (["ALL:USDT"], (), ("USDT",)),
        (["all:usdt", "BTCEUR,ALL:BTC"], ("BTCEUR",), ("USDT", "BTC")),
        (["BTCUSDT"], ("BTCUSDT",), ()),
        (["ALLUSDT"], ("ALLUSDT",), ()),
    ],
)
def test_all_symbols_of_a_quote_asset_can_be_meant(
    words: list[str], symbols: tuple[str, ...], quote_assets: tuple[str, ...]
) -> None:
    """`ALL:` words stand beside symbols, and the table shows them with these."""
    settings = load("--symbols", *words)
    assert (settings.feed.symbols, settings.feed.quote_assets) == (symbols, quote_assets)
    shown = next(line.split()[1] for line in describe(settings).splitlines() if line.startswith("--symbols "))
    assert sorted(shown.split(",")) == sorted([*symbols, *(f"ALL:{asset}" for asset in quote_assets)])


def test_a_shard_of_all_symbols_is_picked_at_the_start() -> None:
    """Who named a quote asset gets the symbols of the exchange first, and then the part; explicit ones wait for that."""
    settings = load("--symbols", "ALL:USDT", "B", "A", "--shard", "1/2")
    assert (settings.feed.symbols, settings.feed.shard is not None) == (("B", "A"), True)


def test_streams_by_name_need_no_symbols() -> None:
    """A shard that has none of the default symbols is right where streams are named in full."""
    settings = load("--streams", "a@trade", "b@trade", "c@trade", "d@trade", "--shard", "3/4")
    assert settings.feed.streams == ("a@trade", "b@trade", "c@trade", "d@trade")
