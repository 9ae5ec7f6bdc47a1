"""How the client reaches the exchange, from its settings: addresses, TLS, transport, pace."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.policy import FeedPolicy, never_silent
from k2.ingestion.adapters.feed.port import LinkOptions, Transport
from k2.ingestion.adapters.logs import get_logger
from k2.ingestion.adapters.rest import RestClient, RestOptions
from k2.ingestion.exchanges.binance.urls import stream_url
from k2.ingestion.settings import Settings

_log = get_logger("k2.service")


def endpoints(settings: Settings, transport: Transport) -> Callable[[str], Endpoint]:
    """Where the connection for a stream leads, by the stream's name."""
    feed = settings.feed
    told: set[str] = set()
    tls = tls_context(settings) if feed.ws_url.startswith("wss:") else None
    options = LinkOptions(open_timeout_s=feed.connect_timeout_s, tls=tls, proxy=feed.proxy, compression=feed.compression)

    def endpoint_of(stream: str) -> Endpoint:
        url = stream_url(feed.ws_url, stream)
        if url not in told:
            told.add(url)
            if url != feed.ws_url:
                _log.info("The address is dialled as a combined stream", ws_url=feed.ws_url, dialled=url)
        return Endpoint(url, transport, options)

    return endpoint_of


def feed_policy(settings: Settings, *, may_be_silent: Callable[[str], bool] = never_silent) -> FeedPolicy:
    """How a connection behaves. `may_be_silent` tells of a stream's name whether rare events are all that it has."""
    given = settings.feed
    return FeedPolicy(
        reconnect_min_s=given.reconnect_delay_min_s,
        reconnect_max_s=given.reconnect_delay_max_s,
        heartbeat_interval_s=given.heartbeat_interval_s,
        idle_ping_after_s=given.idle_ping_after_s,
        pong_timeout_s=given.pong_timeout_s,
        silence_timeout_s=given.silence_timeout_s,
        give_up_after=given.give_up_after,
        may_be_silent=may_be_silent,
    )


def rest_opener(settings: Settings) -> Callable[[], RestClient] | None:
    """
    Opens the exchange's REST API, as often as it is called; None where REST is off. The authorities are read once, here.

    Raises:
        ConfigurationError: as `tls_context`.
    """
    feed = settings.feed
    if feed.rest_url is None:
        return None
    return partial(RestClient, feed.rest_url, feed.market, RestOptions(tls=tls_context(settings), proxy=feed.proxy))


def tls_context(settings: Settings) -> ssl.SSLContext:
    """
    Verifying always: certificate chain and host name.

    Raises:
        ConfigurationError: the file of authorities cannot be read as PEM.
    """
    try:
        return ssl.create_default_context(cafile=settings.feed.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"--ws-ca: {settings.feed.ca_file} holds no certificates in PEM form: {error}") from error
