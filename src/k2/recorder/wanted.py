"""Which streams are to be recorded, from what was asked for and the symbols that there are."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.rest import RestError
from k2.ingestion.connecting import rest_opener
from k2.ingestion.exchanges.binance.names import Stream
from k2.ingestion.exchanges.binance.symbols import trading_in
from k2.ingestion.routing import streams_for
from k2.ingestion.settings import Settings
from k2.ingestion.wishes import put_right
from k2.recorder.request import Request


async def wanted_streams(settings: Settings, request: Request) -> tuple[Stream, ...]:
    """
    The streams, each once, whether we can decode them or not.

    Raises:
        ConfigurationError: a wish cannot be the name of a stream, or nothing is left to record.
        UnavailableError: all symbols of a quote asset are wanted, and nobody tells which they are.
    """
    feed = settings.feed
    wishes = tuple(put_right(feed.market, wish) for wish in request.wishes) or feed.wishes
    of_these = replace(settings, feed=replace(feed, streams=wishes, raw_streams=()))
    try:
        streams = streams_for(of_these, await _symbols(settings))
    except ValueError as error:
        raise ConfigurationError(f"--streams: {error}") from error
    if not streams:
        raise ConfigurationError("--streams: there is nothing to record: no stream is wanted, or --shard leaves none")
    return streams


def rare_ones(streams: Iterable[Stream]) -> frozenset[str]:
    """The names of those whose silence is nothing unusual: they are rare, or unknown to us."""
    return frozenset(stream.name for stream in streams if stream.is_sparse)


async def _symbols(settings: Settings) -> tuple[str, ...]:
    feed = settings.feed
    if not feed.quote_assets:
        return feed.symbols
    open_rest, asked = rest_opener(settings), feed.every_symbol_of
    if open_rest is None:
        raise UnavailableError(f"--symbols {asked} needs the exchange's list of symbols: set --rest-url")
    try:
        async with open_rest() as rest:
            infos = await rest.exchange_info(())
    except RestError as error:
        raise UnavailableError(f"--symbols {asked} needs the exchange's list of symbols, and there is none: {error}") from error
    return feed.of_this_shard([*feed.symbols, *trading_in(feed.quote_assets, infos.values())])
