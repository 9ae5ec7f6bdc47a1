"""Which streams a client with these settings would receive now."""

from __future__ import annotations

from k2.doctor.checks import Context
from k2.errors import UnavailableError
from k2.ingestion.adapters.rest import RestClient, RestError, RestOptions
from k2.ingestion.adapters.state import peek
from k2.ingestion.connecting import tls_context
from k2.ingestion.exchanges.binance.names import Stream, is_full_name, stream_name
from k2.ingestion.exchanges.binance.symbols import SymbolInfo, trading_in
from k2.ingestion.exchanges.binance.urls import stream_url
from k2.ingestion.routing import streams_for
from k2.ingestion.settings import FeedSettings
from k2.ingestion.startup import SYMBOLS_VERSION, symbols_document, symbols_in

_ANY_SYMBOL = "any"  # the way to the exchange does not depend on it


def one_of_each_address(feed: FeedSettings) -> list[str]:
    """For every address that is connected to the name of a stream that leads there. No symbol need be known for it."""
    names = [wish if is_full_name(wish) else stream_name(_ANY_SYMBOL, wish) for wish in feed.wishes]
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(stream_url(feed.ws_url, name), name)
    return list(found.values())


def rest_client(context: Context) -> RestClient:
    """For settings that name a REST address."""
    feed = context.settings.feed
    tls = tls_context(context.settings) if str(feed.rest_url).startswith("https:") else None
    return RestClient(str(feed.rest_url), feed.market, RestOptions(tls=tls, proxy=feed.proxy, timeout_s=context.timeout_s))


async def wanted_streams(context: Context) -> tuple[Stream, ...]:
    """
    The streams of this instance's symbols.

    Raises:
        UnavailableError: all symbols of a quote asset are wanted, and nobody tells which they are.
    """
    settings, feed = context.settings, context.settings.feed
    if not feed.quote_assets:
        return streams_for(settings, feed.symbols)
    listed = trading_in(feed.quote_assets, (await _known_symbols(context)).values())
    if not listed:
        raise UnavailableError(f"nobody tells which symbols --symbols {feed.every_symbol_of} means; check --rest-url")
    return streams_for(settings, feed.of_this_shard((*feed.symbols, *listed)))


async def _known_symbols(context: Context) -> dict[str, SymbolInfo]:
    """What the exchange lists, else what a client remembers of that."""
    settings, feed = context.settings, context.settings.feed
    if feed.rest_url is not None:
        async with rest_client(context) as rest:
            try:
                return await rest.exchange_info(())
            except RestError:
                pass  # another check is about it
    return symbols_in(peek(settings.state_dir, symbols_document(feed.market), SYMBOLS_VERSION))
