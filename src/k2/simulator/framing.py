"""
Messages as WebSocket frames (RFC 6455, with permessage-deflate of RFC 7692), many in one write.

The WebSocket library writes one frame per call and refuses invalid text. A simulated exchange needs the contrary of both: a
system call per batch, and bytes that no honest server would send.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = 0x1
BINARY = 0x2
_FINAL = 0x80
_COMPRESSED = 0x40
_SHORT_LIMIT = 126  # lengths below fit into the second byte
_MEDIUM_LIMIT = 1 << 16
_FLUSH_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1: the sender cuts it off


def header(first_byte: int, length: int) -> bytes:
    """The head of an unmasked frame, as servers send it."""
    if length < _SHORT_LIMIT:
        return bytes((first_byte, length))
    if length < _MEDIUM_LIMIT:
        return bytes((first_byte, 126, length >> 8, length & 0xFF))
    return bytes((first_byte, 127)) + length.to_bytes(8, "big")


class PlainFramer:
    """Frames without compression."""

    def frames(self, payloads: Iterable[bytes], opcode: int = TEXT) -> bytes:
        first_byte = _FINAL | opcode
        parts = []
        for payload in payloads:
            parts.append(header(first_byte, len(payload)))
            parts.append(payload)
        return b"".join(parts)


class DeflateFramer:
    """Frames compressed with a window that lives as long as the connection, or as the message where that was agreed."""

    def __init__(self, window_bits: int, *, keep_context: bool) -> None:
        self._window_bits, self._keep_context = window_bits, keep_context
        self._compressor = self._fresh()

    def frames(self, payloads: Iterable[bytes], opcode: int = TEXT) -> bytes:
        return b"".join(self._frame(payload, opcode) for payload in payloads)

    def _frame(self, payload: bytes, opcode: int) -> bytes:
        if not self._keep_context:
            self._compressor = self._fresh()
        body = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        body = body.removesuffix(_FLUSH_TAIL)
        return header(_FINAL | _COMPRESSED | opcode, len(body)) + body

    def _fresh(self) -> zlib._Compress:
        return zlib.compressobj(level=zlib.Z_BEST_SPEED, wbits=-self._window_bits)


Framer = PlainFramer | DeflateFramer


def framer(window_bits: int, extensions: str) -> Framer:
    """
    The framer for a connection.

    Args:
        window_bits: What permessage-deflate was agreed with; 0 where it was not.
        extensions: The Sec-WebSocket-Extensions header of our answer.
    """
    if not window_bits:
        return PlainFramer()
    return DeflateFramer(window_bits, keep_context="server_no_context_takeover" not in extensions)
