"""Claims about the profiles: each stands for a client whose `.env` file works as it is, and the strongest word counts."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from k2.ingestion.described import describe
from k2.ingestion.options import BY_KEY
from k2.ingestion.profiles import load_profile, profile_names
from k2.ingestion.settings import Settings, load_settings
from unit.profile_files import ENVIRONMENTS, EVENTS_ENV, HEAD, faults_of, load, variables, written

DAY_MS = 86_400_000
SIX_STREAMS = ("btcusdt@trade", "ethusdt@trade", "bnbusdt@trade", "btcusdt@kline_1m", "ethusdt@kline_1m", "btcusdt@ticker")

# What the documents of the clients say, by option.
EXPECTED: dict[str, dict[str, Any]] = {
    "trades": {"kafka.batch_size": 100, "kafka.batch_timeout_s": 1.0, "feed.streams": ("aggTrade",)},
    "candles": {
        "feed.symbols": ("BTCUSDT",), "feed.streams": ("kline_30m",), "feed.candles": "closed", "feed.market": "spot",
        "feed.ws_url": "wss://stream.binance.com/stream", "feed.heartbeat_interval_s": 20.0, "feed.pong_timeout_s": 10.0,
        "feed.reconnect_delay_min_s": 2.0, "feed.give_up_after": 0, "kafka.bootstrap": "localhost:9092", "kafka.acks": "all",
    },
    "events": {
        "feed.symbols": ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT"),
        "feed.streams": ("aggTrade", "depth@100ms", "trade", "kline_1m"), "feed.candles": "updates",
        "feed.reconnect_delay_min_s": 5.0, "feed.reconnect_delay_max_s": 300.0, "feed.give_up_after": 5,
        "kafka.bootstrap": "localhost:9092", "kafka.batch_size": 100, "kafka.batch_timeout_s": 5.0, "kafka.acks": "all",
        "kafka.compression": "snappy", "logs.level": "INFO", "logs.format": "json", "metrics_log_interval_s": 30.0,
    },
    "envelopes": {
        "feed.streams": SIX_STREAMS, "feed.candles": "updates", "feed.ws_url": "wss://stream.binance.com:9443/stream",
        "feed.heartbeat_interval_s": 180.0, "feed.reconnect_delay_min_s": 1.0, "feed.reconnect_delay_max_s": 60.0,
        "feed.connect_timeout_s": 10.0, "kafka.bootstrap": "localhost:9092", "kafka.compression": "snappy", "kafka.acks": "1",
        "kafka.batch_size": 100, "kafka.batch_timeout_s": 0.1, "logs.level": "INFO",
    },
    "futures": {
        "feed.market": "usdm", "feed.streams": ("kline_1m", "bookTicker"), "feed.ws_url": "wss://fstream.binance.com",
        "feed.reconnect_delay_min_s": 5.0, "feed.reconnect_delay_max_s": 5.0, "feed.candles": "updates",
        "kafka.bootstrap": "pkc-12345.eu-west-1.aws.confluent.cloud:9092", "kafka.security_protocol": "SASL_SSL",
        "kafka.sasl_mechanism": "PLAIN", "kafka.sasl_username": "c4n4ry-key",
    },
}  # fmt: skip

# Name, layout and retention of each topic.
TOPICS = {
    "trades": [("market.crypto.trades.binance", "avro", 7 * DAY_MS)],
    "candles": [("binance_kline", "candle", 7 * DAY_MS)],
    "events": [
        ("binance-raw-events", "event", 7 * DAY_MS),
        ("binance-trades", "event", 30 * DAY_MS),
        ("binance-depth", "event", 7 * DAY_MS),
    ],
    "envelopes": [(name, "envelope", 7 * DAY_MS) for name in ("raw_trades", "raw_klines", "raw_tickers")],
    "futures": [("kline_data", "futures-kline", 7 * DAY_MS), ("order_book_data", "futures-quote", 7 * DAY_MS)],
}
# What is not the default of the client that is stood for, but of its `.env` file.
ONLY_GIVEN = {"kafka.bootstrap", "kafka.security_protocol", "kafka.sasl_mechanism", "kafka.sasl_username", "kafka.acks"}


def value_of(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)


def topics_of(settings: Settings) -> list[tuple[str, str, int]]:
    return [(plan.name, plan.layout, plan.retention_ms) for plan in settings.topics]


def test_the_profiles_are_the_five() -> None:
    """What the documentation lists is what there is."""
    assert set(profile_names()) == set(EXPECTED) == set(TOPICS) == set(ENVIRONMENTS)


@pytest.mark.parametrize("profile", EXPECTED)
def test_the_env_file_of_the_client_that_is_stood_for_works(profile: str) -> None:
    """Copied as it is, it gives what that client's document says, in that client's topics, keyed by symbol."""
    settings = load(profile, **variables(ENVIRONMENTS[profile]))
    assert {key: value_of(settings, key) for key in EXPECTED[profile]} == EXPECTED[profile]
    assert topics_of(settings) == TOPICS[profile]
    assert all(plan.keyed for plan in settings.topics)


@pytest.mark.parametrize("profile", ["candles", "events", "envelopes", "futures"])
def test_without_variables_the_documented_defaults_hold(profile: str) -> None:
    """The profile itself has the defaults, and no variable need be set."""
    settings = load(profile)
    documented = {key: value for key, value in EXPECTED[profile].items() if key not in ONLY_GIVEN}
    assert {key: value_of(settings, key) for key in documented} == documented
    assert (topics_of(settings), settings.notes, settings.kafka.acks) == (TOPICS[profile], (), "all")
    assert settings.kafka.security_protocol == "PLAINTEXT"


@pytest.mark.parametrize("profile", ENVIRONMENTS)
def test_every_variable_of_the_env_file_is_known(profile: str) -> None:
    """None is lost without a word: it sets an option, renames a topic, or is ignored for a reason."""
    known = set(load_profile(profile).content.environment) | {name for option in BY_KEY.values() for name in option.variables}
    assert set(variables(ENVIRONMENTS[profile])) - known == set()


def test_variables_without_effect_are_told_once() -> None:
    """The log says which variables were set in vain, and why, and repeats no password."""
    settings = load("futures", **variables(ENVIRONMENTS["futures"]))
    assert [note.partition(" has no effect: ")[0] for note in settings.notes] == ["DB_URL", "DB_USER", "DB_PASSWORD"]
    assert "c4n4ry" not in "".join(settings.notes)
    assert settings.secrets() == ("c4n4ry-secret",)


def test_a_promise_given_up_by_a_variable_is_told_under_its_name() -> None:
    """Who brings KAFKA_ACKS=1 along gets it, and a warning."""
    notes = load("envelopes", **variables(ENVIRONMENTS["envelopes"])).notes
    assert [note.split()[0] for note in notes] == ["KAFKA_ACKS", "BATCH_CHECK_INTERVAL_MS"]


@pytest.mark.parametrize("acks", ["-1", "all", "ALL", "0", "1"])
def test_every_documented_level_of_acknowledgement_is_taken(acks: str) -> None:
    """0, 1 and all, and what librdkafka calls all."""
    assert load("envelopes", KAFKA_ACKS=acks).kafka.acks == {"-1": "all", "ALL": "all"}.get(acks, acks)


@pytest.mark.parametrize("given", ["KAFKA_API_KEY", "KAFKA_SECRET_KEY"])
def test_half_a_login_is_refused(given: str) -> None:
    """A key without its secret would only fail at the broker."""
    (fault,) = faults_of("futures", **{given: "x"})
    assert re.findall("KAFKA_[A-Z]+_KEY", fault) == [given, *({"KAFKA_API_KEY", "KAFKA_SECRET_KEY"} - {given})]
    assert fault.endswith("belong together: give both or neither")


def test_a_secret_of_a_profile_may_lie_in_a_file(tmp_path: Path) -> None:
    """The name with _FILE behind it works as it does for the client's own variables."""
    settings = load("futures", KAFKA_API_KEY="k", KAFKA_SECRET_KEY_FILE=written(tmp_path, "s3cret\n", "secret"))
    assert settings.kafka.sasl_password is not None
    assert settings.kafka.sasl_password.reveal() == "s3cret"
    assert "s3cret" not in describe(settings)


