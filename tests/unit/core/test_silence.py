"""Which streams are silent, each for itself."""

from __future__ import annotations

import pytest

from k2.ingestion.core.silence import SilenceChange, SilenceWatch

LIMIT_S = 10.0


def test_silent_stream_among_talking_ones_is_noticed() -> None:
    """One look before the limit nothing is silent, at the limit the stream that brought nothing is."""
    watch = SilenceWatch(LIMIT_S)
    changes = [watch.look({"talks": second, "silent": 7}, float(second), listening=True) for second in range(12)]
    assert [second for second, change in enumerate(changes) if change.fell_silent] == [10]
    assert (changes[10], watch.silent) == (SilenceChange(fell_silent=("silent",)), ("silent",))


def test_stream_that_speaks_again_is_noticed_once() -> None:
    """The end of a silence is a change, what follows is none."""
    watch = SilenceWatch(LIMIT_S)
    watch.look({"s": 1}, 0.0, listening=True)
    watch.look({"s": 1}, 10.0, listening=True)
    assert [watch.look({"s": 2}, 11.0, listening=True), watch.look({"s": 3}, 12.0, listening=True)] == [
        SilenceChange(spoke_again=("s",)),
        SilenceChange(),
    ]


def test_stream_that_never_spoke_is_told_apart() -> None:
    """The exchange acknowledges streams that it does not have: those never bring an event."""
    watch = SilenceWatch(LIMIT_S)
    for at_s in (0.0, 10.0):
        watch.look({"quiet": 3, "misspelt": 0}, at_s, listening=True)
    assert (watch.silent, watch.never_heard()) == (("quiet", "misspelt"), ("misspelt",))


def test_time_without_a_connection_does_not_count() -> None:
    """What nobody listens to cannot be called silent: the time begins anew with the connection."""
    watch = SilenceWatch(LIMIT_S)
    for at_s in range(30):
        watch.look({"s": 1}, float(at_s), listening=at_s > 20)
    assert watch.silent == ()


@pytest.mark.parametrize("limit_s", [0.0, 1e9])
def test_watch_can_be_turned_off(limit_s: float) -> None:
    """A limit of 0 is no limit."""
    watch = SilenceWatch(limit_s)
    for at_s in (0.0, 1e6):
        watch.look({"s": 0}, at_s, listening=True)
    assert watch.silent == ()
