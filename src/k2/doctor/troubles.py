"""
What went wrong on the way to a server, and what to do about it: network, TLS, and refusals by HTTP status. Pure.

The texts say what the libraries do not: which name is meant, whose certificate, which option.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from k2.doctor.findings import Finding, away, wrong
from k2.ingestion.adapters.feed.faults import describe, failure_kind
from k2.ingestion.adapters.feed.port import ConnectFailedError, ConnectFailure
from k2.ingestion.adapters.rest import RestError
from k2.ingestion.exchanges.binance.urls import Market


class Peer(Struct, frozen=True):
    """
    A server as an operator knows it.

    Attributes:
        option: The option that names its address.
        ca_option: The option that names the authorities to trust for it.
        without_tls: How to go there without TLS.
    """

    host: str
    port: int
    option: str
    ca_option: str
    without_tls: str

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def trouble(error: BaseException, peer: Peer) -> Finding:
    """The failure that an exception on the way to a server stands for."""
    for cause in reversed(list(_causes(error))):  # the innermost knows most: aiohttp wraps a TLS error in one that is one too
        if isinstance(cause, ssl.SSLError):
            return tls_trouble(cause, peer)
        if isinstance(cause, socket.gaierror):
            return _name_trouble(cause, peer)
    if isinstance(error, ConnectFailedError | RestError):
        return _NETWORK[_KINDS.get(error.kind.value, ConnectFailure.PROTOCOL)](peer, error.detail)
    root = _system_error_behind(error) or error
    return _NETWORK[failure_kind(root)](peer, describe(root))


def trouble_behind(error: BaseException, peer: Peer) -> Finding | None:
    """The failure on the way to a server that another error wraps; None where the server was reached."""
    return None if _system_error_behind(error) is None else trouble(error, peer)


def tls_trouble(error: ssl.SSLError, peer: Peer) -> Finding:
    """The failure that a TLS handshake ended with."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text, advice = _CERTIFICATE.get(error.verify_code, (f"is not trusted ({error.verify_message})", _NAME_AUTHORITY))
        return wrong(
            f"the certificate of {peer.address} {text}", advice.format(peer.ca_option), facts={"verify_code": error.verify_code}
        )
    if error.reason in _NOT_TLS:
        return wrong(f"{peer.address} does not speak TLS", _another_port(peer))
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return hung_up(peer)
    advice = f"check that nothing stands between, and that {peer.option} names the right port"
    return wrong(f"no TLS with {peer.address}: {error.reason or describe(error)}", advice)


def hung_up(peer: Peer) -> Finding:
    """The failure of a TLS handshake that the server broke off: what one does that does not speak TLS, or does not want us."""
    return wrong(f"{peer.address} breaks the TLS handshake off", _another_port(peer))


def no_handshake(peer: Peer) -> Finding:
    """The failure of a TLS handshake that the server did not answer."""
    return away(
        f"{peer.address} does not answer the TLS handshake", f"the server hangs, or does not speak TLS: {_another_port(peer)}"
    )


def _another_port(peer: Peer) -> str:
    return f"name its TLS port in {peer.option}, or take {peer.without_tls}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__  # some libraries wrap an error without naming it as the cause


def _system_error_behind(error: BaseException) -> OSError | None:
    return next((cause for cause in _causes(error) if isinstance(cause, OSError)), None)


# By OpenSSL's X509_V_ERR_ code.
_NAME_AUTHORITY = "where it has an authority of your own, name that with {}; otherwise somebody stands between"
_NAME_ITSELF = "if that is your own server, name its certificate with {}; otherwise somebody stands between"
_CERTIFICATE: Mapping[int, tuple[str, str]] = MappingProxyType({
    9: ("is not valid yet", "check the clock of this machine: timedatectl status"),
    10: ("has expired", "have it renewed, and check the clock of this machine: timedatectl status"),
    18: ("is self-signed", _NAME_ITSELF),
    19: ("comes from an authority that is not trusted here", _NAME_AUTHORITY),
    20: ("comes from an authority that is not trusted here", _NAME_AUTHORITY),
    21: ("comes without its chain, or from an authority that is not trusted here", _NAME_AUTHORITY),
    62: ("is for another host name", "name the server as its certificate does, or have one issued for this name"),
    64: ("is for another address", "name the server as its certificate does, or have one issued for this address"),
})  # fmt: skip
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)

