"""The thread that compresses and writes, so that the event loop never waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from k2.recorder.counts import Count, Counts, add, total
from k2.recorder.intake import Chunk
from k2.recorder.outputs import Output


class Writer:
    """
    Writes chunks in their order. `hand_on` and what is read here belong to the loop's thread.

    After the first chunk that could not be written none is, so that a recording has no hole that nobody knows of.

    Args:
        on_end: Called once, on the writer's thread, when nothing can be written any more.

    Attributes:
        written: What is in the output, by stream.
        fault: What the system said where it refused.
        is_full: The output has its largest size.
    """

    def __init__(self, output: Output, on_end: Callable[[], None]) -> None:
        self._output, self._on_end = output, on_end
        self._chunks: SimpleQueue[Chunk | None] = SimpleQueue()
        self._handed_bytes = self._done_bytes = 0  # one thread adds to each, so neither needs a lock
        self._handed = Count()
        self.written: Counts = {}
        self.fault: OSError | None = None
        self.is_full = False
        # A daemon: a disk that hangs in the kernel must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="k2-recorder", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """How much was handed on and is not written."""
        return self._handed_bytes - self._done_bytes

    @property
    def output_bytes(self) -> int:
        return self._output.size_bytes

    @property
    def unwritten(self) -> Count:
        """What was handed on and is not in the output."""
        written = total(self.written.values())
        return Count(self._handed.frames - written.frames, self._handed.bytes - written.bytes)

    def hand_on(self, chunk: Chunk) -> None:
        self._handed_bytes += chunk.bytes
        for one in chunk.counts.values():
            self._handed.frames += one.frames
            self._handed.bytes += one.bytes
        self._chunks.put(chunk)

    def finish(self, limit_s: float) -> bool:
        """Write what waits, and close the output. False where that takes longer than this: the rest is lost."""
        self._chunks.put(None)
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            if self.fault is None and not self.is_full:
                self._write(chunk)
            self._done_bytes += chunk.bytes
        try:
            self._output.close()
        except OSError as error:
            self.fault = self.fault or error

    def _write(self, chunk: Chunk) -> None:
        try:
            self.is_full = not self._output.write(b"".join(chunk.lines))
        except OSError as error:
            self.fault = error
        if self.fault is not None or self.is_full:
            self._on_end()
        else:
            add(self.written, chunk.counts)
