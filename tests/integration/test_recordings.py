"""Real input: what was recorded from the exchange arrives in a real Kafka, number for number."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from integration.support import Rig
from k2.simulator.recorded import RecordedMarket
from k2.simulator.recording import load

if TYPE_CHECKING:
    from kit.verify import ReadRecord

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"

Event = dict[str, Any]


class Case(NamedTuple):
    """A recording, what it is of, and how many trades its stream holds."""

    file: str
    market: str
    stream: str
    symbols: tuple[str, ...]
    trades: int


SPOT_2024 = Case("spot_btcusdt_20240808.gz", "spot", "trade", ("BTCUSDT",), 9_757)
USDM_2024 = Case("usdm_btcusdt_20240808.gz", "usdm", "trade", ("BTCUSDT",), 21_313)
SPOT_2021 = Case("spot_multi_20211012.txt", "spot", "aggTrade", ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"), 2)
USDM_2021 = Case("usdm_multi_20210722.txt", "usdm", "aggTrade", ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"), 91)
NOT_DEFAULT = {"spot": (), "usdm": ("--market", "usdm"), "aggTrade": (), "trade": ("--stream", "trade")}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def recording_path(case: Case) -> Path:
    path = RECORDINGS / case.file
    if not path.exists():
        pytest.skip(f"the recording {case.file} is not beside this checkout")
    return path


def recorded_events(path: Path, stream: str) -> list[Event]:
    """The events of one kind of stream, read with nothing but the standard library."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    messages = [json.loads(line[line.index("{") :]) for line in lines if "{" in line]
    return [message["data"] for message in messages if message.get("stream", "").endswith(f"@{stream}")]


def expected(event: Event, market: str) -> dict[str, Any]:
    """The whole record that a consumer must find for an event, but for the time at which we received it."""
    kind, symbol = event["e"], event["s"]
    exchange_id = event["a"] if kind == "aggTrade" else event["t"]
    vendor_data = {
        "event_type": kind,
        "event_time": str(event["E"]),
        "first_trade_id": str(event.get("f", exchange_id)),
        "last_trade_id": str(event.get("l", exchange_id)),
        **({"X": event["X"]} if "X" in event else {}),
    }
    return {
        "message_id": f"binance.{market}.{kind}.{symbol}.{exchange_id}",
        "trade_id": f"BINANCE-{exchange_id}",
        "symbol": symbol,
        "exchange": "BINANCE",
        "asset_class": "futures" if market == "usdm" else "crypto",
        "timestamp": EPOCH + timedelta(milliseconds=event["T"]),
        "price": Decimal(event["p"]),
        "quantity": Decimal(event["q"]),
        "currency": "BTC" if symbol == "LRCBTC" else "USDT",
        "side": "SELL" if event["m"] else "BUY",
        "trade_conditions": [],
        "source_sequence": exchange_id,
        "platform_sequence": None,
        "vendor_data": vendor_data,
    }


def found(record: ReadRecord) -> dict[str, Any]:
    return {name: value for name, value in record.value.items() if name != "ingestion_timestamp"}


def of_symbol(records: list[ReadRecord], symbol: str) -> list[ReadRecord]:
    return [record for record in records if record.key == symbol]


def played(rig: Rig, case: Case, transport: str) -> list[ReadRecord]:
    """Replay the recording through the client and read the topic back."""
    exchange = rig.exchange(RecordedMarket(load(recording_path(case)), speed=None, times="original"))
    asked = NOT_DEFAULT[case.market] + NOT_DEFAULT[case.stream]
    # The times are of then, and a topic with an end to its retention would have forgotten them within minutes.
    client = rig.client(exchange.ws_url, *asked, "--retention-ms", -1, "--transport", transport, symbols=case.symbols)
    client.wait_for_produced(case.trades, timeout_s=40)
    sheet = client.stopped()
    assert sheet["balanced"]
    assert (sheet["received"], sheet["delivered"]) == (case.trades, case.trades)
    return rig.records()


@pytest.mark.parametrize(
    ("case", "transport"),
    [
        pytest.param(SPOT_2024, "picows", id="spot-2024-picows"),
        pytest.param(SPOT_2024, "websockets", id="spot-2024-websockets"),
        pytest.param(USDM_2024, "picows", id="usdm-2024-picows"),
        pytest.param(SPOT_2021, "picows", id="spot-2021-picows"),
        pytest.param(SPOT_2021, "websockets", id="spot-2021-websockets"),
        pytest.param(USDM_2021, "picows", id="usdm-2021-picows"),
        pytest.param(USDM_2021, "websockets", id="usdm-2021-websockets"),
    ],
)
def test_every_recorded_trade_arrives_as_it_was(rig: Rig, case: Case, transport: str) -> None:
    """A separate consumer reads back every trade of the recording: none missing, none twice, in order, numbers exactly equal."""
    events = recorded_events(recording_path(case), case.stream)
    assert len(events) == case.trades
    records = played(rig, case, transport)
    assert len(records) == case.trades
    for symbol in case.symbols:
        wanted = [event for event in events if event["s"] == symbol]
        arrived = of_symbol(records, symbol)
        assert [found(record) for record in arrived] == [expected(event, case.market) for event in wanted]
        assert [record.timestamp_ms for record in arrived] == [event["T"] for event in wanted]
