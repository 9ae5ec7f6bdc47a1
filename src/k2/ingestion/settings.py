"""
The settings of the client: read from the command line and the environment, checked as a whole, never half valid.

A flag beats its variable, a variable beats the default, and an empty variable counts as not set. Every fault found is reported
at once, under the name by which its value came in. `load_settings` reads nothing but its arguments and the files of
credentials that they name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion import command_line
from k2.ingestion.command_line import CommandLine, Given
from k2.ingestion.consistency import broken_rules
from k2.ingestion.exchanges.binance.urls import rest_url_of
from k2.ingestion.kafka_settings import OWNED, KafkaSettings, canonical, protected, unsafe, unusable
from k2.ingestion.option_values import Secret, Shard, properties
from k2.ingestion.options import BY_KEY, OPTIONS, Option, Source, SourceKind

PROPERTIES = "kafka.properties"
MEASURES = ("seconds", "ms", "MiB", "messages")

# The defaults that follow the market.
MARKET_DEFAULTS = {
    "feed.ws_url": {"spot": "wss://stream.binance.com:9443/ws", "usdm": "wss://fstream.binance.com"},
    "kafka.topic_prefix": {"spot": "market.crypto.trades", "usdm": "market.futures.trades"},
}


class FeedSettings(Struct, frozen=True):
    """
    The exchange's side. Times are in seconds; `silence_timeout_s` 0 is off.

    `symbols` are those of this instance's shard. `rest_url` is None where REST is off.
    """

    symbols: tuple[str, ...]
    market: str
    stream: str
    ws_url: str
    rest_url: str | None
    transport: str
    compression: bool
    proxy: str | None
    ca_file: Path | None
    shard: Shard | None
    connect_timeout_s: float
    reconnect_delay_min_s: float
    reconnect_delay_max_s: float
    heartbeat_interval_s: float
    idle_ping_after_s: float
    pong_timeout_s: float
    silence_timeout_s: float


class RegistrySettings(Struct, frozen=True):
    """The schema registry. `register` is False where schemas are only looked up."""

    url: str
    register: bool
    user: str | None
    password: Secret | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None


class HttpSettings(Struct, frozen=True):
    """Where health and metrics are served. Port 0 is any free one."""

    host: str
    port: int


class LogSettings(Struct, frozen=True):
    """`file` is None where the log goes to standard output only."""

    format: str
    level: str
    file: Path | None


class Settings(Struct, frozen=True):
    """All options, valid together. `sources` tells for each option's key where its value came from."""

    feed: FeedSettings
    kafka: KafkaSettings
    registry: RegistrySettings
    http: HttpSettings
    logs: LogSettings
    state_dir: Path
    dead_letter_dir: Path
    startup_timeout_s: float
    shutdown_timeout_s: float
    print_config: bool
    sources: dict[str, Source]

    @property
    def topic(self) -> str:
        return self.kafka.topic

    @property
    def subject(self) -> str:
        """The schema's name in the registry, by the rule called TopicNameStrategy."""
        return f"{self.topic}-value"

    def secrets(self) -> tuple[str, ...]:
        """Every password, token and key in the clear, for the log to mask."""
        values = (self.registry.password, self.kafka.sasl_password, self.kafka.key_password, *self.kafka.properties.values())
        return tuple(value.reveal() for value in values if isinstance(value, Secret))


def load_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """
    The settings that flags and variables ask for.

    `--help` and `--version` print and raise `SystemExit(0)`, as argparse does. Where `print_config` is set, the caller prints
    `describe(settings)` and ends with 0.

    Raises:
        ConfigurationError: with all faults found, each naming its option.
    """
    return settings_of(command_line.read(argv, environ), environ)


def settings_of(read: CommandLine, environ: Mapping[str, str]) -> Settings:
    """
    The settings that were given, checked as a whole. `environ` tells where directories are by default.

    Raises:
        ConfigurationError: with all faults found, each naming its option.
    """
    given, property_faults = _with_properties(read.given)
    values, value_faults = _parsed(given)
    sources = {key: item.source for key, item in given.items()}
    _work_out_defaults(values, sources, environ)
    faults = [*read.faults, *property_faults, *value_faults, *broken_rules(values, sources), *_unsafe(values, sources)]
    if faults:
        raise ConfigurationError(*faults)
    return _built(values, sources, print_config=read.print_config)


