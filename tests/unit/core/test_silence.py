"""Which streams are silent, each for itself."""

from __future__ import annotations

import pytest

from k2.ingestion.core.silence import SilenceChange, SilenceWatch

LIMIT_S = 10.0


def test_silent_stream_among_talking_ones_is_noticed() -> None:
    """One look before the limit nothing is silent, at the limit the stream that brought nothing is."""
    watch = SilenceWatch(LIMIT_S)
    changes = [watch.look({"talks": second, "silent": 7}, float(second), listening={"talks", "silent"}) for second in range(12)]
    assert [second for second, change in enumerate(changes) if change.fell_silent] == [10]
    assert (changes[10], watch.silent) == (SilenceChange(fell_silent=("silent",)), ("silent",))


def test_stream_that_speaks_again_is_noticed_once() -> None:
    """The end of a silence is a change, what follows is none."""
    watch = SilenceWatch(LIMIT_S)
    watch.look({"s": 1}, 0.0, listening={"s"})
    watch.look({"s": 1}, 10.0, listening={"s"})
    assert [watch.look({"s": 2}, 11.0, listening={"s"}), watch.look({"s": 3}, 12.0, listening={"s"})] == [
        SilenceChange(spoke_again=("s",)),
        SilenceChange(),
    ]


def test_stream_that_never_spoke_is_told_apart() -> None:
    """The exchange acknowledges streams that it does not have: those never bring an event."""
    watch = SilenceWatch(LIMIT_S)
    for at_s in (0.0, 10.0):
        watch.look({"quiet": 3, "misspelt": 0}, at_s, listening={"quiet", "misspelt"})
    assert (watch.silent, watch.never_heard()) == (("quiet", "misspelt"), ("misspelt",))


def test_time_without_a_connection_does_not_count() -> None:
    """What nobody listens to cannot be called silent: the time begins anew with the connection."""
    watch = SilenceWatch(LIMIT_S)
    for at_s in range(30):
        watch.look({"s": 1}, float(at_s), listening={"s"} if at_s > 20 else set())
    assert watch.silent == ()


@pytest.mark.parametrize("limit_s", [0.0, 1e9])
def test_watch_can_be_turned_off(limit_s: float) -> None:
    """A limit of 0 is no limit."""
    watch = SilenceWatch(limit_s)
    for at_s in (0.0, 1e6):
        watch.look({"s": 0}, at_s, listening={"s"})
    assert watch.silent == ()


def test_only_a_stream_that_can_be_heard_is_silent() -> None:
    """One whose connection comes and goes is judged by itself, whatever the others do; one that is gone is forgotten."""
    watch = SilenceWatch(10.0)
    for at_s in range(0, 40, 5):
        heard = {"stays", "flaps"} if at_s % 10 else {"stays"}
        change = watch.look({"stays": 1, "flaps": 1}, float(at_s), listening=heard)
    assert (watch.silent, change.fell_silent) == (("stays",), ())
    assert watch.look({"flaps": 2}, 40.0, listening={"flaps"}) == SilenceChange((), ())
    assert watch.look({"flaps": 2, "stays": 1}, 41.0, listening={"flaps", "stays"}) == SilenceChange((), ())
