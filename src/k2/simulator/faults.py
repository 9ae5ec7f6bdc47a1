"""
Faults that can be switched on while a simulated exchange runs, as data: from Python or as JSON to `POST /control/fault`.

The JSON form carries the name below as `kind`: `{"kind": "close", "code": 1008, "reason": "Pong timeout"}`. `connection` is a
connection's number; without it a fault strikes every open one.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from k2.simulator.market import TRADE_KINDS

Target = Literal["websocket", "rest", "both"]


class Close(Struct, frozen=True, tag_field="kind", tag="close"):
    """Close with a closing handshake."""

    code: int = 1001
    reason: str = ""
    connection: int | None = None


class Reset(Struct, frozen=True, tag_field="kind", tag="reset"):
    """Break with a TCP reset. Frames on their way are lost."""

    connection: int | None = None


class Silence(Struct, frozen=True, tag_field="kind", tag="silence"):
    """
    Send nothing more on the open connections, not even a pong, and keep them open: a half-open connection.

    With `streams`, only these stop, for all and until cleared; everything else goes on.
    """

    streams: tuple[str, ...] = ()
    connection: int | None = None


class Garbage(Struct, frozen=True, tag_field="kind", tag="garbage"):
    """
    Send malformed frames: those of `names` (see `k2.simulator.garbage.NAMES`; none means all), then the bytes in `frames`.

    The named ones come in the envelope of combined connections, whatever the framing of the connection.

    Args:
        stream: The stream they pretend to belong to; by default the connection's first stream of trades. Some names fit some
            streams only, as not every event has a price or an id: without `names` those that fit are sent.
        frames: Sent as they are, as text. Base64 in JSON.
    """

    names: tuple[str, ...] = ()
    frames: tuple[bytes, ...] = ()
    stream: str | None = None
    connection: int | None = None


class Refuse(Struct, frozen=True, tag_field="kind", tag="refuse"):
    """Answer the next `count` requests (None: all until cleared) with an HTTP status: 418, 429, 451, 503 and the like."""

    status: int = 503
    count: int | None = None
    retry_after_s: int | None = None
    target: Target = "websocket"


class AcceptAndDrop(Struct, frozen=True, tag_field="kind", tag="accept_and_drop"):
    """Accept the next `count` WebSockets (None: all until cleared) and drop each at once, without a close frame."""

    count: int | None = None


class Shutdown(Struct, frozen=True, tag_field="kind", tag="shutdown"):
    """Announce `serverShutdown` on the open connections and close them `close_after_s` later."""

    close_after_s: float = 1.0


class Skip(Struct, frozen=True, tag_field="kind", tag="skip"):
    """
    Do not send the next `count` frames of streams of a symbol: of its trades and its aggregated trades, unless told others.

    Args:
        on_rest: Whether REST has the trades: True for frames that were lost, False for ids that never existed.
        kinds: What the streams have behind the `@`, as "kline_1m" or "depth@100ms".
    """

    symbol: str
    count: int = 1
    on_rest: bool = True
    kinds: tuple[str, ...] = TRADE_KINDS


class ListSymbol(Struct, frozen=True, tag_field="kind", tag="list_symbol"):
    """Let a symbol trade from now on, a new one or one that was delisted: exchangeInfo has it, and its streams speak."""

    symbol: str


class Delist(Struct, frozen=True, tag_field="kind", tag="delist"):
    """
    Let a symbol trade no more: its streams fall silent.

    Args:
        listed: Whether exchangeInfo still has it, as halted (BREAK, and SETTLING on futures); without, it is gone from there.
    """

    symbol: str
    listed: bool = True


class Clear(Struct, frozen=True, tag_field="kind", tag="clear"):
    """End every fault that lasts. Connections that were silenced stay as they are, and so does what is listed."""


Fault = Close | Reset | Silence | Garbage | Refuse | AcceptAndDrop | Shutdown | Skip | ListSymbol | Delist | Clear

KINDS = (
    "close",
    "reset",
    "silence",
    "garbage",
    "refuse",
    "accept_and_drop",
    "shutdown",
    "skip",
    "list_symbol",
    "delist",
    "clear",
)

_decoder: msgspec.json.Decoder[Fault] = msgspec.json.Decoder(Fault)


def from_json(text: str | bytes) -> Fault:
    """
    Read a fault from its JSON form, or from its bare name where its defaults will do.

    Raises:
        ValueError: it is neither; the text says what is wrong.
    """
    content = text.encode() if isinstance(text, str) else text
    if not content.lstrip().startswith(b"{"):
        kind = content.decode(errors="replace").strip()
        if kind not in KINDS:
            raise ValueError(f"no fault is named {kind!r}; known: {', '.join(KINDS)}")
        content = msgspec.json.encode({"kind": kind})
    try:
        return _decoder.decode(content)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