# What the resolver says about a name that does not exist, as opposed to a resolver that does not answer.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def _name_trouble(error: socket.gaierror, peer: Peer) -> Finding:
    look_up = f"getent hosts {peer.host}"
    if error.errno in _NO_SUCH_NAME:
        return wrong(f"there is no host {peer.host}", f"check the spelling in {peer.option}, then the name servers", look_up)
    return away(f"{peer.host} cannot be looked up ({error.strerror})", "check the name servers in /etc/resolv.conf", look_up)


def _refused(peer: Peer, detail: str) -> Finding:
    advice = f"check {peer.option}; where that is right, the server is down"
    return away(f"nobody listens at {peer.address}", advice, facts={"cause": detail})


def _timed_out(peer: Peer, detail: str) -> Finding:
    advice = f"the server hangs, or a firewall drops packets: look there, and check {peer.option}"
    return away(f"no answer from {peer.address} in time", advice, facts={"cause": detail})


def _reset(peer: Peer, detail: str) -> Finding:
    advice = f"look at its log, and for a firewall or proxy that cuts connections; check {peer.option}"
    return away(f"{peer.address} broke the connection off", advice, facts={"cause": detail})


def _no_protocol(peer: Peer, detail: str) -> Finding:
    return wrong(f"{peer.address} does not answer as expected: {detail}", f"check {peer.option}: something else listens there")


def _other_tls(peer: Peer, detail: str) -> Finding:
    return wrong(f"no TLS with {peer.address}: {detail}", f"check {peer.option} and {peer.ca_option}")


def _other_name(peer: Peer, _: str) -> Finding:
    return wrong(f"{peer.host} is no host name", f"correct {peer.option}")


_KINDS = {kind.value: kind for kind in ConnectFailure}
_NETWORK: Mapping[ConnectFailure, Callable[[Peer, str], Finding]] = MappingProxyType({
    ConnectFailure.DNS: _other_name,
    ConnectFailure.REFUSED: _refused,
    ConnectFailure.TIMEOUT: _timed_out,
    ConnectFailure.TLS: _other_tls,
    ConnectFailure.RESET: _reset,
    ConnectFailure.PROTOCOL: _no_protocol,
})  # fmt: skip


class Refusal(Struct, frozen=True):
    """What an HTTP status of the exchange means. `waiting_helps` tells whether it passes by itself."""

    text: str
    advice: str
    waiting_helps: bool


_MARKET_DATA_ONLY = "stream from the market-data-only host, which may serve it: --ws-url wss://data-stream.binance.vision"
_ELSEWHERE = "run the client where the exchange serves it: futures have no market-data-only host"
_REFUSALS: Mapping[int, Refusal] = MappingProxyType({
    403: Refusal("its firewall refuses this request",
                 "see that no proxy alters requests, and that this address is not of a range that the exchange blocks", False),
    407: Refusal("the proxy asks for a log-in", "name a proxy that asks for none with --proxy", False),
    418: Refusal("this address is banned for a while",
                 "stop every client behind this address until then: each attempt makes the ban longer", True),
    429: Refusal("too many requests from this address", "stop other clients behind this address, and wait", True),
    451: Refusal("a restricted location: the exchange does not serve it", _MARKET_DATA_ONLY, False),
})  # fmt: skip
_SERVER_ERROR = Refusal("the exchange has a trouble of its own", "wait; its state is on https://www.binance.com/en/status", True)
_NO_WEBSOCKET = Refusal(
    "no such endpoint, or no exchange at all", "check {option}: maybe a web page or a portal answers there", False
)
_RESTRICTED, _FIRST_SERVER_ERROR = 451, 500


def refusal(status: int, retry_after_s: float | None, detail: str, *, market: str, option: str) -> Finding:
    """The failure that an answer with this HTTP status stands for. `detail` is what the exchange said."""
    met = _REFUSALS.get(status) or (_SERVER_ERROR if status >= _FIRST_SERVER_ERROR else _NO_WEBSOCKET)
    advice = _ELSEWHERE if status == _RESTRICTED and market == Market.USDM else met.advice.format(option=option)
    until = "" if retry_after_s is None else f", for {retry_after_s:.0f} s more"
    said = f" ({_message_in(detail)})" if detail else ""
    judged = away if met.waiting_helps else wrong
    return judged(
        f"HTTP {status}: {met.text}{until}{said}", advice, facts={"http_status": status, "retry_after_s": retry_after_s}
    )


class _Body(Struct):
    msg: str


def _message_in(detail: str) -> str:
    """The exchange's own words, where an answer's body holds them in its usual form."""
    try:
        return msgspec.json.decode(detail, type=_Body).msg
    except msgspec.MsgspecError:
        return detail
