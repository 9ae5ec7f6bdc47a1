"""
The shapes of other deployments, each on a real Kafka: its topics, keys and payloads field by field, and its retention.

What the exchange sent is the oracle: the frames are written down as they leave the simulated market, and what must lie in the
topics is worked out from them here.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, and exported without saying so
    AdminClient,
    ConfigResource,
    ResourceType,
)

from integration.support import Rig, RunningClient, wait_until
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from k2.simulator.market import Frame
from kit.ports import free_port
from kit.verify import ReadRecord, read_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

DAY_MS = 86_400_000
ENOUGH_FRAMES = 400
Event = dict[str, Any]


class WrittenDown(GeneratedMarket):
    """A generated market that remembers the frames that it gave out."""

    def __init__(self, options: GeneratedOptions) -> None:
        super().__init__(options)
        self.frames: list[Frame] = []

    def pull(self, now_s: float, wanted: Collection[str], limit: int) -> list[Frame]:
        frames = super().pull(now_s, wanted, limit)
        self.frames += frames
        return frames


class Profile(NamedTuple):
    """A profile, its document's own variables, the market that it needs, its topics' retention in ms, and its streams."""

    name: str
    environment: dict[str, str]
    options: GeneratedOptions
    topics: dict[str, int]
    specs: tuple[str, ...] = ()
    closed_candles: int = 0


WEEK, MONTH = 7 * DAY_MS, 30 * DAY_MS
PROFILES = {
    "candles": Profile(
        "candles",
        {},
        GeneratedOptions(symbols=("BTCUSDT",), rate=200.0, event_rate=0.2, fills=(1,)),
        {"binance_kline": WEEK},
        ("kline_30m",),
        3,
    ),
    "events": Profile(
        "events",
        {
            "BINANCE_SYMBOLS": "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT",
            "BINANCE_STREAM_TYPES": "aggTrade,depth@100ms,trade,kline_1m",
            "KAFKA_TOPIC_RAW_EVENTS": "binance-raw-events",
            "KAFKA_TOPIC_TRADES": "binance-trades",
            "KAFKA_TOPIC_DEPTH": "binance-depth",
            "RECONNECT_INTERVAL": "5",
            "MAX_RETRIES": "5",
            "BATCH_SIZE": "100",
            "BATCH_TIMEOUT_SECONDS": "5",
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
        },
        GeneratedOptions(symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT"), rate=200.0),
        {"binance-raw-events": WEEK, "binance-trades": MONTH, "binance-depth": WEEK},
        ("aggTrade", "trade", "depth@100ms", "kline_1m"),
    ),
    "envelopes": Profile(
        "envelopes",
        {
            "BINANCE_STREAMS": "btcusdt@trade,ethusdt@trade,bnbusdt@trade,btcusdt@kline_1m,ethusdt@kline_1m,btcusdt@ticker",
            "PING_INTERVAL_SECONDS": "180",
            "RECONNECT_MAX_DELAY_SECONDS": "60",
            "WS_CONNECTION_TIMEOUT": "10",
            "KAFKA_COMPRESSION": "snappy",
            "KAFKA_ACKS": "1",
            "TOPIC_RAW_TRADES": "raw_trades",
            "TOPIC_RAW_KLINES": "raw_klines",
            "TOPIC_RAW_TICKERS": "raw_tickers",
            "BATCH_SIZE": "100",
            "BATCH_TIMEOUT_MS": "100",
            "BATCH_CHECK_INTERVAL_MS": "10",
            "LOG_LEVEL": "INFO",
        },
        GeneratedOptions(rate=200.0),
        {"raw_trades": WEEK, "raw_klines": WEEK, "raw_tickers": WEEK},
    ),
    "futures": Profile(
        "futures",
        {"DB_URL": "jdbc:postgresql://db/x", "DB_USER": "user", "DB_PASSWORD": "not-to-be-seen"},
        GeneratedOptions(symbols=("BTCUSDT", "DOTUSDT", "AVAXUSDT"), venue="usdm", rate=200.0),
        {"kline_data": WEEK, "order_book_data": WEEK},
        ("kline_1m", "bookTicker"),
    ),
}
BOOTSTRAP = {"events": "KAFKA_BOOTSTRAP_SERVERS", "envelopes": "KAFKA_BOOTSTRAP_SERVERS", "futures": "BOOTSTRAP_SERVER"}


class Run(NamedTuple):
    """A client that ran under a profile and ended: what was sent to it, what its topics hold, and how it ended."""

    profile: Profile
    frames: list[Frame]
    records: dict[str, list[ReadRecord]]
    retention_ms: dict[str, int]
    client: RunningClient
    sheet: dict[str, Any]


@pytest.fixture(scope="module")
def runs(kafka: KafkaBroker, registry: SchemaRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Run]]:
    """Each profile once, when it is asked for."""
    with ExitStack() as stack:
        yield _Runs(kafka, registry, tmp_path_factory, stack)


class _Runs(dict[str, Run]):
    def __init__(
        self, kafka: KafkaBroker, registry: SchemaRegistry, directories: pytest.TempPathFactory, stack: ExitStack
    ) -> None:
        super().__init__()
        self._kafka, self._registry, self._directories, self._stack = kafka, registry, directories, stack

    def __missing__(self, name: str) -> Run:
        rig = self._stack.enter_context(Rig(self._kafka, self._registry, self._directories.mktemp(name)))
        run = self[name] = _run(PROFILES[name], rig)
        return run


def _run(profile: Profile, rig: Rig) -> Run:
    market = WrittenDown(profile.options)
    exchange, port = rig.exchange(market), free_port()
    variable = BOOTSTRAP.get(profile.name)
    bootstrap = [] if variable else ["--kafka-bootstrap", rig.bootstrap]
    environment = {**profile.environment, **({variable: rig.bootstrap} if variable else {})}
    client = rig.start(
        ["--profile", profile.name, "--ws-url", exchange.ws_url, *bootstrap, "--http-port", port, "--dead-letter-dir", "dlq"],
        port,
        environment=environment,
    )
    wait_until(lambda: _is_enough(market, profile), "enough frames", 40)
    sheet = client.stopped()
    records = {topic: read_topic(rig.bootstrap, "", topic, raw=True) for topic in profile.topics}
    retention_ms = {topic: _retention_ms(rig.bootstrap, topic) for topic in profile.topics}
    return Run(profile, market.frames[: sheet["received"]], records, retention_ms, client, sheet)


def _is_enough(market: WrittenDown, profile: Profile) -> bool:
    frames = list(market.frames)
    closed = sum(b'"x":true' in frame.combined for frame in frames)
    all_spoke = {frame.stream for frame in frames} >= streams_of(profile)
    return len(frames) >= ENOUGH_FRAMES and all_spoke and closed >= profile.closed_candles


def streams_of(profile: Profile) -> set[str]:
    """What the exchange must be asked for."""
    symbols = (symbol.lower() for symbol in profile.options.symbols)
    listed = profile.environment.get("BINANCE_STREAMS")
    return set(listed.split(",")) if listed else {f"{symbol}@{spec}" for symbol in symbols for spec in profile.specs}


def _retention_ms(bootstrap: str, topic: str) -> int:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    [future] = admin.describe_configs([resource]).values()
    return int(future.result()["retention.ms"].value)


@pytest.fixture(params=PROFILES)
def run(request: pytest.FixtureRequest, runs: Mapping[str, Run]) -> Run:
    return runs[request.param]


def events_of(run: Run, *specs: str) -> dict[str, list[tuple[str, Event]]]:
    """The events that were sent on streams of these specs, by symbol, each with its spec, in their order."""
    found: dict[str, list[tuple[str, Event]]] = defaultdict(list)
    for frame in run.frames:
        symbol, _, spec = frame.stream.partition("@")
        if spec in specs or not specs:
            found[symbol.upper()].append((spec, json.loads(frame.raw)))
    return found


def values_by_key(records: list[ReadRecord]) -> dict[str | None, list[Event]]:
    found: dict[str | None, list[Event]] = defaultdict(list)
    for record in records:
        assert record.payload is not None
        found[record.key].append(json.loads(record.payload))
    return found


def test_the_books_balance(run: Run) -> None:
    """Whatever the shape: every event is accounted for, every record delivered, and none became a dead letter."""
    sheet = run.sheet
    assert sheet["balanced"], sheet
    assert (sheet["dead_lettered"], sheet["dead_lettered_records"], sheet["in_flight"]) == (0, 0, 0), run.client.output[-3000:]
    assert sheet["received"] == sheet["published"] + sheet["ignored"]
    assert sheet["records"] == sheet["delivered"] == sum(map(len, run.records.values()))
    assert not run.client.dead_letter_lines


def test_exactly_the_documents_streams_are_asked_for(run: Run) -> None:
    """No other, and none is missing."""
    assert {frame.stream for frame in run.frames} == streams_of(run.profile)


def test_the_broker_keeps_each_topic_as_long_as_the_document_says(run: Run) -> None:
    """The retention is read back from the broker."""
    assert run.retention_ms == run.profile.topics


def test_candles_are_thirteen_keys(runs: Mapping[str, Run]) -> None:
    """One record for each closed candle of 30 minutes and none for those that still form, in the document's order and types."""
    run = runs["candles"]
    closed = [event["k"] for _, event in events_of(run)["BTCUSDT"] if event["k"]["x"]]
    found = values_by_key(run.records["binance_kline"])["BTCUSDT"]
    assert len(closed) >= 3
    assert [value["open_time"] for value in found] == [candle["t"] for candle in closed]
    for value, candle in zip(found, closed, strict=True):
        ingested_at = datetime.fromisoformat(value.pop("ingested_at"))
        assert ingested_at.tzinfo == UTC
        assert list(value.items()) == [
            ("open_time", candle["t"]),
            ("open", float(candle["o"])),
            ("high", float(candle["h"])),
            ("low", float(candle["l"])),
            ("close", float(candle["c"])),
            ("volume", float(candle["v"])),
            ("quote_asset_volume", float(candle["q"])),
            ("number_of_trades", candle["n"]),
            ("taker_buy_base_asset_volume", float(candle["V"])),
            ("taker_buy_quote_asset_volume", float(candle["Q"])),
            ("symbol", "BTCUSDT"),
            ("interval", "30m"),
        ]
        assert value["open_time"] % 1_800_000 == 0
    assert run.sheet["ignored_by_reason"] == {"open_candle": run.sheet["received"] - len(closed)}


