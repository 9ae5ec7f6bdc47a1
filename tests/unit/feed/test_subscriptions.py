"""The subscriptions of one connection, and the frames that ask for them."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.subscriptions import Subscriptions
from k2.ingestion.exchanges.binance.requests import batches, subscribe, unsubscribe

POLICY = FeedPolicy(streams_per_request=100, requests_per_s=4, ack_timeout_s=10)


def of(count: int) -> Subscriptions:
    return Subscriptions([f"s{number}@trade" for number in range(count)], POLICY, itertools.count(1))


def test_requests_are_paced() -> None:
    """A hundred streams go into a frame, and at most four frames into a second."""
    subscriptions = of(450)
    sent = [(at, request) for at in range(0, 3000, 50) if (request := subscriptions.due(at / 1000))]
    assert [at for at, _ in sent] == [0, 250, 500, 750, 1000]
    assert [len(request.streams) for _, request in sent] == [100, 100, 100, 100, 50]
    assert [request.request_id for _, request in sent] == [1, 2, 3, 4, 5]


def test_complete_when_all_is_answered() -> None:
    """Neither sent nor answered in part is complete; the answer gives back the streams it is about."""
    subscriptions = of(150)
    assert not subscriptions.complete
    first, second = subscriptions.due(0), subscriptions.due(1)
    assert first
    assert second
    assert subscriptions.answered(first.request_id) == first.streams
    assert not subscriptions.complete
    assert subscriptions.answered(second.request_id) == second.streams
    assert subscriptions.complete


def test_foreign_answers_are_none() -> None:
    """An answer to nothing of ours, or a second one, is about no streams."""
    subscriptions = of(1)
    assert subscriptions.answered(1) == ()
    subscriptions.due(0)
    assert [subscriptions.answered(request_id) for request_id in (77, 1, 1, None)] == [(), ("s0@trade",), (), ()]


def test_refusal_without_id_is_the_oldest_request() -> None:
    """An answer that names no request is taken for that to the oldest one open."""
    subscriptions = of(150)
    subscriptions.due(0)
    subscriptions.due(1)
    assert len(subscriptions.answered(None)) == 100


def test_refused_request_is_made_again_later_and_later() -> None:
    """It may have been the moment that was wrong: the pauses are 5, 10, 20, 40 and then 60 s, under a new id each time."""
    subscriptions = of(1)
    now_s, asked = 0.0, []
    for _ in range(6):
        while (request := subscriptions.due(now_s)) is None:
            now_s += 1
        asked.append((now_s, request.request_id))
        assert subscriptions.refused(request.request_id, now_s) == ("s0@trade",)
        assert not subscriptions.complete
    assert asked == [(0, 1), (5, 2), (15, 3), (35, 4), (75, 5), (135, 6)]


def test_request_that_is_acknowledged_at_the_second_try_completes() -> None:
    """A refusal leaves nothing behind once it is mended."""
    subscriptions = of(1)
    subscriptions.due(0)
    subscriptions.refused(1, 0)
    subscriptions.due(5)
    assert subscriptions.answered(2) == ("s0@trade",)
    assert subscriptions.complete


def test_overdue_after_the_timeout() -> None:
    """A request without an answer is overdue after the timeout, and anew after an excuse."""
    subscriptions = of(1)
    subscriptions.due(0)
    assert [subscriptions.overdue(9.9), subscriptions.overdue(10)] == [False, True]
    subscriptions.excuse(10)
    assert [subscriptions.overdue(19.9), subscriptions.overdue(20)] == [False, True]


@given(st.lists(st.text(min_size=1, max_size=20)), st.integers(1, 50))
def test_batches_lose_nothing(streams: list[str], size: int) -> None:
    """Batches hold all streams in order, none of them more than its size."""
    parts = list(batches(streams, size))
    assert list(itertools.chain(*parts)) == streams
    assert all(0 < len(part) <= size for part in parts)


def test_requests_are_the_exchange_s_json() -> None:
    """The frames say what Binance's documentation says, with integer ids and symbols of any script."""
    assert json.loads(subscribe(7, ["牛来usdt@aggTrade"])) == {"method": "SUBSCRIBE", "params": ["牛来usdt@aggTrade"], "id": 7}
    assert json.loads(unsubscribe(8, ["a@b"])) == {"method": "UNSUBSCRIBE", "params": ["a@b"], "id": 8}
