"""The exchange's REST API, as far as we need it. The only importer of the HTTP client."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp
import msgspec
from msgspec import Struct

from k2.ingestion.adapters.feed.dial import USER_AGENT
from k2.ingestion.adapters.feed.faults import describe, excerpt, failure_kind, retry_after_s, without_credentials
from k2.ingestion.exchanges.binance.symbols import SymbolInfo, parse_exchange_info
from k2.ingestion.exchanges.binance.urls import Market

MAX_BODY_BYTES = 64 * 1024 * 1024  # the whole list of spot symbols is some 20 MB
_CHUNK_BYTES = 64 * 1024
_UNKNOWN_SYMBOL_CODE = -1121
_SUCCESS = range(200, 300)
_USED_WEIGHT = re.compile(r"x-mbx-used-weight-\d+m", re.IGNORECASE)


class RestFailure(StrEnum):
    """Why a request failed. A closed set, fit for a metric's label; the first six are those of a feed's connection."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"
    PROTOCOL = "protocol"  # an answer that is not what the API answers with: HTML, a cut body, a redirect
    TOO_LARGE = "too_large"
    REJECTED = "rejected"  # our request is at fault: 4xx
    FORBIDDEN = "forbidden"  # 403, the firewall
    BANNED = "banned"  # 418
    THROTTLED = "throttled"  # 429
    RESTRICTED = "restricted"  # 451, this location is not served
    SERVER_ERROR = "server_error"  # 5xx


_BY_STATUS: Mapping[int, RestFailure] = MappingProxyType(
    {
        403: RestFailure.FORBIDDEN,
        418: RestFailure.BANNED,
        429: RestFailure.THROTTLED,
        451: RestFailure.RESTRICTED,
    }
)
_BY_CLASS: Mapping[int, RestFailure] = MappingProxyType({4: RestFailure.REJECTED, 5: RestFailure.SERVER_ERROR})


