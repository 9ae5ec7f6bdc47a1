"""Control messages, answered without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.simulator import protocol
from k2.simulator.streams import delivers

_OF_FIVE = "SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY"


def _subscribed(*streams: str) -> protocol.Subscriptions:
    return protocol.Subscriptions(combined=True, max_streams=3, streams=dict.fromkeys(streams))


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        pytest.param({"method": "SUBSCRIBE", "params": ["a@trade"], "id": 1}, {"result": None, "id": 1}, id="subscribe"),
        pytest.param({"method": "SUBSCRIBE", "params": ["NOPE@x"], "id": 1}, {"result": None, "id": 1}, id="no-such-stream"),
        pytest.param(
            {"method": "UNSUBSCRIBE", "params": ["b@trade"], "id": -7}, {"result": None, "id": -7}, id="never-subscribed"
        ),
        pytest.param(
            {"method": "LIST_SUBSCRIPTIONS", "id": "abc9"}, {"result": ["x@trade"], "id": "abc9"}, id="list-with-text-id"
        ),
        pytest.param({"method": "GET_PROPERTY", "params": ["combined"], "id": None}, {"result": True, "id": None}, id="property"),
        pytest.param({"method": "LIST_SUBSCRIPTIONS"}, {"result": ["x@trade"], "id": None}, id="without-id"),
    ],
)
def test_a_well_formed_request_is_answered(request_: dict[str, Any], reply: dict[str, Any]) -> None:
    """The reply carries the result and the id of its request, whatever form the id has."""
    assert json.loads(protocol.answer(json.dumps(request_), _subscribed("x@trade"))) == reply


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        pytest.param([], 2, "Invalid request: expected an object", id="array"),
        pytest.param({"id": 1}, 2, "Invalid request: missing field `method`", id="no-method"),
        pytest.param(
            {"method": "HELLO", "id": 1}, 2, f"Invalid request: unknown variant `HELLO`, expected one of {_OF_FIVE}", id="method"
        ),
        pytest.param(
            {"method": "SUBSCRIBE", "params": "x", "id": 1},
            2,
            "Invalid request: `params` must be an array of stream names",
            id="p",
        ),
        pytest.param(
            {"method": "SUBSCRIBE", "params": [1], "id": 1},
            2,
            "Invalid request: `params` must be an array of stream names",
            id="n",
        ),
        pytest.param(
            {"method": "SUBSCRIBE", "params": list("abcd"), "id": 1},
            2,
            "Invalid request: more than 3 streams on one connection",
            id="many",
        ),
        pytest.param({"method": "SET_PROPERTY", "params": ["colour", 1], "id": 1}, 0, "Unknown property: colour", id="property"),
        pytest.param(
            {"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1},
            1,
            "Invalid value type: expected Boolean for `combined`",
            id="b",
        ),
    ],
)
def test_a_wrong_request_is_refused(request_: Any, code: int, text: str) -> None:
    """Errors come nested, with the exchange's code, and change nothing."""
    subscriptions = _subscribed("x@trade")
    reply = json.loads(protocol.answer(json.dumps(request_), subscriptions))
    assert reply["error"] == {"code": code, "msg": text}
    assert list(subscriptions.streams) == ["x@trade"]


@pytest.mark.parametrize("wrong", [1.5, [], {}, True, 2**63, "x" * 37, "a b"])
def test_an_id_of_another_form_is_refused(wrong: object) -> None:
    """Ids are 64-bit integers, alphanumeric text of up to 36 characters, or null; others are not repeated."""
    reply = json.loads(protocol.answer(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": wrong}), _subscribed()))
    assert (reply["error"]["code"], reply["id"]) == (2, None)


def test_the_documented_shape_of_errors_can_be_chosen() -> None:
    """The bare shape has code and msg beside the id."""
    reply = json.loads(protocol.answer('{"method":"NO","id":4}', _subscribed(), "bare"))
    assert (reply["code"], reply["id"], "error" in reply) == (2, 4, False)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_any_text_is_answered_or_not_json(text: str | bytes) -> None:
    """Whatever a client sends has an answer, or is reported as no JSON."""
    try:
        reply = json.loads(protocol.answer(text, _subscribed()))
    except protocol.NotJsonError:
        return
    assert {"error", "result", "pong"} & reply.keys()


def test_a_ping_by_hand_is_answered() -> None:
    """What one types into wscat to try a connection comes back, and subscribes to nothing."""
    subscriptions = _subscribed("x@trade")
    assert json.loads(protocol.answer('{"ping": 1705228800000}', subscriptions)) == {"pong": 1705228800000}
    assert list(subscriptions.streams) == ["x@trade"]


def test_a_ping_with_more_in_it_is_a_request() -> None:
    """Only the bare message is an addition of ours; beside other keys it is as unknown as on the real exchange."""
    reply = json.loads(protocol.answer('{"ping": 1, "id": 3}', _subscribed()))
    assert reply == {"error": {"code": 2, "msg": "Invalid request: missing field `method`"}, "id": 3}


def test_a_property_switches_the_framing() -> None:
    """SET_PROPERTY combined is remembered."""
    subscriptions = _subscribed()
    protocol.answer('{"method":"SET_PROPERTY","params":["combined",false],"id":5}', subscriptions)
    assert not subscriptions.combined


@pytest.mark.parametrize(
    ("stream", "public"),
    [
        ("btcusdt@trade", True),
        ("btcusdt@bookTicker", True),
        ("!bookTicker", True),
        ("btcusdt@depth", True),
        ("btcusdt@depth20@100ms", True),
        ("btcusdt@depth@0ms", True),
        ("btcusdt@rpiDepth@500ms", True),
        ("btcusdt@aggTrade", False),
        ("btcusdt@kline_1m", False),
        ("btcusdt@markPrice@1s", False),
        ("!markPrice@arr", False),
        ("btcusdt@miniTicker", False),
        ("!forceOrder@arr", False),
    ],
)
def test_each_futures_stream_has_one_path(stream: str, *, public: bool) -> None:
    """A futures stream is delivered below /public or below /market, never both."""
    paths = [path for path in ("public", "market") if delivers(path, stream, legacy_is_public=False)]
    assert paths == ["public" if public else "market"]
    assert delivers("legacy", stream, legacy_is_public=False)
    assert delivers("legacy", stream, legacy_is_public=True) is public
