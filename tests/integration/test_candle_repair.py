"""A candle that closed while nobody listened is asked of REST, and is in the topic once."""

from __future__ import annotations

from integration.support import Rig, wait_until
from k2.simulator.faults import Refuse, Skip
from k2.simulator.generated import GeneratedMarket, GeneratedOptions
from kit.verify import read_topic

MINUTE_MS = 60_000
MARKET = GeneratedOptions(symbols=("BTCUSDT",), rate=200.0, event_rate=8.0, fills=(1,))  # a minute takes some 2.4 seconds


def test_a_candle_that_closed_unheard_is_made_up_for(rig: Rig) -> None:
    """The hole is known by the next candle, and filled when REST answers again."""
    exchange = rig.exchange(GeneratedMarket(MARKET))
    client = rig.client(
        exchange.ws_url, "--rest-url", exchange.rest_url, "--streams", "kline_1m", symbols=("BTCUSDT",)
    )  # fmt: skip
    client.wait_for_produced(1)
    exchange.inject(Refuse(status=503, count=1, target="rest"), Skip("BTCUSDT", 45, kinds=("kline_1m",)))
    client.wait_for_event("Gap in the exchange's ids", timeout=30)
    client.wait_for_event("Missed candles asked for", timeout=30, missing=0)
    wait_until(lambda: client.metrics("k2_gaps_open") == 0, "the hole to be filled")
    client.wait_for_produced(client.metrics.produced + 1)
    sheet = client.stopped()
    assert sheet["balanced"]
    records = read_topic(rig.bootstrap, rig.registry_url, f"{rig.prefix}.klines.binance")
    made_up = [record for record in records if record.headers]
    opened = sorted(int(record.value["open_time"].timestamp() * 1_000) for record in records)
    assert opened == list(range(opened[0], opened[-1] + 1, MINUTE_MS))
    assert made_up
    assert all(record.headers == {"k2-source": b"backfill"} for record in made_up)
    assert all(record.value["is_closed"] for record in records)
    requests = exchange.read(lambda server: list(server.rest_requests))
    assert [request.status for request in requests if "klines" in request.target][:2] == [503, 200]
