"""Parts of a recording for its tests: lines, files, outputs that misbehave."""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING

from k2.recorder.counts import Count
from k2.recorder.intake import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STREAM = "btcusdt@trade"
FIRST_NS = 1_723_161_253_937_085_768


def frame(number: int, stream: str = STREAM) -> bytes:
    return b'{"stream":"%b","data":{"e":"trade","s":"BTCUSDT","t":%d}}' % (stream.encode(), number)


def line(number: int) -> bytes:
    return b"%d %b\n" % (FIRST_NS + number, frame(number))


def lines(numbers: Iterable[int]) -> bytes:
    return b"".join(map(line, numbers))


def member(text: bytes) -> bytes:
    return zlib.compress(text, 6, 31)


def chunk(numbers: Sequence[int]) -> Chunk:
    made = list(map(line, numbers))
    counted = Count(len(made), sum(len(frame(number)) for number in numbers))
    return Chunk(0.0, made, sum(map(len, made)), {STREAM: counted})


class ScriptedOutput:
    """An output that takes what it is told to: `answers` are results of `write`, or what it raises; then all is well."""

    def __init__(self, *answers: bool | OSError, closing: OSError | None = None) -> None:
        self._answers, self._closing = list(answers), closing
        self.taken: list[bytes] = []
        self.size_bytes = 0
        self.is_closed = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def write(self, text: bytes) -> bool:
        self.may_go_on.wait()
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, OSError):
            raise answer
        if answer:
            self.taken.append(text)
            self.size_bytes += len(text)
        return answer

    def close(self) -> None:
        self.is_closed = True
        if self._closing is not None:
            raise self._closing
