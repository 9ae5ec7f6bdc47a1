"""
Binance's control messages on a WebSocket: what a client asks, and what the exchange answers. Pure.

Source: binance-spot-api-docs, web-socket-streams.md, "Live Subscribing/Unsubscribing to streams". The nested shape of errors is
what the server really sends; the documentation prints the bare one.

`{"ping": n}` is answered with `{"pong": n}`, for those who try a connection by hand with wscat. That is an addition: the real
exchange knows no such message and refuses it as a request without a method. Its pings are WebSocket's own frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

ErrorShape = Literal["nested", "bare"]

_MAX_ID_CHARACTERS = 36
_INT64 = range(-(2**63), 2**63)


class NotJsonError(Exception):
    """The client sent text that is no JSON. The exchange closes the connection on it."""


class Subscriptions(Struct):
    """What one connection asked for. Streams keep the order in which they came; the values mean nothing."""

    combined: bool
    max_streams: int
    streams: dict[str, None] = {}

    def add(self, names: list[str]) -> bool:
        """False, and nothing changed, when that were more streams than a connection may have."""
        together = self.streams | dict.fromkeys(names)
        if len(together) > self.max_streams:
            return False
        self.streams = together
        return True

    def remove(self, names: list[str]) -> None:
        for name in names:
            self.streams.pop(name, None)


class _RequestError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def answer(text: str | bytes, subscriptions: Subscriptions, shape: ErrorShape = "nested") -> bytes:
    """
    Carry out a control message on `subscriptions` and return the reply.

    Raises:
        NotJsonError: the text is no JSON at all.
    """
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJsonError(str(error)) from error
    if isinstance(request, dict) and request.keys() == {"ping"}:
        return msgspec.json.encode({"pong": request["ping"]})
    request_id = _id_of(request)
    try:
        return msgspec.json.encode({"result": _carry_out(request, subscriptions), "id": request_id})
    except _RequestError as error:
        return _refusal(error, request_id, shape)


def _refusal(error: _RequestError, request_id: int | str | None, shape: ErrorShape) -> bytes:
    body = {"code": error.code, "msg": str(error)}
    return msgspec.json.encode({"error": body, "id": request_id} if shape == "nested" else {**body, "id": request_id})


def _id_of(request: Any) -> int | str | None:
    given = request.get("id") if isinstance(request, dict) else None
    return given if _is_id(given) else None


def _is_id(given: Any) -> bool:
    if isinstance(given, str):
        return len(given) <= _MAX_ID_CHARACTERS and given.isalnum()
    return given is None or (type(given) is int and given in _INT64)


def _carry_out(request: Any, subscriptions: Subscriptions) -> Any:
    if not isinstance(request, dict):
        raise _RequestError(2, "Invalid request: expected an object")
    if not _is_id(request.get("id")):
        raise _RequestError(2, "Invalid request: request ID must be a signed integer, an alphanumeric string or null")
    if "method" not in request:
        raise _RequestError(2, "Invalid request: missing field `method`")
    method = _METHODS.get(request["method"]) if isinstance(request["method"], str) else None
    if method is None:
        raise _RequestError(2, f"Invalid request: unknown variant `{request['method']}`, expected one of {', '.join(_METHODS)}")
    return method(request.get("params"), subscriptions)


def _subscribe(params: Any, subscriptions: Subscriptions) -> None:
    if not subscriptions.add(_names(params)):
        raise _RequestError(2, f"Invalid request: more than {subscriptions.max_streams} streams on one connection")


def _unsubscribe(params: Any, subscriptions: Subscriptions) -> None:
    subscriptions.remove(_names(params))


def _list(_params: Any, subscriptions: Subscriptions) -> list[str]:
    return list(subscriptions.streams)


def _set_property(params: Any, subscriptions: Subscriptions) -> None:
    name, *values = _property(params)
    if len(values) != 1 or not isinstance(values[0], bool):
        raise _RequestError(1, f"Invalid value type: expected Boolean for `{name}`")
    subscriptions.combined = values[0]


def _get_property(params: Any, subscriptions: Subscriptions) -> bool:
    _property(params)
    return subscriptions.combined


def _property(params: Any) -> list[Any]:
    if not isinstance(params, list) or not params:
        raise _RequestError(2, "Invalid request: `params` must be an array that begins with a property")
    if params[0] != "combined":
        raise _RequestError(0, f"Unknown property: {params[0]}")
    return params


def _names(params: Any) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise _RequestError(2, "Invalid request: `params` must be an array of stream names")
    return params


_METHODS: dict[str, Callable[[Any, Subscriptions], Any]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "LIST_SUBSCRIPTIONS": _list,
    "SET_PROPERTY": _set_property,
    "GET_PROPERTY": _get_property,
}
