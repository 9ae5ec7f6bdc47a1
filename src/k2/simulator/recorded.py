"""A recording as a market: at its own pace, faster, or as fast as it is read; with its own times or with today's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from k2.simulator.instruments import assets
from k2.simulator.market import TRADE_KINDS, CandleWindow, Frame, Instrument, PastTrade, TradeKind, Venue, Window, select
from k2.simulator.moving import moved, moved_snapshot
from k2.simulator.streams import kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from k2.simulator.recording import RecordedFrame, Recording

Times = Literal["original", "now"]


class RecordedMarket:
    """
    A `Market` that repeats a recording once, then stays silent. It begins with its first reader.

    Args:
        speed: 1 for the recorded pace, 10 for ten times that, None for as fast as the readers take it.
        times: "now" moves the times of events to the present and touches nothing else; "original" touches nothing at all.
        quotes: Quote assets by symbol, where the symbol's suffix misleads.
    """

    def __init__(
        self,
        recording: Recording,
        speed: float | None = 1.0,
        times: Times = "original",
        quotes: Mapping[str, str] | None = None,
    ) -> None:
        self.recording = recording
        self._speed, self._times, self._quotes = speed, times, quotes or {}
        self._issued = 0
        self._past: dict[str, _Past] = {}
        self._began_s: float | None = None
        self._shift_ms = 0.0

    @property
    def venue(self) -> Venue:
        return self.recording.venue

    @property
    def eager(self) -> bool:
        return self._speed is None

    @property
    def waits_for_reader(self) -> bool:
        return True

    def begin(self, now_s: float, wall_ms: int) -> None:
        if self._began_s is None:
            self._began_s, self._shift_ms = now_s, wall_ms - self.recording.first_event_ms

    def pull(self, now_s: float, wanted: Collection[str], limit: int) -> list[Frame]:  # noqa: ARG002 - all are issued
        age_s = self._age_s(now_s)
        first, end = self._issued, min(self._issued + limit, len(self.recording.frames))
        frames = []
        for recorded in self.recording.frames[first:end]:
            due_s = self._due_s(recorded, age_s)
            if due_s > age_s:
                break
            frames.append(self._issue(recorded, due_s))
        self._issued = first + len(frames)
        return frames

    def idle_s(self, now_s: float) -> float | None:
        if self._issued == len(self.recording.frames):
            return None
        age_s = self._age_s(now_s)
        return max(0.0, self._due_s(self.recording.frames[self._issued], age_s) - age_s)

    def instruments(self) -> Mapping[str, Instrument]:
        return {symbol: Instrument(symbol, *assets(symbol, self._quotes)) for symbol in self.recording.symbols}

    def stream_kinds(self) -> Sequence[str]:
        kinds = dict.fromkeys(kind_of(stream) for stream in self.recording.streams)
        return sorted(kinds, key=lambda kind: kind not in TRADE_KINDS)

    def history(self, kind: TradeKind, symbol: str, window: Window) -> list[PastTrade]:
        past = self._past.get(f"{symbol.lower()}@{kind}")
        return past.find(window) if past else []

    def klines(self, symbol: str, window: CandleWindow) -> list[list[object]]:  # noqa: ARG002 - none are made up
        return []

    def depth(self, symbol: str, limit: int) -> bytes | None:  # noqa: ARG002 - as it was recorded
        snapshot = self.recording.snapshots.get(symbol)
        return snapshot if snapshot is None or self._times == "original" else moved_snapshot(snapshot, round(self._shift_ms))

    def list_symbol(self, symbol: str) -> None:
        raise ValueError(f"symbol {symbol}: the symbols of a recording cannot change")

    def delist(self, symbol: str, *, listed: bool = True) -> None:  # noqa: ARG002 - the port's signature
        raise ValueError(f"symbol {symbol}: the symbols of a recording cannot change")

    def _issue(self, recorded: RecordedFrame, due_s: float) -> Frame:
        frame = recorded.frame
        if self._times == "now":
            frame = moved(frame, round(self._shift_ms + (due_s - recorded.offset_s) * 1_000))
        if recorded.trade_id >= 0:
            self._past.setdefault(frame.stream, _Past()).add(recorded.trade_id, frame)
        return frame

    def _age_s(self, now_s: float) -> float:
        return now_s - self._began_s if self._began_s is not None else 0.0

    def _due_s(self, recorded: RecordedFrame, age_s: float) -> float:
        return age_s if self._speed is None else recorded.offset_s / self._speed


class _PrintedTrade(Struct, gc=False):
    """The fields of a recorded trade or aggregated trade that REST repeats."""

    p: str
    q: str
    T: int
    m: bool
    f: int = -1
    l: int = -1  # noqa: E741 - the exchange's name for it


_decode_trade = msgspec.json.Decoder(_PrintedTrade).decode


class _Past:
    """The issued trades of one stream, in the order of issue, which is that of their ids."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._frames: list[Frame] = []

    def add(self, trade_id: int, frame: Frame) -> None:
        if not self._ids or trade_id > self._ids[-1]:
            self._ids.append(trade_id)
            self._frames.append(frame)

    def find(self, window: Window) -> list[PastTrade]:
        found = select(len(self._ids), self._ids.__getitem__, lambda i: _decode_trade(self._frames[i].raw).T, window)
        return [_past(self._ids[i], _decode_trade(self._frames[i].raw)) for i in found]


def _past(trade_id: int, t: _PrintedTrade) -> PastTrade:
    first, last = (t.f, t.l) if t.f >= 0 else (trade_id, trade_id)
    return PastTrade(trade_id, t.p, t.q, first, last, t.T, t.m)
