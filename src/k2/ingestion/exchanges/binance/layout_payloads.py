"""
The layouts that carry the exchange's own message: `event` and `envelope`.

The bytes of the payload are cut out of the frame and put into the value. Nothing is parsed and printed again, so every digit and
every field that we do not know yet is there. Its numbers are not checked either: it is the payload as it came, and decoding has
checked its types. Only bytes that are no UTF-8, which no JSON may hold, become U+FFFD; they can come in unknown fields alone.

`event` puts its own keys behind those of the exchange: `ingestion_timestamp` (milliseconds), `source`, `event_type`. In front of
these stand `stream` where the payload has no `e`, for then only its stream tells what it is, and `symbol` where it has no `s`. If
the exchange ever sends a key of such a name, the exchange's stays and ours is called `k2_source`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from k2.ingestion.core.rows import Writer
from k2.ingestion.exchanges.binance.kinds import StreamKind
from k2.ingestion.exchanges.binance.names import stream_name
from k2.ingestion.exchanges.binance.streams import Subject

_STAMPS = ("ingestion_timestamp", "source", "event_type")
_OURS = frozenset(("stream", "symbol", *_STAMPS))
_TAKEN = "k2_"
# Keys of a payload that stand for all with and without `e` and `s`. Without both it is a book's best levels.
_USUAL = {(True, True): ("e", "s"), (True, False): ("e",), (False, True): ("s",), (False, False): ("lastUpdateId",)}


class _Envelope(Struct, gc=False):
    data: Raw


_envelope = msgspec.json.Decoder(_Envelope).decode
_keys = msgspec.json.Decoder(dict[str, Raw]).decode
_json = msgspec.json.encode


def event_writer(subject: Subject, _topic: str) -> Writer:
    """Writes the exchange's message with our keys at its end."""
    values = {
        "stream": _json(stream_name(subject.symbol, subject.spec)),
        "symbol": _json(subject.symbol),
        "source": b'"binance_websocket"',
        "event_type": _json(_kind(subject).event_name),
    }
    usual = {has: _ending(keys, values) for has, keys in _USUAL.items()}

    def write(_event: object, received_at_us: int, frame: bytes) -> bytes:
        data = _payload(frame)
        keys = _keys(data)
        ending = usual["e" in keys, "s" in keys] if keys and _OURS.isdisjoint(keys) else _ending(keys, values)
        return data[:-1] + ending % (received_at_us // 1000)

    return write


def event_original(value: Mapping[str, Any]) -> dict[str, Any]:
    """The exchange's message: the keys of a value, in their order, without those at its end that are ours."""
    ours = len(_STAMPS) + ("e" not in value) + ("s" not in value)
    return dict(list(value.items())[:-ours])


def envelope_writer(subject: Subject, topic: str) -> Writer:
    """Writes the exchange's message inside an envelope."""
    constants = {
        "source": "binance",
        "data_version": "v1",
        "symbol": subject.symbol.upper(),
        "stream_type": _kind(subject).name,
        "topic": topic,
    }
    rest = b"," + _json(constants)[1:]

    def write(_event: object, received_at_us: int, frame: bytes) -> bytes:
        return b'{"original_data":%b,"ingestion_timestamp":%d%b' % (_payload(frame), received_at_us // 1000, rest)

    return write


def envelope_original(value: Mapping[str, Any]) -> dict[str, Any]:
    """The exchange's message."""
    return dict(value["original_data"])


def _kind(subject: Subject) -> StreamKind:
    kind = subject.kind
    assert kind is not None  # noqa: S101 - for the type checker: what is not decoded goes into no layout
    return kind


def _payload(frame: bytes) -> bytes:
    """The bytes of the frame's `data`, wherever in the frame they stand."""
    data = bytes(_envelope(frame).data)
    return data if data.isascii() else data.decode("utf-8", "replace").encode()


def _ending(keys: Collection[str], values: Mapping[str, bytes]) -> bytes:
    """What takes the place of the last brace behind these keys. `%d` stands for the time of receipt."""
    named_by_stream = (["stream"] if "e" not in keys else []) + (["symbol"] if "s" not in keys else [])
    texts = {name: value.replace(b"%", b"%%") for name, value in values.items()} | {"ingestion_timestamp": b"%d"}
    members = [b'"%b":%b' % (_free_name(name, keys).encode(), texts[name]) for name in (*named_by_stream, *_STAMPS)]
    return (b"," if keys else b"") + b",".join(members) + b"}"


def _free_name(name: str, keys: Collection[str]) -> str:
    while name in keys:
        name = _TAKEN + name
    return name
