"""
The sorts of records, and where each form of a record holds what is shown of it.

A form is Avro in the client's own schemas, a JSON layout with fields of its own, or the exchange's payload as the layouts `event`
and `envelope` carry it. All is a table: sorts by name, and for each form the places of its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from msgspec import Struct

from k2.demo.text import price as exact
from k2.live.text import printable

AVRO, PAYLOAD = "avro", "payload"
OTHER = "other"
_NOWHERE = "-"
_SHOWN_BYTES = 60
_SHOWN_FIELDS = 6

Facts = Mapping[str, Any]


class Sort(Struct, frozen=True):
    """
    One sort of record.

    Attributes:
        facts: Names of what is shown, separated by blanks.
        places: For each form where these facts stand in a record: `k.o` is `o` inside `k`, `a|b` either, `-` nowhere.
        price, quantity: Which of the facts these are, or empty.
        word: One word about a record.
        cells: What is told of a record, in columns.
    """

    facts: str
    places: Mapping[str, str]
    price: str
    quantity: str
    word: Callable[[Facts], str]
    cells: Callable[[Facts], tuple[str, ...]]


def side_of(value: Any) -> str:
    """The taker's side; the exchange tells whether the buyer was the maker."""
    return ("SELL" if value else "BUY") if isinstance(value, bool) else str(value or "")


def number_of(value: Any) -> Decimal | None:
    """The number that a field holds, in whatever form; None where it holds none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def shown(value: Any) -> str:
    """A number without its padding, anything else as text that a terminal can take."""
    number = None if isinstance(value, str) and not value[:1].lstrip("-").isdigit() else number_of(value)
    return printable(str(value)) if number is None else exact(number)


def _count(levels: Any, what: str) -> str:
    return f"{len(levels) if isinstance(levels, list) else 0} {what}"


def _best(levels: Any) -> str:
    if not isinstance(levels, list) or not levels:
        return "-"
    level = levels[0]
    return shown(level["price"] if isinstance(level, Mapping) else level[0])


def _closed(facts: Facts) -> str:
    return "open" if facts["closed"] is False else "closed"  # a form without the fact is for closed ones only


def _window(facts: Facts) -> str:
    """What a ticker is over. The exchange's payload tells it by its type: 24hrMiniTicker, 1hTicker."""
    return str(facts["window"] or "").removesuffix("Ticker").removesuffix("Mini")


def _payload_text(payload: Any) -> str:
    text = payload[:_SHOWN_BYTES].decode(errors="replace") if isinstance(payload, bytes) else str(payload)[:_SHOWN_BYTES]
    return printable(text)


_OPEN_TO_CLOSE = {AVRO: "interval open high low close volume", PAYLOAD: "k.i k.o k.h k.l k.c k.v"}

SORTS: Mapping[str, Sort] = {
    "trade": Sort(
        "price quantity side currency",
        {AVRO: "price quantity side currency", PAYLOAD: "p q m -"},
        "price", "quantity", lambda f: side_of(f["side"]),
        lambda f: (side_of(f["side"]), f"{shown(f['quantity'])} at", f"{shown(f['price'])} {f['currency'] or ''}".rstrip()),
    ),
    "candle": Sort(
        "interval open high low close volume closed",
        {
            AVRO: f"{_OPEN_TO_CLOSE[AVRO]} is_closed", PAYLOAD: f"{_OPEN_TO_CLOSE[PAYLOAD]} k.x",
            "candle": f"{_OPEN_TO_CLOSE[AVRO]} -", "futures-kline": f"{_OPEN_TO_CLOSE[AVRO]} klineClosed",
        },
        "close", "volume", _closed,
        lambda f: (
            str(f["interval"]), f"O {shown(f['open'])}", f"H {shown(f['high'])}", f"L {shown(f['low'])}",
            f"C {shown(f['close'])}", f"V {shown(f['volume'])}", _closed(f),
        ),
    ),
    "quote": Sort(
        "bid bid_quantity ask ask_quantity",
        {
            AVRO: "bid_price bid_quantity ask_price ask_quantity", PAYLOAD: "b B a A",
            "futures-quote": "bestbidprice bestbidqty bestaskprice bestaskqty",
        },
        "bid", "bid_quantity", lambda _: "bid",
        lambda f: (
            f"bid {shown(f['bid'])}", f"x {shown(f['bid_quantity'])}", f"ask {shown(f['ask'])}", f"x {shown(f['ask_quantity'])}"
        ),
    ),
    "depth": Sort(
        "first last bids asks",
        {AVRO: "first_update_id final_update_id bids asks", PAYLOAD: "U u b a"},
        "", "", lambda f: f"{_count(f['bids'], '').strip()}+{_count(f['asks'], '').strip()}",
        lambda f: (f"updates {f['first']} to {f['last']}", _count(f["bids"], "bids"), _count(f["asks"], "asks")),
    ),
    "book": Sort(
        "last bids asks",
        {AVRO: "last_update_id bids asks", PAYLOAD: "lastUpdateId|u bids|b asks|a"},
        "", "", lambda f: f"{_count(f['bids'], '').strip()}+{_count(f['asks'], '').strip()}",
        lambda f: (
            f"update {f['last']}", f"{_count(f['bids'], 'bids')} from {_best(f['bids'])}",
            f"{_count(f['asks'], 'asks')} from {_best(f['asks'])}",
        ),
    ),
    "ticker": Sort(
        "window open high low last volume",
        {AVRO: "window open high low close volume", PAYLOAD: "e o h l c v"},
        "last", "volume", _window,
        lambda f: (
            _window(f), f"last {shown(f['last'])}", f"O {shown(f['open'])}", f"H {shown(f['high'])}",
            f"L {shown(f['low'])}", f"V {shown(f['volume'])}",
        ),
    ),
    "average": Sort(
        "interval price", {AVRO: "interval price", PAYLOAD: "i w"}, "price", "", lambda _: "average",
        lambda f: (f"average of {f['interval']}", shown(f["price"])),
    ),
    "reference": Sort(
        "price", {AVRO: "price", PAYLOAD: "r"}, "price", "", lambda _: "ref",
        lambda f: ("reference price", "none" if f["price"] is None else shown(f["price"])),
    ),
    "mark": Sort(
        "mark index funding", {AVRO: "mark_price index_price funding_rate", PAYLOAD: "p i r"}, "mark", "", lambda _: "mark",
        lambda f: (f"mark {shown(f['mark'])}", f"index {shown(f['index'])}", f"funding {shown(f['funding'])}"),
    ),
    "liquidation": Sort(
        "side quantity price status",
        {AVRO: "side quantity price order_status", PAYLOAD: "o.S o.q o.p o.X"},
        "price", "quantity", lambda f: side_of(f["side"]),
        lambda f: (side_of(f["side"]), f"{shown(f['quantity'])} at", shown(f["price"]), str(f["status"])),
    ),
    "frame": Sort(
        "payload", {AVRO: "payload"}, "", "", lambda _: "raw",
        lambda f: (f"{len(f['payload'] or b'')} bytes", _payload_text(f["payload"])),
    ),
}  # fmt: skip

