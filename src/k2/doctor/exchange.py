"""The exchange's WebSocket side: the way there, the handshake, and whether the configured streams bring what we can publish."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import structs

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Facts, Finding, away, ok, skipped, some, together, warning, wrong
from k2.doctor.listening import Heard, Listener
from k2.doctor.reaching import connect, resolve, shake_hands
from k2.doctor.rest import SET_CLOCK
from k2.doctor.troubles import Peer, refusal, trouble
from k2.doctor.wanted import one_of_each_address, wanted_streams
from k2.ingestion.adapters.feed.dial import endpoint
from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.port import ConnectFailedError, FrameSink, HandshakeRefusedError, Transport
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.connecting import endpoints, tls_context
from k2.ingestion.core.outcome import Reason
from k2.ingestion.exchanges.binance.symbols import quote_asset
from k2.ingestion.routing import Routing, outputs_for
from k2.ingestion.settings import FeedSettings, Settings

NO_SCHEMA_ID = 0  # what is encoded here goes nowhere


async def check_dns(context: Context, _: Findings) -> Finding:
    """The name of the first server on the way: the exchange's, or the proxy's."""
    return await resolve(_first_hop(context.settings.feed), context.timeout_s)


async def check_tcp(context: Context, _: Findings) -> Finding:
    return await connect(_first_hop(context.settings.feed), context.timeout_s)


async def check_tls(context: Context, _: Findings) -> Finding:
    feed = context.settings.feed
    if not feed.ws_url.startswith("wss:"):
        return ok("ws:// is not encrypted, so there is no certificate")
    if feed.proxy is not None:
        return ok("lies behind the proxy, so the handshake tells")
    return await shake_hands(_exchange(feed), tls_context(context.settings), context.timeout_s)


async def check_handshake(context: Context, _: Findings) -> Finding:
    """The upgrade to a WebSocket at every address that is connected to, by the transport that the client would take."""
    endpoint_of = endpoints(_in_time(context), _transport(context.settings))
    targets = [endpoint_of(name) for name in one_of_each_address(context.settings.feed)]
    return together({target.url: await _handshake(context, target) for target in targets}, "connection")


async def _handshake(context: Context, target: Endpoint) -> Finding:
    feed, transport, url = context.settings.feed, target.transport, target.url
    began_s = time.monotonic()
    try:
        link = await transport.open(url, _Nowhere(), target.options)
    except HandshakeRefusedError as refused:
        return refusal(refused.status, refused.retry_after_s, refused.detail, market=feed.market, option="--ws-url")
    except ConnectFailedError as failure:
        return trouble(failure, _exchange(feed))
    took_ms = round((time.monotonic() - began_s) * 1000)
    link.abort()
    await link.wait_closed()
    text = f"101 in {took_ms} ms by {transport.name} ({url})"
    return ok(text, facts={"url": url, "transport": transport.name, "took_ms": took_ms})


async def check_streams(context: Context, _: Findings) -> Finding:
    """The subscriptions, and the first event of every stream through the client's own pipeline."""
    settings, streams = context.settings, await wanted_streams(context)
    if not streams:
        return skipped("no stream belongs to this part of --shard")
    routing = Routing(settings, outputs_for(settings.topics, {plan.name: NO_SCHEMA_ID for plan in settings.topics}), quote_asset)
    routing.want(streams)
    listener = Listener(routing.pipeline)
    endpoint_of = endpoints(_in_time(context), _transport(settings))
    heard = await listener.listen(endpoint_of, context.timeout_s, settings.feed.streams_per_connection)
    return judge_streams(heard, len(streams), context.timeout_s)


def judge_streams(heard: Heard, streams: int, waited_s: float) -> Finding:
    """The finding on what was heard of so many streams. Pure."""
    silent, quiet = list(heard.silent), list(heard.quiet)
    facts = {
        "streams": streams, "silent": silent, "events": heard.events, "published": heard.published,
        "dead_letters": {reason.value: count for reason, count in heard.letters.items()},
        "first_after_ms": heard.first_after_ms, "lag_ms": heard.lag_ms, **({"quiet": quiet} if quiet else {}),
    }  # fmt: skip
    if heard.refusal:
        text = f"the exchange refuses to subscribe: {heard.refusal}"
        return wrong(text, "check --symbols, --streams and --ws-url", facts=facts)
    if heard.ended and (silent or not heard.acknowledged):
        advice = "look whether other clients behind this address break its limits; otherwise wait"
        return away(f"the exchange ended the connection ({heard.ended})", advice, facts=facts)
    if not heard.acknowledged:
        text = f"the subscription was not answered within {waited_s:g} s"
        return away(text, "check that --ws-url names an exchange", facts=facts)
    if heard.letters:
        return _judge_letters(heard, facts)
    if silent and len(silent) + len(quiet) == streams:
        advice = "check the spelling of --symbols, as unknown ones are acknowledged too; a quiet market needs a longer --timeout"
        return away(f"subscribed, but no event of {some(silent)} within {waited_s:g} s", advice, facts=facts)
    if silent:
        advice = "check their spelling; a quiet market needs a longer --timeout"
        return warning(f"{len(silent)} of {streams} streams brought no event: {some(silent)}", advice, facts=facts)
    return ok(_all_heard(streams, quiet, heard.first_after_ms), facts=facts)


def _all_heard(streams: int, quiet: Sequence[str], first_after_ms: int | None) -> str:
    if len(quiet) == streams:
        return f"subscribed to {some(quiet)}, which may stay silent for long"
    text = f"{streams - len(quiet)} of {streams} bring events that can be published, the first after {first_after_ms} ms"
    return text + (f"; {some(quiet)} may stay silent for long" if quiet else "")


def _judge_letters(heard: Heard, facts: Facts) -> Finding:
    count = heard.letters.total()
    advice = _LETTER_ADVICE.get(heard.letters.most_common(1)[0][0], "see that --ws-url, --market and --streams fit together")
    judged = warning if heard.published else wrong
    return judged(f"{count} of {heard.events} events would become dead letters ({heard.first_error})", advice, facts=facts)


_LETTER_ADVICE = {Reason.TIMESTAMP_OUT_OF_RANGE: SET_CLOCK}


class _Nowhere(FrameSink):
    """Where the frames of a link go that is opened to be closed."""

    def on_frame(self, frame: bytes, /) -> None: ...


def _exchange(feed: FeedSettings) -> Peer:
    return Peer(*endpoint(feed.ws_url), "--ws-url", "--ws-ca", "a ws:// address")


def _first_hop(feed: FeedSettings) -> Peer:
    return _exchange(feed) if feed.proxy is None else Peer(*endpoint(feed.proxy), "--proxy", "--ws-ca", "an http:// address")


def _transport(settings: Settings) -> Transport:
    return choose_transport(settings.feed.transport, settings.feed.compression)


def _in_time(context: Context) -> Settings:
    """The settings, except that no attempt to connect takes longer than we wait for any answer."""
    feed = context.settings.feed
    limit_s = min(feed.connect_timeout_s, context.timeout_s)
    return structs.replace(context.settings, feed=structs.replace(feed, connect_timeout_s=limit_s))
