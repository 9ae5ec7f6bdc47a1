"""
What is wanted changes while the client runs: symbols in the settings, and what the exchange lists.

Streams that stay are not touched; new ones are subscribed to and gone ones unsubscribed from on the open connections. What else
differs in new settings needs a restart, and is said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.exchanges.binance.names import spec_of
from k2.ingestion.options import OPTIONS
from k2.ingestion.readings import Readings
from k2.ingestion.routing import Routing, streams_for
from k2.ingestion.settings import Settings
from k2.ingestion.startup import SymbolFacts
from k2.ingestion.topic_plan import TopicPlan

LIVE = frozenset({"feed.symbols", "feed.streams", "feed.raw_streams"})
FILE_LOOKED_AT_EVERY_S = 1.0
NAMED = 10

_log = get_logger("k2.service")

Learn = Callable[[Settings], Awaitable[SymbolFacts]]


class Switch:
    """
    Takes the running client from one set of streams to the next.

    Args:
        reread: Reads the settings anew; None where they cannot change.
        learn: What the exchange says about the symbols of settings.
    """

    def __init__(
        self,
        settings: Settings,
        routing: Routing,
        feed: FeedGroup,
        readings: Readings,
        *,
        reread: Callable[[], Settings] | None,
        learn: Learn,
    ) -> None:
        self._settings, self._routing, self._feed, self._readings = settings, routing, feed, readings
        self._reread, self._learn = reread, learn
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> None:
        """Read the settings anew and go over to what they want. What is wrong with them is logged, and nothing changes."""
        if self._reread is None:
            return
        try:
            wanted = self._reread()
        except ConfigurationError as error:
            for fault in error.faults:
                _log.error("Settings not reloaded", fault=fault)
            return
        for name in fixed_differences(self._settings, wanted):
            _log.warning("Changed in the settings, but needs a restart", option=name)
        live = {key: value for key, value in _live_values(wanted).items() if value != _live_values(self._settings)[key]}
        _log.info("Settings reloaded", changed=sorted(live))
        await self._go_over(with_live_values(self._settings, wanted))

    async def follow_listings(self, every_s: float) -> None:
        """Ask the exchange again and again what trades, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self._go_over(self._settings)

    async def follow_file(self, path: Path) -> None:
        """Reload whenever the file changes, for ever."""
        seen = _stamp(path)
        while True:
            await asyncio.sleep(FILE_LOOKED_AT_EVERY_S)
            now = await asyncio.to_thread(_stamp, path)
            if now is not None and now != seen:
                seen = now
                await self.reload()

    async def _go_over(self, settings: Settings) -> None:
        async with self._one_at_a_time:
            try:
                symbols = await self._learn(settings)
                self._want(settings, symbols)
            except K2Error as error:
                _log.error("Streams not changed", error=str(error))

    def _want(self, settings: Settings, symbols: SymbolFacts) -> None:
        streams, before = streams_for(settings, symbols.known), set(self._routing.names)
        if not streams:
            raise ConfigurationError("--symbols: nothing would be left to stream")
        self._routing.use(settings.topics, symbols.quote_asset)
        self._routing.want(streams)
        self._settings = settings
        self._tell_readings(symbols)
        names = self._routing.names
        if before != set(names):
            self._feed.change(names)
            added, removed = [name for name in names if name not in before], sorted(before.difference(names))
            _log.info("Streams changed", streams=len(names), added=_some(added), removed=_some(removed))

    def _tell_readings(self, symbols: SymbolFacts) -> None:
        readings = self._readings
        readings.rows, readings.symbols = self._routing.rows, symbols.known
        readings.start.unknown_symbols = symbols.unknown
        readings.refused_streams.intersection_update(self._routing.names)


def fixed_differences(running: Settings, wanted: Settings) -> list[str]:
    """What differs and cannot change while the client runs: names of options, and topics that it does not write yet."""
    fixed = [option for option in OPTIONS if option.key not in LIVE]
    options = [option.name for option in fixed if _value(running, option.key) != _value(wanted, option.key)]
    return options + [f"topic {plan.name}" for plan in wanted.topics if not _is_written(plan, running)]


def with_live_values(running: Settings, wanted: Settings) -> Settings:
    """The running settings with what of the others can be had without a restart."""
    topics = tuple(plan for plan in wanted.topics if _is_written(plan, running))

    def placed(wishes: Sequence[str]) -> tuple[str, ...]:
        return tuple(wish for wish in wishes if any(plan.matches(wish, spec_of(wish)) for plan in topics))

    feed = replace(
        running.feed,
        symbols=wanted.feed.symbols,
        quote_assets=wanted.feed.quote_assets,
        streams=placed(wanted.feed.streams),
        raw_streams=placed(wanted.feed.raw_streams),
    )
    return replace(running, feed=feed, topics=topics)


def _is_written(plan: TopicPlan, running: Settings) -> bool:
    return any(replace(plan, streams=ours.streams) == ours for ours in running.topics)


def _live_values(settings: Settings) -> dict[str, Any]:
    return {key: _value(settings, key) for key in LIVE}


def _value(settings: Settings, key: str) -> Any:
    return reduce(getattr, key.split("."), settings)


def _some(names: Sequence[str]) -> list[str]:
    return [*names[:NAMED], *([f"and {len(names) - NAMED} more"] if len(names) > NAMED else [])]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while it is not there, as between the two halves of a replacement."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