def test_trades_is_what_the_client_was_before() -> None:
    """The profile that is taken when none is asked for changes nothing: every value is the client's own default."""
    settings = load_settings([], {})
    for key, option in BY_KEY.items():
        assert str(settings.sources[key]) == "default"
        if option.default is not None and key != "profile":
            assert value_of(settings, key) == option.parse(option.default)
    without_name = replace(load("trades"), sources=settings.sources)
    assert asdict(without_name) == asdict(settings)
    assert topics_of(settings) == TOPICS["trades"]


@pytest.mark.parametrize(
    ("argv", "environ", "value", "source"),
    [
        pytest.param([], {}, 100, "profile events", id="profile"),
        pytest.param([], {"BATCH_SIZE": "7"}, 7, "variable BATCH_SIZE", id="variable-of-the-profile"),
        pytest.param([], {"BATCH_SIZE": "7", "BINANCE_BATCH_SIZE": "8"}, 8, "variable BINANCE_BATCH_SIZE", id="our-variable"),
        pytest.param(["--batch-size", "9"], {"BATCH_SIZE": "7", "BINANCE_BATCH_SIZE": "8"}, 9, "flag --batch-size", id="flag"),
        pytest.param([], {"BATCH_SIZE": " ", "BINANCE_BATCH_SIZE": ""}, 100, "profile events", id="empty-variables"),
        pytest.param(
            ["--kafka-property", "batch.num.messages=5"], {"BATCH_SIZE": "7"}, 5,
            "property --kafka-property batch.num.messages", id="property",
        ),
    ],
)  # fmt: skip
def test_the_strongest_word_counts(argv: list[str], environ: dict[str, str], value: int, source: str) -> None:
    """A flag beats our variable, that the profile's variable, that the profile's own value; and the table shows which it was."""
    settings = load("events", *argv, **environ)
    assert (settings.kafka.batch_size, str(settings.sources["kafka.batch_size"])) == (value, source)
    assert any(line.startswith("--batch-size ") and line.endswith(source) for line in describe(settings).splitlines())


