"""
The settings of the client: read from the command line and the environment, checked as a whole, never half valid.

A flag beats its variable, a variable beats what the profile says, that beats the default, and an empty variable counts as not
set. Every fault found is reported at once, under the name by which its value came in. `load_settings` reads nothing but its
arguments, the profile, and the files of credentials that they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from k2.errors import ConfigurationError
from k2.ingestion import command_line
from k2.ingestion.command_line import CommandLine, Given
from k2.ingestion.consistency import broken_rules
from k2.ingestion.kafka_settings import OWNED, KafkaSettings, canonical, unsafe, unusable
from k2.ingestion.option_values import Secret, Shard, properties
from k2.ingestion.options import BY_KEY, OPTIONS, Option, Source, SourceKind
from k2.ingestion.profiles import BARE, Profile, layered, load_profile
from k2.ingestion.stream_values import ALL_OF
from k2.ingestion.topic_plan import TopicPlan
from k2.ingestion.worked_out import (
    PROPERTIES,
    notes_of,
    topics_of,
    work_out_defaults,
    work_out_streams,
    work_out_symbols,
)

PROFILE = "profile"


class FeedSettings(Struct, frozen=True):
    """
    The exchange's side. Times are in seconds; `silence_timeout_s` 0 is off.

    `streams` and `raw_streams` are wishes: specs, which are meant of every symbol, and names of single streams. `symbols` are
    those of this instance's shard; where `quote_assets` has any, all symbols of these are meant as well, and nothing is picked
    for the shard yet. `give_up_after` 0 is never, `listing_interval_s` 0 is off. `rest_url` is None where REST is off.
    """

    symbols: tuple[str, ...]
    quote_assets: tuple[str, ...]
    market: str
    streams: tuple[str, ...]
    raw_streams: tuple[str, ...]
    candles: str
    ws_url: str
    rest_url: str | None
    transport: str
    compression: bool
    proxy: str | None
    ca_file: Path | None
    shard: Shard | None
    listing_interval_s: float
    streams_per_connection: int
    connect_timeout_s: float
    reconnect_delay_min_s: float
    reconnect_delay_max_s: float
    give_up_after: int
    heartbeat_interval_s: float
    idle_ping_after_s: float
    pong_timeout_s: float
    silence_timeout_s: float

    @property
    def wishes(self) -> tuple[str, ...]:
        """All that is to be received."""
        return (*self.streams, *self.raw_streams)

    @property
    def every_symbol_of(self) -> str:
        """The quote assets whose symbols are all meant, as the option has them: `ALL:USDT`."""
        return " ".join(f"{ALL_OF}{asset}" for asset in self.quote_assets)

    def of_this_shard(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """Explicit symbols were picked with the settings; with `ALL:` only the exchange tells what is to be shared out."""
        each = tuple(dict.fromkeys(symbols))
        if self.shard is None or not self.quote_assets:
            return each
        return tuple(symbol for symbol in each if self.shard.holds(symbol))


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
    """
    All options, valid together.

    Attributes:
        metrics_log_interval_s: 0 is off.
        profile: Its name.
        profile_file: Where it lies, if it is not one that is part of the product.
        topics: Where records go, in the order of the profile or of the streams. At least one.
        notes: What the operator should be told once in the log.
        sources: Where the value of each option came from, by its key.
        topic_sources: Where a topic's name came from, where it is a profile's.
    """

    feed: FeedSettings
    kafka: KafkaSettings
    registry: RegistrySettings
    http: HttpSettings
    logs: LogSettings
    metrics_log_interval_s: float
    profile: str
    profile_file: Path | None
    state_dir: Path
    dead_letter_dir: Path
    startup_timeout_s: float
    shutdown_timeout_s: float
    topics: tuple[TopicPlan, ...]
    notes: tuple[str, ...]
    print_config: bool
    sources: dict[str, Source]
    topic_sources: dict[str, Source]

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
    profile, profile_faults = _profile(read.given[PROFILE])
    given, property_faults = _with_properties(layered(read.given, profile, environ))
    values, value_faults = _parsed(given)
    sources = {key: item.source for key, item in given.items()}
    values[PROFILE] = profile.name
    work_out_defaults(values, sources, environ)
    work_out_symbols(values)
    stream_faults = list(work_out_streams(values, sources))
    topics = topics_of(values, sources, profile, environ)
    faults = [
        *read.faults, *profile_faults, *property_faults, *value_faults, *stream_faults, *broken_rules(values, sources),
        *_unsafe(values, sources), *topics.faults,
    ]  # fmt: skip
    if faults:
        raise ConfigurationError(*faults)
    return _built(
        values,
        profile_file=profile.own_file,
        topics=topics.plans,
        notes=tuple(notes_of(values, sources, profile, environ)),
        print_config=read.print_config,
        sources=sources,
        topic_sources=topics.sources,
    )


def _profile(given: Given) -> tuple[Profile, Sequence[str]]:
    """The profile and its faults. Where it has any, an empty one stands for it, so that the other options are judged as well."""
    try:
        return load_profile(given.text or ""), ()
    except ValueError as error:
        return BARE, (f"{BY_KEY[PROFILE].called(given.source)}: {error}",)
    except ConfigurationError as error:
        return BARE, error.faults


def _with_properties(given: Mapping[str, Given]) -> tuple[dict[str, Given], list[str]]:
    """What was given, with each Kafka property that belongs to an option moved there; and the faults that belong to none."""
    passed = given[PROPERTIES]
    called = BY_KEY[PROPERTIES].called(passed.source)
    try:
        named = canonical(properties(passed.text or ""))
    except ValueError as error:
        return {**given, PROPERTIES: Given(None, passed.source, f"{called}: {error}")}, []
    by = called if passed.source.kind is SourceKind.PROFILE else passed.source.name
    moved = dict(_moved(name, text, by) for name, text in named.items() if name in OWNED)
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


def _unsafe(values: Mapping[str, Any], sources: Mapping[str, Source]) -> list[str]:
    if values.get("kafka.allow_unsafe_properties"):
        return []
    called = BY_KEY[PROPERTIES].called(sources[PROPERTIES])
    return [f"{called}: {fault}" for fault in unsafe(values[PROPERTIES])]


def _built(values: Mapping[str, Any], **others: Any) -> Settings:
    def group(name: str) -> dict[str, Any]:
        return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}

    return Settings(
        feed=FeedSettings(**group("feed")),
        kafka=KafkaSettings(**group("kafka")),
        registry=RegistrySettings(**group("registry")),
        http=HttpSettings(**group("http")),
        logs=LogSettings(**group("logs")),
        **{key: value for key, value in values.items() if "." not in key},
        **others,
    )