EVENT_TYPES = {"aggTrade": "aggregate_trade", "trade": "trade", "depth@100ms": "depth_update", "kline_1m": "kline"}


@pytest.mark.parametrize(
    ("topic", "specs"),
    [
        ("binance-raw-events", ("aggTrade", "trade", "depth@100ms", "kline_1m")),
        ("binance-trades", ("aggTrade", "trade")),
        ("binance-depth", ("depth@100ms",)),
    ],
)
def test_events_keep_every_key_of_the_exchange(runs: Mapping[str, Run], topic: str, specs: tuple[str, ...]) -> None:
    """The raw topic holds all of them, the others theirs, under the symbol and in its order; three keys are added."""
    run = runs["events"]
    sent, found = events_of(run, *specs), values_by_key(run.records[topic])
    assert set(found) == set(run.profile.options.symbols)
    for symbol, events in sent.items():
        assert [
            {key: value for key, value in record.items() if key not in {"ingestion_timestamp", "source", "event_type"}}
            for record in found[symbol]
        ] == [event for _, event in events]
        assert [record["event_type"] for record in found[symbol]] == [EVENT_TYPES[spec] for spec, _ in events]
        for record in found[symbol]:
            assert list(record)[-3:] == ["ingestion_timestamp", "source", "event_type"]
            assert record["source"] == "binance_websocket"
            assert 0 <= record["ingestion_timestamp"] - record["E"] < 60_000


