"""A stream that is silent while its neighbours talk, and one that the exchange will not subscribe, against real parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.support import Rig, generated, wait_until
from k2.simulator.faults import Silence

if TYPE_CHECKING:
    pass


def test_a_stream_that_falls_silent_is_told(rig: Rig) -> None:
    """The connection lives on the other streams, so only a watch for each stream sees it: log and metric do."""
    exchange = rig.exchange(generated(300))
    client = rig.client(exchange.ws_url, "--silence-timeout", "2")
    client.wait_for_produced(100)
    exchange.inject(Silence(streams=("ethusdt@aggTrade",)))
    assert client.wait_for_event("Streams fell silent", timeout=20)["streams"] == ["ethusdt@aggTrade"]
    wait_until(lambda: client.metrics("k2_streams_silent") == 1, "the metric")
    assert client.get_json("/health")[1]["connection_state"] == "CONNECTED"


def test_a_stream_that_the_exchange_does_not_have_is_told(rig: Rig) -> None:
    """The exchange acknowledges it all the same; without metadata from REST only its silence gives it away."""
    exchange = rig.exchange(generated(300))
    client = rig.client(exchange.ws_url, "--silence-timeout", "2", "--rest-url", "off", symbols=("BTCUSDT", "NOSUCHUSDT"))
    client.wait_for_produced(100)
    wait_until(lambda: any("nosuchusdt@aggTrade" in reason for reason in client.get_json("/health")[1]["reasons"]), "a reason")
    assert client.get_json("/health")[1]["status"] == "degraded"
