"""Many symbols: shared out among replicas, spread over connections, and followed as the exchange lists them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from integration.support import FIRST_ID, Rig, generated, ids_by_symbol, wait_until
from k2.simulator.faults import Delist, ListSymbol

if TYPE_CHECKING:
    from integration.support import RunningClient, RunningExchange
    from k2.simulator.connection import Connection

MESSAGES_A_SECOND, STREAMS_A_CONNECTION = 5, 1_024
THIRTY = tuple(f"COIN{number:02d}USDT" for number in range(30))
SIX_HUNDRED = tuple(f"COIN{number:03d}USDT" for number in range(600))
SPECS = ("aggTrade", "bookTicker", "kline_1m")


class _Request(msgspec.Struct):
    method: str
    params: list[str]


def asked_for(connection: Connection) -> list[str]:
    """The streams of all SUBSCRIBE frames of a connection, in order."""
    requests = [msgspec.json.decode(text, type=_Request) for text in connection.messages]
    return [name for request in requests if request.method == "SUBSCRIBE" for name in request.params]


def listing_client(rig: Rig, exchange: RunningExchange, *arguments: object, home: str = "home") -> RunningClient:
    """A client that wants whatever trades in USDT."""
    wanted = ("--symbols", "ALL:USDT", "--rest-url", exchange.rest_url)
    return rig.client(exchange.ws_url, *wanted, *arguments, symbols=("ALL:USDT",), home=home)


def test_three_replicas_share_thirty_symbols(rig: Rig) -> None:
    """One configuration, three times: each symbol is streamed by exactly one, none is missing, every trade is there once."""
    exchange = rig.exchange(generated(600, symbols=THIRTY))
    clients = [rig.client(exchange.ws_url, "--shard", f"{index}/3", symbols=THIRTY, home=f"replica{index}") for index in range(3)]
    shares = [set(client.wait_for_event("Starting")["symbols"]) for client in clients]
    for client in clients:
        client.wait_for_produced(500)
    sheets = [client.stopped() for client in clients]
    assert sum(map(len, shares)) == len(THIRTY)
    assert set().union(*shares) == set(THIRTY)
    assert all(sheet["balanced"] and not sheet["dead_lettered"] for sheet in sheets)
    ids = ids_by_symbol(rig.records())
    assert set(ids) == set(THIRTY)
    for symbol, found in ids.items():
        assert all(after - before == 1 for before, after in itertools.pairwise(found)), symbol


def test_replicas_share_all_that_trades(rig: Rig) -> None:
    """With `ALL:` too: the parts come from each symbol's own name, so that a listing moves no other symbol."""
    exchange = rig.exchange(generated(600, symbols=THIRTY), start="at_once")
    clients = [listing_client(rig, exchange, "--shard", f"{index}/3", home=f"replica{index}") for index in range(3)]
    for client in clients:
        client.wait_for_event("Subscribed")
    names = Counter(name for connection in exchange.connections for name in asked_for(connection))
    assert names == Counter(f"{symbol.lower()}@aggTrade" for symbol in THIRTY)
    assert all(client.stopped()["balanced"] for client in clients)


def test_all_symbols_are_spread_over_connections_within_the_exchanges_limits(rig: Rig) -> None:
    """600 symbols and three streams of each: two connections, none with too many streams or too many messages in a second."""
    exchange = rig.exchange(generated(1_000, symbols=(*SIX_HUNDRED, "COIN000BTC")), start="at_once")
    client = listing_client(rig, exchange, "--streams", *SPECS)
    wanted = {f"{symbol.lower()}@{spec}" for symbol in SIX_HUNDRED for spec in SPECS}
    wait_until(lambda: {name for link in exchange.connections for name in asked_for(link)} == wanted, "all subscriptions", 60)
    client.wait_for_metric("binance_messages_received_total", 5_000)
    assert len(client.get_json("/health")[1]["symbols"]) == len(SIX_HUNDRED)
    links = exchange.connections
    assert len(links) == -(-len(wanted) // STREAMS_A_CONNECTION)
    asked = [name for link in links for name in asked_for(link)]
    assert len(asked) == len(set(asked)) == len(wanted)
    assert all(len(asked_for(link)) <= STREAMS_A_CONNECTION for link in links)
    assert all(link.open for link in links), "the exchange closes a connection that sends more than five messages in a second"
    sheet = client.stopped(60)
    assert sheet["balanced"]
    assert sheet["dead_lettered"] == 0


def test_listings_and_delistings_are_followed(rig: Rig) -> None:
    """A new symbol of the quote asset is streamed, one that stops trading is let go, and one of another asset changes nothing."""
    exchange = rig.exchange(generated(200, symbols=("BTCUSDT", "ETHUSDT", "ETHBTC")), start="at_once")
    client = listing_client(rig, exchange, "--listing-interval", 1)
    client.wait_for_produced(50)
    exchange.inject(ListSymbol("NEWUSDT"), ListSymbol("NEWBTC"), Delist("ETHUSDT"))
    wait_until(lambda: client.get_json("/health")[1]["symbols"] == ["BTCUSDT", "NEWUSDT"], "the new list")
    client.wait_for_metric("k2_stream_events_published_total", 5, stream="newusdt@aggTrade")
    assert client.stopped()["balanced"]
    ids = ids_by_symbol(rig.records())
    assert set(ids) == {"BTCUSDT", "ETHUSDT", "NEWUSDT"}
    assert ids["BTCUSDT"] == list(range(ids["BTCUSDT"][0], ids["BTCUSDT"][0] + len(ids["BTCUSDT"])))
    assert ids["BTCUSDT"][0] >= FIRST_ID


def test_without_the_exchanges_list_nothing_can_be_followed(rig: Rig) -> None:
    """Where REST is off and no list was ever kept it cannot work; where REST is away it is waited for until the timeout."""
    exchange = rig.exchange(generated(200))
    without, away = (
        rig.client(exchange.ws_url, "--startup-timeout", 1, *words, symbols=("ALL:USDT",), home=words[0] if words else "off")
        for words in ((), ("--rest-url", "http://127.0.0.1:1"))
    )
    assert (without.wait(), away.wait()) == (2, 69)
    assert "--rest-url" in without.stderr
    assert "ALL:USDT" in away.stderr
