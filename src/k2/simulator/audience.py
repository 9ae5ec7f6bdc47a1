"""Which frames a generated market makes for those who listen: of single takes as they come, and of all the rest by time."""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from k2.simulator.catalogue import CATALOGUES, AllMarket, Timed
from k2.simulator.market import TRADE_KINDS, Frame
from k2.simulator.rendering import RENDERERS, envelope_head

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from k2.simulator.lane import Lane
    from k2.simulator.market import Venue


class Envelope:
    """Wraps the events of one stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._head = envelope_head(stream)
        self._data_at = len(self._head.encode())

    def frame(self, event: str) -> Frame:
        return Frame(self.stream, f"{self._head}{event}}}".encode(), self._data_at)


class Printer:
    """Renders the takes of one lane for the streams that somebody listens to: trades, then their aggregate, then the rest."""

    def __init__(self, lane: Lane, kinds: Collection[str]) -> None:
        self._lane, self._lag, self._book = lane, lane.lag, lane.book
        self._trade, self._agg = RENDERERS[lane.venue, "trade"], RENDERERS[lane.venue, "aggTrade"]
        name = lane.symbol.lower()
        self._trades = Envelope(f"{name}@trade").frame if "trade" in kinds else None
        self._aggregates = Envelope(f"{name}@aggTrade").frame if "aggTrade" in kinds else None
        others = CATALOGUES[lane.venue].takes
        self._others = [(Envelope(f"{name}@{kind}").frame, others[kind]) for kind in others if kind in kinds]

    def render(self, turn: int, event_at_ms: int, frames: list[Frame]) -> None:
        """Append the frames of the take in a round of turns."""
        take = turn - self._lag
        if self._trades:
            frames.extend([self._trades(self._trade(fill)) for fill in self._book.fills(take, event_at_ms)])
        if self._aggregates:
            frames.append(self._aggregates(self._agg(self._book.aggregate(take, event_at_ms))))
        for wrap, tell in self._others:
            if (event := tell(self._lane, take, event_at_ms)) is not None:
                frames.append(wrap(event))


class Timetable:
    """The streams that speak by time."""

    def __init__(self) -> None:
        self._speakers: dict[int, list[Callable[[int], Iterable[Frame]]]] = {}

    def add(self, period_ms: int, speak: Callable[[int], Iterable[Frame]]) -> None:
        self._speakers.setdefault(period_ms, []).append(speak)

    def moments(self, after_ms: int, until_ms: int) -> Iterable[int]:
        """When somebody may speak, in order; the first bound is exclusive, the second inclusive."""
        return dict.fromkeys(merge(*(range(_next_ms(after_ms, p), until_ms + 1, p) for p in self._speakers)))

    def next_ms(self, after_ms: int) -> int | None:
        return min((_next_ms(after_ms, period_ms) for period_ms in self._speakers), default=None)

    def at(self, moment_ms: int) -> Iterator[Frame]:
        for period_ms, speakers in self._speakers.items():
            if moment_ms % period_ms == 0:
                for speak in speakers:
                    yield from speak(moment_ms)


class Audience(NamedTuple):
    """Who has to speak: by turn those who print its takes, and what comes by time."""

    printers: list[list[Printer]]
    hears_takes: bool
    timetable: Timetable


def audience_of(streams: Iterable[str], venue: Venue, lanes: Sequence[Lane], foreign: Sequence[Lane], turns: int) -> Audience:
    """
    What to make for the listeners of `streams`. Names that do not exist are left out: the exchange is silent about them too.

    Args:
        foreign: Lanes that are in the streams of all symbols only.
    """
    catalogue, timetable = CATALOGUES[venue], Timetable()
    by_name = {lane.symbol.lower(): lane for lane in lanes if lane.trading}
    heard: dict[str, set[str]] = {}
    for stream in streams:
        name, _, kind = stream.partition("@")
        if stream in catalogue.all_market:
            offer = catalogue.all_market[stream]
            timetable.add(offer.period_ms, _all_speaker(stream, offer, [*by_name.values(), *foreign]))
        elif name in by_name and kind in catalogue.timed:
            timed = catalogue.timed[kind]
            timetable.add(timed.period_ms, _speaker(stream, timed, by_name[name]))
        elif name in by_name and (kind in TRADE_KINDS or kind in catalogue.takes):
            heard.setdefault(name, set()).add(kind)
    printers: list[list[Printer]] = [[] for _ in range(turns)]
    for name, lane in by_name.items():
        if name in heard:
            printers[lane.turn].append(Printer(lane, heard[name]))
    return Audience(printers, bool(heard), timetable)


def _speaker(stream: str, offer: Timed, lane: Lane) -> Callable[[int], Iterable[Frame]]:
    wrap, tell = Envelope(stream).frame, offer.tell

    def speak(moment_ms: int) -> Iterable[Frame]:
        event = tell(lane, moment_ms)
        return () if event is None else (wrap(event),)

    return speak


def _all_speaker(stream: str, offer: AllMarket, lanes: Sequence[Lane]) -> Callable[[int], Iterable[Frame]]:
    wrap = Envelope(stream).frame

    def speak(moment_ms: int) -> Iterable[Frame]:
        events = [event for lane in lanes if (event := offer.tell(lane, moment_ms)) is not None]
        if not offer.in_array:
            return [wrap(event) for event in events]
        return (wrap(f"[{','.join(events)}]"),) if events else ()

    return speak


def _next_ms(after_ms: int, period_ms: int) -> int:
    return after_ms - after_ms % period_ms + period_ms
