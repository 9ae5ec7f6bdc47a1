"""
What is wanted changes while the client runs: symbols in the settings, and what the exchange lists.

Streams that stay are not touched; new ones are subscribed to and gone ones unsubscribed from on the open connections. What else
differs in new settings needs a restart, and is said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from k2.errors import ConfigurationError, K2Error
from k2.ingestion.adapters.feed.group import FeedGroup
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.described import value_of
from k2.ingestion.options import BY_KEY, OPTIONS, Option
from k2.ingestion.readings import Readings
from k2.ingestion.routing import Routing, streams_for
from k2.ingestion.settings import Settings
from k2.ingestion.startup import SymbolFacts
from k2.ingestion.topic_plan import TopicPlan

LIVE = frozenset({"feed.symbols", "feed.streams", "feed.raw_streams"})
FILE_LOOKED_AT_EVERY_S = 1.0
NAMED = 10
MOST_DELISTED = 10  # at once, before it is asked whether the list can be whole

_log = get_logger("k2.service")

Stamp = tuple[int, int, int]
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
        self._started = self._settings = settings
        self._routing, self._feed, self._readings = routing, feed, readings
        self._reread, self._learn = reread, learn
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> None:
        """Read the settings anew and go over to what they want. What is wrong with them is logged, and nothing changes."""
        wanted = await self._read_anew()
        if wanted is None:
            return
        async with self._one_at_a_time:
            for name in fixed_differences(self._started, wanted):
                _log.warning("Changed in the settings, but needs a restart", option=name)
            _log.info("Settings reloaded", changed=live_differences(self._settings, wanted))
            await self._go_over(with_live_values(self._started, wanted))

    async def _read_anew(self) -> Settings | None:
        if self._reread is None:
            return None
        try:
            return await asyncio.to_thread(self._reread)
        except ConfigurationError as error:
            faults = error.faults
        except Exception as defect:  # noqa: BLE001 - whatever is in that file, the client goes on
            faults = (f"{type(defect).__name__}: {defect}",)
        for fault in faults:
            _log.error("Settings not reloaded", fault=fault)
        return None

    async def follow_listings(self, every_s: float) -> None:
        """Ask the exchange again and again what trades, for ever."""
        while True:
            await asyncio.sleep(every_s)
            async with self._one_at_a_time:
                if self._settings.feed.quote_assets:
                    await self._go_over(self._settings, careful=True)

    async def follow_file(self, path: Path, seen: Stamp | None) -> None:
        """Reload whenever the file differs from what was read of it, for ever."""
        while True:
            now = await asyncio.to_thread(stamp_of, path)
            if now is not None and now != seen:
                seen = now
                await self.reload()
            await asyncio.sleep(FILE_LOOKED_AT_EVERY_S)

    async def _go_over(self, settings: Settings, *, careful: bool = False) -> None:
        try:
            symbols = await self._learn(settings)
            self._want(settings, symbols, careful=careful)
        except K2Error as error:
            _log.error("Streams not changed", error=str(error))

    def _want(self, settings: Settings, symbols: SymbolFacts, *, careful: bool) -> None:
        topics, routing = settings.topics, self._routing
        # A stream whose topic is not written yet needs a restart, as was said.
        streams = [stream for stream in streams_for(settings, symbols.known) if any(plan.takes(stream) for plan in topics)]
        before = set(routing.names)
        removed = sorted(before.difference(stream.name for stream in streams))
        if not streams:
            raise ConfigurationError("--symbols: nothing would be left to stream")
        if careful and len(removed) > MOST_DELISTED and len(removed) > len(before) // 2:
            raise ConfigurationError(f"the exchange's list lacks {len(removed)} of {len(before)} streams at once: not believed")
        for name in routing.moved(streams, topics)[:NAMED]:
            _log.warning("Changed in the settings, but needs a restart", option=f"the topics of {name}")
        routing.want(streams, topics, symbols.quote_asset)
        self._settings = settings
        self._tell_readings(symbols)
        names = routing.names
        if before != set(names):
            self._feed.change(names)
            added = [name for name in names if name not in before]
            _log.info("Streams changed", streams=len(names), added=_some(added), removed=_some(removed))

    def _tell_readings(self, symbols: SymbolFacts) -> None:
        readings = self._readings
        readings.rows, readings.symbols = self._routing.rows, symbols.known
        readings.start.unknown_symbols = symbols.unknown
        readings.refused_streams.intersection_update(self._routing.names)


def live_differences(running: Settings, wanted: Settings) -> list[str]:
    """Names of the options that differ and can change while the client runs."""
    return _different([BY_KEY[key] for key in sorted(LIVE)], running, wanted)


def fixed_differences(started: Settings, wanted: Settings) -> list[str]:
    """What differs and cannot change while the client runs: names of options, and topics that are new or made otherwise."""
    options = _different([option for option in OPTIONS if option.key not in LIVE], started, wanted)
    ours = {plan.name: plan for plan in started.topics}
    differing = [plan.name for plan in wanted.topics if plan.name not in ours or _bare(plan) != _bare(ours[plan.name])]
    return options + [f"topic {name}" for name in differing]


def with_live_values(started: Settings, wanted: Settings) -> Settings:
    """
    The settings of the start with what of the others can be had without a restart.

    The topics stay those of the start, and take what the new settings put into them.
    """
    theirs = {plan.name: plan.streams for plan in wanted.topics}
    topics = tuple(replace(plan, streams=theirs.get(plan.name, plan.streams)) for plan in started.topics)
    feed = replace(
        started.feed,
        symbols=wanted.feed.symbols,
        quote_assets=wanted.feed.quote_assets,
        streams=wanted.feed.streams,
        raw_streams=wanted.feed.raw_streams,
    )
    return replace(started, feed=feed, topics=topics)


def _different(options: Iterable[Option], one: Settings, other: Settings) -> list[str]:
    return [option.name for option in options if value_of(one, option) != value_of(other, option)]


def _bare(plan: TopicPlan) -> TopicPlan:
    return replace(plan, streams=())


def _some(names: Sequence[str]) -> list[str]:
    return [*names[:NAMED], *([f"and {len(names) - NAMED} more"] if len(names) > NAMED else [])]


def stamp_of(path: Path) -> Stamp | None:
    """What changes when the file does; None while it is not there, as between the two halves of a replacement."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
