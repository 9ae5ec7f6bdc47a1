"""Real input beyond trades: every quote, every update of an order book and every candle that was recorded arrives as it was."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from integration.support import Rig, RunningClient
from integration.test_recordings import SPOT_2021, SPOT_2024, USDM_2021, USDM_2024, Case, recorded_events, recording_path
from k2.simulator.recorded import RecordedMarket
from k2.simulator.recording import load
from kit.kafka import KafkaBroker
from kit.registry import SchemaRegistry
from kit.verify import ReadRecord, read_topic

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Event = dict[str, Any]


class Recorded(NamedTuple):
    """A recording and what it holds beside trades: frames by spec."""

    case: Case
    frames: dict[str, int]


RECORDED = {
    "spot-2024": Recorded(SPOT_2024, {"bookTicker": 28_040, "depth@100ms": 3_451}),
    "usdm-2024": Recorded(USDM_2024, {"bookTicker": 66_089, "depth@0ms": 6_551}),
    "spot-2021": Recorded(SPOT_2021, {"bookTicker": 84, "depth@100ms": 177, "kline_1m": 2}),
    "usdm-2021": Recorded(USDM_2021, {"bookTicker": 613, "depth@100ms": 764, "kline_1m": 67}),
}
TOPICS = {"bookTicker": "quotes", "depth@100ms": "depth", "depth@0ms": "depth", "kline_1m": "klines"}


class Played(NamedTuple):
    """A recording that went through the client: its events by spec, and the records of each topic."""

    recorded: Recorded
    events: dict[str, list[Event]]
    records: dict[str, list[ReadRecord]]
    frames: list[ReadRecord]
    sheet: dict[str, Any]
    client: RunningClient


@pytest.fixture(scope="module", params=list(RECORDED.values()), ids=list(RECORDED))
def played(
    request: pytest.FixtureRequest, kafka: KafkaBroker, registry: SchemaRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Played:
    """The recording replayed as fast as the client takes it, every stream decoded and captured at once."""
    recorded: Recorded = request.param
    case, path = recorded.case, recording_path(recorded.case)
    with Rig(kafka, registry, tmp_path_factory.mktemp("played")) as rig:
        exchange = rig.exchange(RecordedMarket(load(path), speed=None, times="original"))
        client = rig.client(
            exchange.ws_url, "--market", case.market, "--streams", *recorded.frames, "--candles", "updates",
            "--raw-streams", *recorded.frames, "--retention-ms", -1, symbols=case.symbols,
        )  # fmt: skip
        client.wait_for_produced(2 * sum(recorded.frames.values()), timeout_s=60)
        sheet = client.stopped()
        events = {spec: recorded_events(path, spec) for spec in recorded.frames}
        records = {
            topic: read_topic(rig.bootstrap, rig.registry_url, f"{rig.prefix}.{topic}.binance")
            for topic in {TOPICS[spec] for spec in recorded.frames}
        }
        frames = read_topic(rig.bootstrap, rig.registry_url, f"{rig.prefix}.raw.binance")
    return Played(recorded, events, records, frames, sheet, client)


def moment(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def levels(pairs: list[list[str]]) -> list[dict[str, Decimal]]:
    return [{"price": Decimal(price), "quantity": Decimal(quantity)} for price, quantity in pairs]


def quote(event: Event) -> dict[str, Any]:
    return {
        "bid_price": Decimal(event["b"]),
        "bid_quantity": Decimal(event["B"]),
        "ask_price": Decimal(event["a"]),
        "ask_quantity": Decimal(event["A"]),
        "source_sequence": event["u"],
        "event_timestamp": moment(event["E"]) if "E" in event else None,
        **({"timestamp": moment(event["T"])} if "T" in event else {}),
    }


def update(event: Event) -> dict[str, Any]:
    return {
        "first_update_id": event["U"],
        "final_update_id": event["u"],
        "previous_update_id": event.get("pu"),
        "bids": levels(event["b"]),
        "asks": levels(event["a"]),
        "timestamp": moment(event["T"] if "T" in event else event["E"]),
        "event_timestamp": moment(event["E"]),
    }


def candle(event: Event) -> dict[str, Any]:
    k = event["k"]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "q": "quote_volume"}
    numbers = {**names, "V": "taker_buy_volume", "Q": "taker_buy_quote_volume"}
    return {
        **{name: Decimal(k[key]) for key, name in numbers.items()},
        "interval": k["i"],
        "time_zone": "UTC",
        "open_time": moment(k["t"]),
        "close_time": moment(k["T"]),
        "trade_count": k["n"],
        "first_trade_id": k["f"] if k["f"] >= 0 else None,
        "last_trade_id": k["L"] if k["L"] >= 0 else None,
        "is_closed": k["x"],
        "timestamp": moment(event["E"]),
    }


class Shape(NamedTuple):
    """What a record must hold for an event, and the end of its message_id."""

    fields: Callable[[Event], dict[str, Any]]
    number: Callable[[Event], str]


SHAPES: Mapping[str, Shape] = {
    "quotes": Shape(quote, lambda event: str(event["u"])),
    "depth": Shape(update, lambda event: str(event["u"])),
    "klines": Shape(candle, lambda event: f"{event['k']['t']}.{event['E']}"),
}


def by_symbol(records: list[ReadRecord]) -> dict[str | None, list[ReadRecord]]:
    found: dict[str | None, list[ReadRecord]] = defaultdict(list)
    for record in records:
        found[record.key].append(record)
    return found


def test_every_frame_becomes_the_record_that_it_says(played: Played) -> None:
    """Field by field, in the order of the exchange, none missing and none twice, under the symbol and a message_id of its own."""
    market = played.recorded.case.market
    for spec, events in played.events.items():
        assert len(events) == played.recorded.frames[spec]
        shape, arrived = SHAPES[TOPICS[spec]], by_symbol(played.records[TOPICS[spec]])
        for symbol in {event["s"] for event in events}:
            wanted = [event for event in events if event["s"] == symbol]
            found = [record.value for record in arrived[symbol]]
            assert [{name: value[name] for name in shape.fields(event)} for value, event in zip(found, wanted, strict=True)] == [
                shape.fields(event) for event in wanted
            ]
            identities = [f"binance.{market}.{spec}.{symbol}.{shape.number(event)}" for event in wanted]
            assert [value["message_id"] for value in found] == identities
            assert {(value["symbol"], value["exchange"]) for value in found} == {(symbol, "BINANCE")}


def test_updates_of_an_order_book_follow_each_other_in_the_topic(played: Played) -> None:
    """On spot each begins with the id behind the last one's, on futures each names the last one's: there is no hole."""
    for found in by_symbol(played.records["depth"]).values():
        updates = [record.value for record in found]
        for before, after in itertools.pairwise(updates):
            follows = after["previous_update_id"]
            assert (after["first_update_id"] - 1 if follows is None else follows) == before["final_update_id"]


def test_every_frame_is_captured_byte_for_byte(played: Played) -> None:
    """The raw topic holds the frames of the recording as they are, with the stream's name and the time of receipt."""
    recording = load(recording_path(played.recorded.case))
    wanted = defaultdict(list)
    for recorded in recording.frames:
        if recorded.frame.stream.partition("@")[2] in played.recorded.frames:
            wanted[recorded.frame.stream].append(recorded.frame.combined)
    captured = defaultdict(list)
    for record in played.frames:
        captured[record.value["stream"]].append(record.value["payload"])
        assert record.key == record.value["stream"].partition("@")[0].upper()
    assert captured == wanted


def test_both_ledgers_balance(played: Played) -> None:
    """Each event made two records: its own and the captured frame."""
    events = sum(played.recorded.frames.values())
    sheet = played.sheet
    assert sheet["balanced"]
    assert (sheet["received"], sheet["published"]) == (events, events)
    assert (sheet["records"], sheet["delivered"]) == (2 * events, 2 * events)
    assert not played.client.dead_letter_lines
