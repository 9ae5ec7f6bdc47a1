"""Is a broker there: connections and acknowledgements together tell it."""

from __future__ import annotations

import pytest

from k2.ingestion.core.broker_watch import BrokerWatch

SLOW = 3


@pytest.mark.parametrize(
    ("signs", "asked_at", "lost_for"),
    [
        pytest.param([], 3, 0, id="an-answer-may-take-a-while"),
        pytest.param([], 4, 4, id="but-not-longer"),
        pytest.param([("nothing_awaited", 9)], 10, 0, id="nothing-sent-nothing-missed"),
        pytest.param([("disconnected", 1), ("disconnected", 2), ("nothing_awaited", 5)], 6, 5, id="counted-from-the-first-loss"),
        pytest.param([("disconnected", 1), ("acknowledged", 5)], 6, 0, id="an-acknowledgement-proves-it"),
        pytest.param([("disconnected", 5), ("acknowledged", 5)], 6, 1, id="not-against-a-loss-of-the-same-poll"),
        pytest.param([("disconnected", 1), ("connected",), ("nothing_awaited", 5)], 6, 0, id="connected-again"),
    ],
)
def test_how_long_it_is_lost(signs: list[tuple[str, int] | tuple[str]], asked_at: int, lost_for: int) -> None:
    """The longer of the two counts: without a connection, and without an answer where one is due."""
    watch = BrokerWatch(SLOW, 0)
    for name, *at in signs:
        getattr(watch, name)(*at)
    assert watch.lost_for_ns(asked_at) == lost_for