class RestError(Exception):
    """
    A request without a usable answer.

    `status` is the HTTP status where there was one; `retry_after_s` what the server asked for; `code` the exchange's own error
    number where it gave one.
    """

    def __init__(
        self,
        kind: RestFailure,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(f"{kind}{f' (HTTP {status})' if status else ''}: {detail}")
        self.kind, self.detail, self.status, self.retry_after_s, self.code = kind, detail, status, retry_after_s, code


class RestOptions(Struct, frozen=True):
    """How to reach the API. `tls` None means the system's certificates; `proxy` is never taken from the environment."""

    tls: ssl.SSLContext | None = None
    proxy: str | None = None
    timeout_s: float = 10.0
    max_body_bytes: int = MAX_BODY_BYTES


class _Paths(Struct, frozen=True):
    time: str
    exchange_info: str
    klines: str
    takes_symbols: bool  # futures ignore the parameter and send the whole list


_PATHS: Mapping[str, _Paths] = MappingProxyType(
    {
        Market.SPOT: _Paths("/api/v3/time", "/api/v3/exchangeInfo", "/api/v3/klines", takes_symbols=True),
        Market.USDM: _Paths("/fapi/v1/time", "/fapi/v1/exchangeInfo", "/fapi/v1/klines", takes_symbols=False),
    }
)


class _Refusal(Struct):
    """The exchange's error body."""

    code: int
    msg: str = ""


class _ServerTime(Struct, rename="camel"):
    server_time: int


class RestClient:
    """
    One client for one market's REST server.

    Opens its session with the first request; `close` it, or use it as an asynchronous context. `used_weight` is what the
    exchange last said that this address has spent of its allowance this minute, None before the first answer.
    """

    def __init__(self, base_url: str, market: str, options: RestOptions | None = None) -> None:
        self._base_url, self._options, self._paths = base_url.rstrip("/"), options or RestOptions(), _PATHS[market]
        self._session: aiohttp.ClientSession | None = None
        self.used_weight: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def server_time_ms(self) -> int:
        """
        The exchange's clock, in milliseconds since the Unix epoch.

        Raises:
            RestError: no usable answer.
        """
        body = await self._get(self._paths.time, {})
        try:
            return msgspec.json.decode(body, type=_ServerTime).server_time
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            raise RestError(RestFailure.PROTOCOL, f"no time ({fault}): {excerpt(body)}") from fault

    async def exchange_info(self, symbols: Sequence[str]) -> dict[str, SymbolInfo]:
        """
        What the exchange knows about `symbols`; on futures, or where one of them is unknown, about all symbols.

        Raises:
            RestError: no usable answer.
        """
        if not (self._paths.takes_symbols and symbols):
            return await self._exchange_info({})
        try:
            return await self._exchange_info(_spot_parameters(symbols))
        except RestError as error:
            # One unknown symbol spoils the whole request, and the answer does not say which.
            if error.code != _UNKNOWN_SYMBOL_CODE:
                raise
            return await self._exchange_info({"showPermissionSets": "false"})

    async def klines(self, parameters: Mapping[str, str]) -> bytes:
        """
        Candles of the past, as the exchange answers for these parameters.

        Raises:
            RestError: no usable answer.
        """
        return await self._get(self._paths.klines, parameters)

    async def _exchange_info(self, parameters: Mapping[str, str]) -> dict[str, SymbolInfo]:
        body = await self._get(self._paths.exchange_info, parameters)
        try:
            return parse_exchange_info(body)
        except ValueError as fault:
            raise RestError(RestFailure.PROTOCOL, f"no list of symbols ({fault}): {excerpt(body)}") from fault

    async def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        try:
            async with self._open_session().get(
                self._base_url + path, params=parameters, proxy=self._options.proxy, allow_redirects=False
            ) as response:
                self._note_weight(response.headers)
                body = await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise self._unreachable(fault) from fault
        if response.status not in _SUCCESS:
            raise _as_error(response.status, response.headers.get("Retry-After"), body)
        return body

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._options.tls or True),
                timeout=aiohttp.ClientTimeout(total=self._options.timeout_s),
                headers={"User-Agent": USER_AGENT},
                trust_env=False,
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):  # decompressed, so that a bomb is bounded too
            body += chunk
            if len(body) > self._options.max_body_bytes:
                response.close()
                limit = self._options.max_body_bytes
                raise RestError(
                    RestFailure.TOO_LARGE, f"more than {limit} bytes from {response.url.path}", status=response.status
                )
        return bytes(body)

    def _note_weight(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if _USED_WEIGHT.fullmatch(name) and value.isascii() and value.isdigit():
                self.used_weight = int(value)

    def _unreachable(self, fault: Exception) -> RestError:
        kind = RestFailure(failure_kind(_root(fault)).value)
        shown = without_credentials(self._base_url, self._base_url)
        return RestError(kind, f"{shown}: {describe(fault, self._options.proxy)}")


def _spot_parameters(symbols: Sequence[str]) -> dict[str, str]:
    names = [symbol.upper() for symbol in symbols]
    return {"symbols": msgspec.json.encode(names).decode(), "showPermissionSets": "false"}


def _root(fault: Exception) -> BaseException:
    """The error underneath, where aiohttp only wraps it."""
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        return fault.certificate_error
    if isinstance(fault, aiohttp.ClientConnectorError):
        return fault.os_error
    if isinstance(fault, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        return ConnectionResetError()
    return fault


def _as_error(status: int, retry_after: str | None, body: bytes) -> RestError:
    kind = _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, RestFailure.PROTOCOL)
    refusal = _refusal_in(body)
    detail = refusal.msg if refusal else excerpt(body)
    code = refusal.code if refusal else None
    return RestError(kind, detail or "no explanation", status=status, retry_after_s=retry_after_s(retry_after), code=code)


def _refusal_in(body: bytes) -> _Refusal | None:
    try:
        return msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