ENVELOPED = {"raw_trades": ("trade",), "raw_klines": ("kline_1m",), "raw_tickers": ("ticker",)}


@pytest.mark.parametrize("topic", ENVELOPED)
def test_envelopes_hold_the_original(runs: Mapping[str, Run], topic: str) -> None:
    """Seven keys around the exchange's own message, by topic and symbol."""
    run = runs["envelopes"]
    sent, found = events_of(run, *ENVELOPED[topic]), values_by_key(run.records[topic])
    assert set(found) == set(sent)
    for symbol, events in sent.items():
        assert [record["original_data"] for record in found[symbol]] == [event for _, event in events]
        for record, (spec, _) in zip(found[symbol], events, strict=True):
            assert isinstance(record["ingestion_timestamp"], int)
            assert {name: record[name] for name in record.keys() - {"original_data", "ingestion_timestamp"}} == {
                "source": "binance",
                "data_version": "v1",
                "symbol": symbol,
                "stream_type": spec.partition("_")[0],
                "topic": topic,
            }
    assert {frame.stream for frame in run.frames} == set(run.profile.environment["BINANCE_STREAMS"].split(","))


def test_futures_candles_are_flat(runs: Mapping[str, Run]) -> None:
    """Eleven keys, numbers as the exchange wrote them, each update of the candle one record."""
    run = runs["futures"]
    sent, found = events_of(run, "kline_1m"), values_by_key(run.records["kline_data"])
    assert set(found) == set(run.profile.options.symbols)
    for symbol, events in sent.items():
        assert found[symbol] == [
            {
                "symbol": symbol,
                "interval": "1m",
                "open": k["o"],
                "high": k["h"],
                "close": k["c"],
                "low": k["l"],
                "klineClosed": k["x"],
                "volume": k["v"],
                "numTrades": k["n"],
                "startTime": k["t"],
                "closeTime": k["T"],
            }
            for k in (event["k"] for _, event in events)
        ]