def describe(settings: Settings) -> str:
    """Every option with its value and its source, one a line, secrets masked."""
    rows = [("option", "value", "source")]
    for option in OPTIONS:
        value = _shown(reduce(getattr, option.key.split("."), settings))
        unit = f" {option.unit}" if option.unit in MEASURES else ""
        rows.append((option.name, value + unit, str(settings.sources[option.key])))
    rows += [("topic", settings.topic, "worked out"), ("subject", settings.subject, "worked out")]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    text = "\n".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for name, value, source in rows)
    return text.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no UTF-8


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value)
        case dict():
            return ", ".join(f"{name}={item}" for name, item in value.items()) or "none"
        case _:
            return str(value)


def _with_properties(given: Mapping[str, Given]) -> tuple[dict[str, Given], list[str]]:
    """What was given, with each Kafka property that belongs to an option moved there; and the faults that belong to none."""
    passed = given[PROPERTIES]
    called = BY_KEY[PROPERTIES].called(passed.source)
    try:
        named = canonical(properties(passed.text or ""))
    except ValueError as error:
        return {**given, PROPERTIES: Given(None, passed.source, f"{called}: {error}")}, []
    moved = dict(_moved(name, text, passed.source.name) for name, text in named.items() if name in OWNED)
    others = "".join(f"{name}={text}\n" for name, text in named.items() if name not in OWNED)
    faults = [f"{called}: {fault}" for fault in unusable(named)]
    return {**given, **moved, PROPERTIES: Given(others, passed.source)}, faults


def _moved(name: str, text: str, passed_by: str) -> tuple[str, Given]:
    key, convert = OWNED[name]
    source = Source(SourceKind.PROPERTY, f"{passed_by} {name}")
    try:
        return key, Given(convert(text), source)
    except ValueError as error:
        return key, Given(None, source, f"{source.name}: {error}")


def _parsed(given: Mapping[str, Given]) -> tuple[dict[str, Any], list[str]]:
    """The values by key, without those that are faulty, and the faults."""
    values: dict[str, Any] = {}
    faults = []
    for option in OPTIONS:
        item = given[option.key]
        try:
            values[option.key] = _value(option, item)
        except ValueError as error:
            faults.append(item.fault or f"{option.called(item.source)}: {error}")
    return values, faults


def _value(option: Option, item: Given) -> Any:
    if item.fault:
        raise ValueError(item.fault)
    return None if item.text is None else option.parse(item.text)


def _work_out_defaults(values: dict[str, Any], sources: Mapping[str, Source], environ: Mapping[str, str]) -> None:
    """Fill in what follows from other options. What hangs on a faulty one is left out, as if it were faulty itself."""
    market = values.get("feed.market")
    for key, by_market in MARKET_DEFAULTS.items():
        if sources[key].kind is SourceKind.DEFAULT:
            del values[key]
            if market:
                values[key] = by_market[market]
    if sources["feed.rest_url"].kind is SourceKind.DEFAULT:
        values["feed.rest_url"] = rest_url_of(values.get("feed.ws_url") or "")
    if sources["state_dir"].kind is SourceKind.DEFAULT:
        values["state_dir"] = _default_state_dir(environ)
    if values.get("feed.shard") and "feed.symbols" in values:
        values["feed.symbols"] = values["feed.shard"].pick(values["feed.symbols"])
    values[PROPERTIES] = protected(values.get(PROPERTIES) or {})


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    # The XDG base directory specification has relative paths ignored.
    base = Path(environ.get("XDG_STATE_HOME", ""))
    home = Path(environ.get("HOME") or Path.home())
    return (base if base.is_absolute() else home / ".local" / "state") / "k2"


def _unsafe(values: Mapping[str, Any], sources: Mapping[str, Source]) -> list[str]:
    if values.get("kafka.allow_unsafe_properties"):
        return []
    called = BY_KEY[PROPERTIES].called(sources[PROPERTIES])
    return [f"{called}: {fault}" for fault in unsafe(values[PROPERTIES])]


def _built(values: Mapping[str, Any], sources: dict[str, Source], *, print_config: bool) -> Settings:
    def group(name: str) -> dict[str, Any]:
        return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}

    return Settings(
        feed=FeedSettings(**group("feed")),
        kafka=KafkaSettings(**group("kafka")),
        registry=RegistrySettings(**group("registry")),
        http=HttpSettings(**group("http")),
        logs=LogSettings(**group("logs")),
        **{key: value for key, value in values.items() if "." not in key},
        print_config=print_config,
        sources=sources,
    )
