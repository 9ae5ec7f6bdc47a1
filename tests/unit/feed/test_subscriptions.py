"""The subscriptions of one connection, and the frames that ask for them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from k2.ingestion.adapters.feed.policy import FeedPolicy
from k2.ingestion.adapters.feed.subscriptions import Request, Subscriptions
from k2.ingestion.exchanges.binance.requests import Method, request_text

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


def sent(subscriptions: Subscriptions, from_s: float = 0.0, for_s: float = 10.0) -> list[tuple[Method, tuple[str, ...]]]:
    """Everything that is sent in a stretch of time, and acknowledged at once."""
    requests = []
    for step in range(round(for_s * 20)):
        if request := subscriptions.due(from_s + step / 20):
            requests.append((request.method, request.streams))
            subscriptions.answered(request.request_id)
    return requests


def open_with(*streams: str) -> Subscriptions:
    """Subscriptions that are all acknowledged."""
    subscriptions = Subscriptions(streams, POLICY, itertools.count(1))
    sent(subscriptions)
    assert subscriptions.complete
    return subscriptions


def test_change_asks_for_the_difference() -> None:
    """What goes is unsubscribed from first, to make room; what stays is not mentioned."""
    subscriptions = open_with("a", "b", "c")
    subscriptions.change(["c", "x", "y"])
    assert sent(subscriptions, 20) == [(Method.UNSUBSCRIBE, ("a", "b")), (Method.SUBSCRIBE, ("x", "y"))]


def test_change_is_paced_and_batched() -> None:
    """Both kinds of requests together keep the exchange's pace, in batches of a hundred."""
    old, new = [f"o{number}" for number in range(150)], [f"n{number}" for number in range(250)]
    subscriptions = open_with(*old)
    subscriptions.change(new)
    at = [at_s / 1000 for at_s in range(20_000, 23_000, 50) if subscriptions.due(at_s / 1000)]
    assert at == [20.0, 20.25, 20.5, 20.75, 21.0]


def test_pings_take_turns_with_requests() -> None:
    """The exchange counts a ping as a message, so the next request waits a turn longer."""
    subscriptions = of(150)
    assert subscriptions.due(0.0)
    subscriptions.take_turn(0.0)
    assert [at for at in (0.25, 0.45, 0.5) if subscriptions.due(at)] == [0.5]


def test_removed_before_it_was_sent_is_never_sent() -> None:
    """Nothing was asked for, so nothing has to be undone."""
    subscriptions = Subscriptions(["a", "b"], POLICY, itertools.count(1))
    subscriptions.change(["b"])
    assert sent(subscriptions) == [(Method.SUBSCRIBE, ("b",))]
    assert subscriptions.complete


def test_all_removed_before_anything_was_sent_is_complete() -> None:
    """There is nothing to wait for."""
    subscriptions = of(3)
    subscriptions.change([])
    assert (sent(subscriptions), subscriptions.complete) == ([], True)


def test_removed_before_it_was_answered_is_undone() -> None:
    """The acknowledgement that comes after all tells of no stream, and the UNSUBSCRIBE follows."""
    subscriptions = of(1)
    subscriptions.due(0)
    subscriptions.change([])
    assert subscriptions.answered(1) == ()
    assert sent(subscriptions, 1) == [(Method.UNSUBSCRIBE, ("s0@trade",))]


def test_added_again_before_it_was_unsubscribed_stays() -> None:
    """Nothing is sent for a stream that is wanted again in time."""
    subscriptions = open_with("a")
    subscriptions.change([])
    subscriptions.change(["a"])
    assert sent(subscriptions, 20) == []


def test_added_again_after_it_was_unsubscribed_is_subscribed_again() -> None:
    """Whether the UNSUBSCRIBE was answered or not."""
    subscriptions = open_with("a")
    subscriptions.change([])
    assert subscriptions.due(20)
    subscriptions.change(["a"])
    assert subscriptions.leaving == frozenset()
    assert sent(subscriptions, 21) == [(Method.SUBSCRIBE, ("a",))]


def test_added_streams_leave_complete_as_it_is() -> None:
    """What was acknowledged goes on; only a refusal unsettles, until it is mended."""
    subscriptions = open_with("a")
    subscriptions.change(["a", "b"])
    request = subscriptions.due(20)
    assert request
    assert subscriptions.complete
    subscriptions.refused(request.request_id, 20)
    assert not subscriptions.complete
    sent(subscriptions, 21)
    assert subscriptions.complete