def test_futures_quotes_are_flat(runs: Mapping[str, Run]) -> None:
    """Eight keys with both of the exchange's times."""
    run = runs["futures"]
    sent, found = events_of(run, "bookTicker"), values_by_key(run.records["order_book_data"])
    for symbol, events in sent.items():
        assert found[symbol] == [
            {
                "update_id": event["u"],
                "symbol": symbol,
                "bestbidprice": event["b"],
                "bestbidqty": event["B"],
                "bestaskprice": event["a"],
                "bestaskqty": event["A"],
                "eventtime": event["E"],
                "transactiontime": event["T"],
            }
            for _, event in events
        ]


def test_variables_without_a_meaning_are_said_to_have_none(runs: Mapping[str, Run]) -> None:
    """They are told once, by name only: their values may be secrets."""
    output = runs["futures"].client.output
    told = [event["detail"] for event in runs["futures"].client.events_named("Settings")]
    assert Counter(name for detail in told for name in ("DB_URL", "DB_USER", "DB_PASSWORD") if name in detail) == Counter(
        ["DB_URL", "DB_USER", "DB_PASSWORD"]
    )
    assert "not-to-be-seen" not in output


def test_acks_that_promise_less_are_said_to(runs: Mapping[str, Run]) -> None:
    """The document's KAFKA_ACKS=1 is obeyed, and the log says what is given up."""
    told = [event["detail"] for event in runs["envelopes"].client.events_named("Settings")]
    assert any("KAFKA_ACKS" in detail for detail in told)