SORT_OF_SCHEMA = {
    "trade_v2": "trade", "kline_v2": "candle", "quote_v2": "quote", "depth_v2": "depth", "book_v2": "book", "ticker_v2": "ticker",
    "average_price_v2": "average", "reference_price_v2": "reference", "mark_price_v2": "mark", "liquidation_v2": "liquidation",
    "raw_v2": "frame",
}  # fmt: skip
SORT_OF_KIND = {
    "aggTrade": "trade", "trade": "trade", "blockTrade": "trade", "kline": "candle", "bookTicker": "quote", "depth": "depth",
    "rpiDepth": "depth", "partialDepth": "book", "miniTicker": "ticker", "ticker": "ticker", "windowTicker": "ticker",
    "avgPrice": "average", "referencePrice": "reference", "markPrice": "mark", "forceOrder": "liquidation",
}  # fmt: skip
SORT_OF_LAYOUT = {"candle": "candle", "futures-kline": "candle", "futures-quote": "quote"}


def at(record: Mapping[str, Any], place: str) -> Any:
    """What a record holds at a place; None where it has no such place."""
    for path in place.split("|"):
        value: Any = record
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


@lru_cache(maxsize=64)
def _places(sort: str, form: str) -> tuple[tuple[str, str], ...]:
    found = SORTS.get(sort)
    if found is None or form not in found.places:
        return ()
    return tuple(zip(found.facts.split(), found.places[form].split(), strict=True))


class RecordRow(Struct, frozen=True):
    """A decoded record, as far as it is shown. `message_id` is made up where the record has none."""

    message_id: str
    symbol: str
    stream: str
    sort: str
    form: str
    fields: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        return {name: None if place == _NOWHERE else at(self.fields, place) for name, place in _places(self.sort, self.form)}

    @property
    def price(self) -> Decimal | None:
        """The price that stands for the record; None for one that has no single one."""
        return self._number("price")

    @property
    def quantity(self) -> Decimal | None:
        return self._number("quantity")

    @property
    def word(self) -> str:
        facts = self.facts
        return printable(SORTS[self.sort].word(facts)) if facts else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """What is told of it, in columns; names and values where its sort is not known."""
        facts = self.facts
        if facts:
            return tuple(printable(cell) for cell in SORTS[self.sort].cells(facts))
        simple = {name: value for name, value in self.fields.items() if not isinstance(value, Mapping | list)}
        return tuple(f"{printable(name)}={shown(value)}" for name, value in list(simple.items())[:_SHOWN_FIELDS])

    def _number(self, which: str) -> Decimal | None:
        name = getattr(SORTS[self.sort], which) if self.sort in SORTS else ""
        place = dict(_places(self.sort, self.form)).get(name, _NOWHERE)
        return None if place == _NOWHERE else number_of(at(self.fields, place))