def test_what_the_profile_does_not_say_is_the_default() -> None:
    """Below the profile stands the client's default."""
    assert str(load("events").sources["http.port"]) == "default"


LEVELS = {
    "kafka.batch_size": ("BINANCE_BATCH_SIZE", "BATCH_SIZE", ("1", "2", "3")),
    "kafka.batch_timeout_s": ("BINANCE_BATCH_TIMEOUT", "BATCH_TIMEOUT_SECONDS", ("1", "2", "3")),
    "feed.give_up_after": ("K2_GIVE_UP_AFTER", "MAX_RETRIES", ("1", "2", "3")),
    "logs.level": ("K2_LOG_LEVEL", "LOG_LEVEL", ("DEBUG", "WARNING", "ERROR")),
    "kafka.bootstrap": ("KAFKA_BOOTSTRAP", "KAFKA_BOOTSTRAP_SERVERS", ("a:1", "b:2", "c:3")),
}


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.fixed_dictionaries({key: st.tuples(st.booleans(), st.booleans(), st.booleans()) for key in LEVELS}))
def test_precedence_holds_for_each_option_by_itself(chosen: dict[str, tuple[bool, bool, bool]]) -> None:
    """Whatever is given where, each option goes its own way."""
    argv: list[str] = []
    environ: dict[str, str] = {}
    for key, (flag, ours, theirs) in chosen.items():
        our_variable, their_variable, (first, second, third) = LEVELS[key]
        argv += [BY_KEY[key].flag, first] if flag else []
        environ |= {our_variable: second} if ours else {}
        environ |= {their_variable: third} if theirs else {}
    settings = load("events", *argv, **environ)
    plain = load("events")
    for key, levels in chosen.items():
        texts = [text for given_there, text in zip(levels, LEVELS[key][2], strict=True) if given_there]
        assert value_of(settings, key) == (BY_KEY[key].parse(texts[0]) if texts else value_of(plain, key))


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"BATCH_SIZE": "many"}, "BATCH_SIZE (--batch-size): 'many' is not a whole number"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT (--log-format): 'xml' is not one of auto, json, console"),
        ({"BINANCE_STREAM_TYPES": "kline_7m"}, "BINANCE_STREAM_TYPES (--streams): spot has no stream 'kline_7m'"),
        ({"KAFKA_TOPIC_TRADES": "a b"}, "KAFKA_TOPIC_TRADES: 'a b' is no name for a Kafka topic"),
        ({"KAFKA_TOPIC_TRADES": "binance-depth"}, "KAFKA_TOPIC_TRADES: two topics would have the name 'binance-depth'"),
        ({"KAFKA_TOPIC_DEPTH": "binance-trades"}, "KAFKA_TOPIC_DEPTH: two topics would have the name 'binance-trades'"),
    ],
)
def test_a_faulty_variable_is_told_under_its_own_name(environ: dict[str, str], fault: str) -> None:
    """Who brings variables along never has to know which option stands behind one."""
    (told,) = faults_of("events", **environ)
    assert told.startswith(fault)


def test_milliseconds_become_seconds() -> None:
    """A variable may count in another unit than its option, and a wrong number is told under the variable's name."""
    assert load("envelopes", BATCH_TIMEOUT_MS="250").kafka.batch_timeout_s == 0.25
    (fault,) = faults_of("envelopes", BATCH_TIMEOUT_MS="soon")
    assert fault == "BATCH_TIMEOUT_MS (--batch-timeout): 'soon' is not a number of milliseconds"


