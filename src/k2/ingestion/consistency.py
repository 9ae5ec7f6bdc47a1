"""What options must hold together: a table of rules over values that are each valid for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from msgspec import Struct

from k2.ingestion.exchanges.binance.names import is_full_name, wanted_streams
from k2.ingestion.exchanges.binance.urls import Market, market_of
from k2.ingestion.option_values import Shard
from k2.ingestion.options import BY_KEY, Source
from k2.ingestion.topic_plan import sharded


class Rule(Struct, frozen=True):
    """Options that `broken` judges by their values, in this order; `{0}`, `{1}` in `fault` are their names."""

    keys: tuple[str, ...]
    broken: Callable[..., bool]
    fault: str


def broken_rules(values: Mapping[str, Any], sources: Mapping[str, Source]) -> Iterator[str]:
    """A fault for each broken rule. A rule over an option that is faulty itself is left out."""
    for rule in RULES:
        if all(key in values for key in rule.keys) and rule.broken(*(values[key] for key in rule.keys)):
            yield rule.fault.format(*(BY_KEY[key].called(sources[key]) for key in rule.keys if key in BY_KEY))


def _serves_another(ws_url: str, market: str) -> bool:
    return market_of(ws_url) not in {None, market}


def _leaves_no_symbol(
    shard: Shard | None, symbols: tuple[str, ...], quote_assets: tuple[str, ...], *wishes: tuple[str, ...]
) -> bool:
    by_name = all(is_full_name(wish) for wish in chain(*wishes))
    return shard is not None and not symbols and not quote_assets and not by_name


def _leaves_no_stream(shard: Shard | None, *wishes: tuple[str, ...]) -> bool:
    """Where every stream is wished for by its name, as symbols are dealt out apart from these."""
    names = list(chain(*wishes))
    if shard is None or not names or not all(map(is_full_name, names)):
        return False
    return not sharded(wanted_streams(Market.SPOT, names, ()), shard)


def _one_alone(first: object, second: object) -> bool:
    return (first is None) != (second is None)


def _only_first(first: object, second: object) -> bool:
    return first is not None and second is None


def _file_without_tls(file: object, address: str) -> bool:
    return file is not None and not address.startswith(("https:", "wss:", "SSL", "SASL_SSL"))


_TOGETHER = "{0} and {1} belong together: give both or neither"
_NEEDS_TLS = "{0} has no effect unless {1} is "

RULES = (
    Rule(("feed.reconnect_delay_min_s", "feed.reconnect_delay_max_s"), lambda low, high: low > high,
         "{0} is greater than {1}: raise the one or lower the other"),
    Rule(("feed.ws_url", "feed.market"), _serves_another,
         "{0} and {1} contradict: that host serves the other market"),
    Rule(("feed.ca_file", "feed.ws_url"), _file_without_tls, _NEEDS_TLS + "a wss:// address"),
    Rule(("feed.compression", "feed.transport"), lambda compression, transport: compression and transport == "picows",
         "{0} and {1} contradict: picows does not compress, take auto or websockets"),
    Rule(("feed.shard", "feed.symbols", "feed.quote_assets", "feed.streams", "feed.raw_streams"), _leaves_no_symbol,
         "{0} leaves no symbol of {1} to this instance: use fewer parts or more symbols"),
    Rule(("feed.shard", "feed.streams", "feed.raw_streams"), _leaves_no_stream,
         "{0} leaves no stream of {1} to this instance: use fewer parts or more streams"),
    Rule(("feed.streams", "feed.raw_streams"), lambda streams, captured: not streams and not captured,
         "{0} and {1} are both off: name a stream"),
    Rule(("kafka.sasl_mechanism", "kafka.security_protocol"),
         lambda mechanism, protocol: (mechanism is not None) != protocol.startswith("SASL_"),
         "{0} and {1} contradict: SASL_PLAINTEXT and SASL_SSL need a mechanism, PLAINTEXT and SSL take none"),
    Rule(("kafka.sasl_mechanism", "kafka.sasl_username"), _one_alone, _TOGETHER),
    Rule(("kafka.sasl_mechanism", "kafka.sasl_password"), _one_alone, _TOGETHER),
    Rule(("kafka.cert_file", "kafka.key_file"), _one_alone, _TOGETHER),
    Rule(("kafka.key_password", "kafka.key_file"), _only_first, "{0} is set, but {1} is not"),
    Rule(("kafka.ca_file", "kafka.security_protocol"), _file_without_tls, _NEEDS_TLS + "SSL or SASL_SSL"),
    Rule(("kafka.cert_file", "kafka.security_protocol"), _file_without_tls, _NEEDS_TLS + "SSL or SASL_SSL"),
    Rule(("registry.user", "registry.password"), _one_alone, _TOGETHER),
    Rule(("registry.cert_file", "registry.key_file"), _one_alone, _TOGETHER),
    Rule(("registry.ca_file", "registry.url"), _file_without_tls, _NEEDS_TLS + "an https:// address"),
    Rule(("registry.cert_file", "registry.url"), _file_without_tls, _NEEDS_TLS + "an https:// address"),
)  # fmt: skip