def test_refused_stream_that_is_removed_is_not_asked_for_again() -> None:
    """And it does not keep the others from being complete."""
    subscriptions = Subscriptions(["a"], POLICY, itertools.count(1))
    subscriptions.due(0)
    subscriptions.refused(1, 0)
    subscriptions.change([])
    assert (Method.SUBSCRIBE, ("a",)) not in sent(subscriptions, 1)
    assert subscriptions.complete


def test_refused_unsubscription_is_made_again() -> None:
    """It tells of no refused stream, and the stream may arrive until the next try is answered."""
    subscriptions = open_with("a")
    subscriptions.change([])
    request = subscriptions.due(20)
    assert request
    assert subscriptions.refused(request.request_id, 20) == ()
    assert subscriptions.complete
    assert subscriptions.leaving == {"a"}
    assert sent(subscriptions, 21) == [(Method.UNSUBSCRIBE, ("a",))]
    assert subscriptions.leaving == frozenset()


NAMES = st.sets(st.sampled_from("abcdefghij"))
ACTIONS = st.one_of(
    st.tuples(st.just("change"), NAMES),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("ping"), st.none()),
    st.tuples(st.just("answer"), st.booleans()),
)


class Exchange:
    """Carries out requests as they come and answers them in order, by refusing them where it is told to."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.subscriptions, self.now_s = subscriptions, 0.0
        self.sends: set[str] = set()
        self.unanswered: list[Request] = []
        self.messages_at_s: list[float] = []

    def act(self, action: str, given: Any) -> None:
        match action:
            case "change":
                self.subscriptions.change(sorted(given))
            case "wait":
                for _ in range(given):
                    self.now_s += 0.05
                    self.take(self.subscriptions.due(self.now_s))
            case "ping":  # the watch looks once a second at most
                self.now_s += 1.0
                self.take(self.subscriptions.due(self.now_s))
                self.subscriptions.take_turn(self.now_s)
                self.messages_at_s.append(self.now_s)
            case "answer" if self.unanswered:
                self.answer(self.unanswered.pop(0), agree=given)

    def take(self, request: Request | None) -> None:
        if request:
            self.messages_at_s.append(self.now_s)
            self.unanswered.append(request)

    def answer(self, request: Request, *, agree: bool) -> None:
        if not agree:
            self.subscriptions.refused(request.request_id, self.now_s)
            return
        self.subscriptions.answered(request.request_id)
        if request.method is Method.SUBSCRIBE:
            self.sends.update(request.streams)
        else:
            self.sends.difference_update(request.streams)


@given(NAMES, st.lists(ACTIONS, max_size=30))
def test_in_the_end_the_exchange_sends_what_is_wanted(first: set[str], actions: list[tuple[str, Any]]) -> None:
    """Whatever is changed, refused and answered late; and never more than five messages in a second."""
    policy = replace(POLICY, streams_per_request=3)
    exchange = Exchange(Subscriptions(sorted(first), policy, itertools.count(1)))
    wanted = first
    for action, given_to_it in actions:
        wanted = given_to_it if action == "change" else wanted
        exchange.act(action, given_to_it)
    for _ in range(200):  # past every pause after a refusal
        exchange.act("wait", 20)
        while exchange.unanswered:
            exchange.act("answer", True)
    assert exchange.sends == wanted
    assert exchange.subscriptions.complete
    assert exchange.subscriptions.leaving == frozenset()
    times = exchange.messages_at_s
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(times, times[5:], strict=False))


def test_requests_are_the_exchange_s_json() -> None:
    """The frames say what Binance's documentation says, with integer ids and symbols of any script."""
    subscribe = request_text(Method.SUBSCRIBE, 7, ["牛来usdt@aggTrade"])
    assert json.loads(subscribe) == {"method": "SUBSCRIBE", "params": ["牛来usdt@aggTrade"], "id": 7}
    assert json.loads(request_text(Method.UNSUBSCRIBE, 8, ["a@b"])) == {"method": "UNSUBSCRIBE", "params": ["a@b"], "id": 8}