def test_words_are_translated() -> None:
    """What the other client called text is called console here; our own words go on to work."""
    assert [load("events", LOG_FORMAT=word).logs.format for word in ("text", "TEXT", "json")] == ["console", "console", "json"]


def test_topics_are_renamed_by_their_variables() -> None:
    """The table shows where a name came from."""
    settings = load("events", KAFKA_TOPIC_DEPTH="my-depth")
    assert [plan.name for plan in settings.topics] == ["binance-raw-events", "binance-trades", "my-depth"]
    shown = [" ".join(line.split()[1:]) for line in describe(settings).splitlines() if line.startswith("topic ")]
    assert shown[1:] == ["binance-trades profile events", "my-depth variable KAFKA_TOPIC_DEPTH"]


def test_a_topic_without_streams_is_not_made() -> None:
    """Who asks for fewer streams gets fewer topics."""
    settings = load("events", BINANCE_STREAM_TYPES="aggTrade")
    assert [plan.name for plan in settings.topics] == ["binance-raw-events", "binance-trades"]


@pytest.mark.parametrize(
    ("profile", "streams", "told"),
    [
        (
            "envelopes",
            "btcusdt@bookTicker",
            "--streams: no topic of profile envelopes takes bookTicker; they ",
        ),
        ("candles", "aggTrade", "--streams: no topic of profile candles takes aggTrade; they take kline_*"),
    ],
)
def test_a_stream_without_a_topic_is_refused(profile: str, streams: str, told: str) -> None:
    """Its events would be lost without a word."""
    (fault,) = faults_of(profile, "--streams", streams)
    assert told in fault


def test_a_layout_is_given_only_what_it_can_show(tmp_path: Path) -> None:
    """A topic of candles refuses trades at the start, and not each of them as a dead letter."""
    topics = "topics: [{id: a, name: a, streams: '*', layout: candle}]\noptions: {streams: [kline_1m, trade]}\n"
    (fault,) = faults_of(written(tmp_path, HEAD + topics))
    assert fault == ("mine.yaml:4: options.streams: topic a cannot show trade in layout candle, which is for kline")


def test_what_the_client_does_not_know_goes_into_raw_topics_only(tmp_path: Path) -> None:
    """A stream that cannot be decoded has no other form than the one that it came in."""
    topics = "topics: [{id: a, name: a, streams: '*', layout: %s}]\noptions: {streams: 'off', raw-streams: brandNew}\n"
    (fault,) = faults_of(written(tmp_path, HEAD + topics % "event"))
    assert "cannot show brandNew, which the client does not decode: take layout raw for it" in fault
    settings = load(written(tmp_path, HEAD + topics % "raw"))
    assert [(plan.layout, plan.schema_name) for plan in settings.topics] == [("raw", "raw_v2")]


def test_all_symbols_of_a_quote_asset_keep_the_topics() -> None:
    """The topics are known before the symbols are."""
    settings = load("events", BINANCE_SYMBOLS="ALL:USDT")
    assert (settings.feed.quote_assets, topics_of(settings)) == (("USDT",), TOPICS["events"])


def test_candles_of_a_minute_are_a_switch() -> None:
    """The client that is stood for knows 1m beside 30m."""
    settings = load("candles", "--streams", "kline_1m")
    assert (settings.feed.streams, topics_of(settings)) == (("kline_1m",), TOPICS["candles"])


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml", "mine"])
def test_a_profile_of_ones_own_is_named_by_its_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slash in it or with its ending; then it is called as its file is, without the ending."""
    written(tmp_path, HEAD + "options: {symbols: [SOLUSDT]}\n", name)
    monkeypatch.chdir(tmp_path)
    settings = load(f"./{name}")
    assert (settings.profile, settings.profile_file, settings.feed.symbols) == ("mine", Path(f"./{name}"), ("SOLUSDT",))
    assert load("events").profile_file is None
    assert str(settings.sources["feed.symbols"]) == "profile mine"


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    """Those of the profile stand beside those of the flags."""
    faults = faults_of(written(tmp_path, HEAD + "option: {}\n"), "--http-port", "x")
    assert [fault.partition(" ")[0] for fault in faults] == ["mine.yaml:3:", "--http-port:"]


def test_the_environment_of_events_is_the_documents() -> None:
    """Nothing is there that the document does not list."""
    assert set(load_profile("events").content.environment) == set(variables(EVENTS_ENV))
