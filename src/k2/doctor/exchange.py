"""The exchange's WebSocket side: the way there, the handshake, and whether the configured streams bring what we can publish."""

from __future__ import annotations

import time

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, away, ok, some, warning, wrong
from k2.doctor.listening import Heard, Listener
from k2.doctor.reaching import connect, resolve, shake_hands
from k2.doctor.rest import SET_CLOCK
from k2.doctor.troubles import Peer, refusal, trouble
from k2.ingestion.adapters.feed.dial import endpoint
from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.port import ConnectFailedError, FrameSink, HandshakeRefusedError, LinkOptions
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.core.outcome import Reason
from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.streams import KINDS, build_rows
from k2.ingestion.exchanges.binance.symbols import quote_asset
from k2.ingestion.exchanges.binance.urls import dial_url
from k2.ingestion.service import tls_context
from k2.ingestion.settings import FeedSettings

NO_SCHEMA_ID = 0  # what is encoded here goes nowhere


async def check_dns(context: Context, _: Findings) -> Finding:
    """The name of the first server on the way: the exchange's, or the proxy's."""
    return await resolve(_first_hop(context.settings.feed), context.timeout_s)


async def check_tcp(context: Context, _: Findings) -> Finding:
    return await connect(_first_hop(context.settings.feed), context.timeout_s)


async def check_tls(context: Context, _: Findings) -> Finding:
    feed = context.settings.feed
    if not _url(feed).startswith("wss:"):
        return ok("ws:// is not encrypted, so there is no certificate")
    if feed.proxy is not None:
        return ok("lies behind the proxy, so the handshake tells")
    return await shake_hands(_exchange(feed), tls_context(context.settings), context.timeout_s)


async def check_handshake(context: Context, _: Findings) -> Finding:
    """The upgrade to a WebSocket, by the transport that the client would take."""
    feed = context.settings.feed
    target = _endpoint(context)
    began_s = time.monotonic()
    try:
        link = await target.transport.open(target.url, _Nowhere(), target.options)
    except HandshakeRefusedError as refused:
        return refusal(refused.status, refused.retry_after_s, refused.detail, market=feed.market, option="--ws-url")
    except ConnectFailedError as failure:
        return trouble(failure, _exchange(feed))
    took_ms = round((time.monotonic() - began_s) * 1000)
    link.abort()
    await link.wait_closed()
    text = f"101 in {took_ms} ms by {target.transport.name} ({target.url})"
    return ok(text, facts={"url": target.url, "transport": target.transport.name, "took_ms": took_ms})


async def check_streams(context: Context, _: Findings) -> Finding:
    """The subscription, and the first event of every stream through the client's own pipeline."""
    listener = Listener(_pipeline(context))
    heard = await listener.listen(_endpoint(context), context.timeout_s)
    return judge_streams(heard, len(context.settings.feed.symbols), context.timeout_s)


def judge_streams(heard: Heard, streams: int, waited_s: float) -> Finding:
    """The finding on what was heard of so many streams. Pure."""
    silent = list(heard.silent)
    facts = {
        "streams": streams, "silent": silent, "events": heard.events, "published": heard.published,
        "dead_letters": {reason.value: count for reason, count in heard.letters.items()},
        "first_after_ms": heard.first_after_ms, "lag_ms": heard.lag_ms,
    }  # fmt: skip
    if heard.refusal:
        return wrong(f"the exchange refuses to subscribe: {heard.refusal}", "check --symbols, --stream and --ws-url", facts=facts)
    if heard.ended and silent:
        advice = "look whether other clients behind this address break its limits; otherwise wait"
        return away(f"the exchange ended the connection ({heard.ended})", advice, facts=facts)
    if not heard.acknowledged:
        text = f"the subscription was not answered within {waited_s:g} s"
        return away(text, "check that --ws-url names an exchange", facts=facts)
    if heard.letters:
        return _judge_letters(heard, facts)
    if len(silent) == streams:
        advice = "check the spelling of --symbols, as unknown ones are acknowledged too; a quiet market needs a longer --timeout"
        return away(f"subscribed, but no event of {some(silent)} within {waited_s:g} s", advice, facts=facts)
    if silent:
        advice = "check their spelling; a quiet market needs a longer --timeout"
        return warning(f"{len(silent)} of {streams} streams brought no event: {some(silent)}", advice, facts=facts)
    text = f"{streams} of {streams} bring events that can be published, the first after {heard.first_after_ms} ms"
    return ok(text, facts=facts)


def _judge_letters(heard: Heard, facts: dict[str, object]) -> Finding:
    count = heard.letters.total()
    advice = _LETTER_ADVICE.get(heard.letters.most_common(1)[0][0], "see that --ws-url, --market and --stream fit together")
    judged = warning if heard.published else wrong
    return judged(f"{count} of {heard.events} events would become dead letters ({heard.first_error})", advice, facts=facts)


_LETTER_ADVICE = {Reason.TIMESTAMP_OUT_OF_RANGE: SET_CLOCK}


class _Nowhere(FrameSink):
    """Where the frames of a link go that is opened to be closed."""

    def on_frame(self, frame: bytes, /) -> None: ...


def _url(feed: FeedSettings) -> str:
    return dial_url(feed.ws_url, feed.stream)


def _exchange(feed: FeedSettings) -> Peer:
    return Peer(*endpoint(_url(feed)), "--ws-url", "--ws-ca", "a ws:// address")


def _first_hop(feed: FeedSettings) -> Peer:
    return _exchange(feed) if feed.proxy is None else Peer(*endpoint(feed.proxy), "--proxy", "--ws-ca", "an http:// address")


def _endpoint(context: Context) -> Endpoint:
    feed = context.settings.feed
    url = _url(feed)
    options = LinkOptions(
        open_timeout_s=min(feed.connect_timeout_s, context.timeout_s),
        tls=tls_context(context.settings) if url.startswith("wss:") else None,
        proxy=feed.proxy,
        compression=feed.compression,
    )
    return Endpoint(url, choose_transport(feed.transport, feed.compression), options)


def _pipeline(context: Context) -> Pipeline:
    feed = context.settings.feed
    kind = KINDS[feed.market, feed.stream]
    schema = load_schema(kind.schema_name).parsed
    return Pipeline(build_rows(kind, feed.symbols, quote_asset, context.settings.topic, schema, NO_SCHEMA_ID))
