"""
A symbol within a generated market: when its takes happen, and how that reads backwards.

The market's events go round: every `turns`-th one is a take of the same lane. A lane that is listed later trades at the moments
of an earlier one, so that nothing changes for those that were there before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

from k2.simulator.book import EVENT_DELAY_MS
from k2.simulator.ladder import Ladder

if TYPE_CHECKING:
    from k2.simulator.book import Book, Summary
    from k2.simulator.market import Venue


class Timeline(Protocol):
    """The market's events and their times."""

    def at_ms(self, number: int) -> int:
        """When event `number` is told, in milliseconds since the Unix epoch."""

    def count_until(self, at_ms: int) -> int:
        """How many events are told up to this millisecond, that one included, as far as they are issued."""


class Lane:
    """
    One symbol's takes on the market's timeline.

    Args:
        turn: Which events are its own: those whose number leaves this rest when divided by `turns`.
        since_round: The round of turns in which it trades first.
        symbol_type: 1 for USD-M, 2 for COIN-M, as futures tell it.
    """

    def __init__(
        self, book: Book, venue: Venue, timeline: Timeline, turn: int, turns: int, since_round: int = 0, symbol_type: int = 1
    ) -> None:
        self.book, self.venue, self.turn, self.symbol_type = book, venue, turn, symbol_type
        self.symbol = book.listing.symbol
        self.pair = self.symbol.partition("_")[0]
        self.ladder = Ladder(self)
        self._timeline, self._turns = timeline, turns
        self._starts, self._takes = [since_round], [0]  # the rounds in which trading began, and the takes before each
        self._ended_round: int | None = None

    @property
    def trading(self) -> bool:
        return self._ended_round is None

    @property
    def lag(self) -> int:
        """By how much the round of a take is ahead of its number now."""
        return self._starts[-1] - self._takes[-1]

    def halt(self, issued: int) -> None:
        """Trade no more after the first `issued` events of the market."""
        self._ended_round = self._rounds(issued)

    def resume(self, issued: int) -> None:
        """Go on with the next take, as if no time had passed."""
        taken = self.takes_of(issued)
        self._starts.append(self._rounds(issued))
        self._takes.append(taken)
        self._ended_round = None

    def takes_of(self, issued: int) -> int:
        """How many takes of this lane are among the first `issued` events of the market."""
        rounds = self._rounds(issued)
        if self._ended_round is not None:
            rounds = min(rounds, self._ended_round)
        i = bisect_right(self._starts, rounds) - 1
        if i < 0:
            return 0
        taken = self._takes[i] + rounds - self._starts[i]
        return min(taken, self._takes[i + 1]) if i + 1 < len(self._takes) else taken

    def takes_before(self, at_ms: int) -> int:
        """How many takes were traded before this millisecond."""
        return self.takes_of(self._timeline.count_until(at_ms - 1 + EVENT_DELAY_MS))

    def number_of(self, take: int) -> int:
        """The number of a take among all events of the market."""
        i = max(0, bisect_right(self._takes, take) - 1)
        return (self._starts[i] + take - self._takes[i]) * self._turns + self.turn

    def at_ms(self, take: int) -> int:
        """When a take is told; it was traded a moment before."""
        return self._timeline.at_ms(self.number_of(take))

    def traded_at_ms(self, take: int) -> int:
        return self.at_ms(take) - EVENT_DELAY_MS

    def summary(self, since_ms: int, until_ms: int) -> Summary:
        """What was traded from `since_ms` to `until_ms` (exclusive) amounts to."""
        return self.book.summary(self.takes_before(since_ms), self.takes_before(until_ms))

    def _rounds(self, issued: int) -> int:
        """How many of the first `issued` events were at this lane's turn."""
        return max(0, -(-(issued - self.turn) // self._turns))
