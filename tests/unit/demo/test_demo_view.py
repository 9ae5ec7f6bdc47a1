"""Claims about the live view: pure functions from one moment to a screen, or to a line."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from k2.demo.letters import LetterRow
from k2.demo.plain import plain_heading, plain_line
from k2.demo.snapshot import MOST_ROWS, Health, Memory, SeriesRow, Snapshot, TopicRow
from k2.demo.sorts import AVRO, OTHER, PAYLOAD, RecordRow
from k2.demo.text import curve, price, progress
from k2.demo.view import Share, screen, share
from k2.live.rates import RateMeter
from k2.live.sheet import ClientSheet
from k2.live.text import ASCII, UNICODE, milliseconds, shortened
from unit.demo.samples import TOPIC, record, row_of, trade_tally

BALANCE = ClientSheet(received=7_205, published=7_200, dead_lettered=5, records=7_200, delivered=7_199, in_flight=1)
LATENCY = {"p50": 0.0065, "p95": 0.0121, "p99": 0.0184}
LETTERS = tuple(
    LetterRow(reason, "btcusdt@aggTrade", "something was wrong with it")
    for reason in ("not_json", "missing_field", "wrong_type", "unknown_stream", "timestamp_out_of_range")
)


def row(symbol: str, side: str = "BUY", missing: int = 0, stream: str = "aggTrade") -> SeriesRow:
    return SeriesRow(symbol, stream, row_of(1, symbol, side), 200.4, 2_400, missing, tuple(map(Decimal, range(50))))


def topic(name: str, form: str = "by the registry's schema 1", missing: int = 0) -> TopicRow:
    return TopicRow(name, form, 7_190, missing, 601.2)


SEEN = Snapshot(
    what="Trades",
    exchange="a simulated Binance",
    feed="spot aggTrade, 600/s",
    speed=1,
    topics=(topic(TOPIC),),
    phase="running",
    elapsed_s=4.2,
    seconds=12.0,
    health=Health("CONNECTED", balance=BALANCE, latency_seconds=LATENCY),
    sent=7_205,
    consumed=7_190,
    distinct=7_190,
    per_s=601.2,
    rows=(row("BTCUSDT"), row("ETHUSDT", "SELL"), row("BNBUSDT")),
    streams=3,
    letters=LETTERS,
    letters_by_reason={letter.reason: 1 for letter in LETTERS},
    records=(row_of(1),) * 30,
)
MANY = {"streams": 20, "rows": tuple(row(f"S{i}") for i in range(20))}


CANDLE = RecordRow(
    "id", "BTCUSDT", "kline_1m", "candle", PAYLOAD,
    {"k": {"i": "1m", "o": "1.5", "h": "2", "l": "1", "c": "1.75", "v": "10", "x": True}},
)  # fmt: skip


def changed(**fields: Any) -> Snapshot:
    return msgspec.structs.replace(SEEN, **fields)


def drawn(seen: Snapshot, width: int = 80, height: int = 24, **console: Any) -> list[str]:
    """The lines that a terminal of this size shows."""
    output = StringIO()
    on = Console(
        file=output, width=width, height=height, force_terminal=True, **{"no_color": True, "color_system": None, **console}
    )
    on.print(screen(seen, width, height, UNICODE))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("symbols", [1, 3, 8, 40])
@pytest.mark.parametrize("topics", [1, 3, 12])
@pytest.mark.parametrize("speed", [1, 750])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 18), (120, 40), (200, 60)])
def test_the_screen_fits(width: int, height: int, speed: int, topics: int, symbols: int) -> None:
    """Whatever the terminal's size, the number of symbols and of topics: no line is too wide, and no row too many."""
    rows = tuple(row(f"SYM{i}USDT", stream="trade" if i else "depth@100ms") for i in range(symbols))
    seen = changed(rows=rows, streams=symbols, topics=tuple(topic(f"topic-{i}") for i in range(topics)), speed=speed)
    lines = drawn(seen, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    "told",
    [
        "simulated Binance", "spot aggTrade, 600/s", "market.crypto.trades.binance", "schema 1", "CONNECTED",
        "BTCUSDT", "61,837.63", "SELL", "2,400", "200",
        "7,205 received", "7,200 published", "5 dead", "7,199 delivered", "1 in flight", "7,190 read back", "601/s",
        "p50 6.5 ms", "p95 12.1 ms", "p99 18.4 ms",
        "5 on the disk: not_json 1", "timestamp_out_of_range", "something was wrong", "4.2 of 12 s",
    ],
)  # fmt: skip
def test_eighty_columns_show_what_matters(told: str) -> None:
    """The smallest usual terminal shows prices, sides, rates, both ledgers, latency, dead letters and the time."""
    assert told in "\n".join(drawn(SEEN))


@pytest.mark.parametrize("told", ["Latest records", "binance.spot.aggTrade.BTCUSDT.1", "btcusdt@aggTrade", "Quantity"])
def test_a_larger_terminal_shows_more(told: str) -> None:
    """The latest records, the dead letters' streams and quantities appear where there is room for them."""
    assert told in "\n".join(drawn(SEEN, 120, 40))
    assert told not in "\n".join(drawn(SEEN))


@pytest.mark.parametrize(
    ("height", "symbols", "expected"),
    [
        pytest.param(24, 3, Share(3, 5, 0), id="the-usual"),
        pytest.param(24, 40, Share(8, 2, 0), id="many-symbols-leave-two-letters"),
        pytest.param(17, 3, Share(3, 0, 0), id="symbols-before-letters"),
        pytest.param(40, 3, Share(3, 5, 16), id="records-take-the-rest"),
        pytest.param(10, 3, Share(1, 0, 0), id="far-too-small"),
    ],
)
def test_rows_are_shared_by_importance(height: int, symbols: int, expected: Share) -> None:
    """Symbols come first, then dead letters, then the latest records."""
    assert share(height, symbols) == expected


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(changed(health=None, phase="starting"), "● starting", id="no-answer-yet"),
        pytest.param(changed(health=Health(), phase="starting"), "● starting", id="not-connected-yet"),
        pytest.param(changed(health=Health()), "● DISCONNECTED", id="connection-lost"),
        pytest.param(changed(rows=(SeriesRow("BTCUSDT", "aggTrade", None, 0.0, 0, 0),)), "BTCUSDT", id="no-trade-yet"),
        pytest.param(changed(topics=(topic(TOPIC, missing=3),)), "3 ids missing", id="missing-ids"),
        pytest.param(changed(distinct=7_188), "2 twice", id="repetitions"),
        pytest.param(changed(letters=(), letters_by_reason={}), "none so far", id="no-dead-letters"),
        pytest.param(changed(**MANY), "and 13 more", id="more-symbols-than-rows"),
        pytest.param(changed(**{**MANY, "streams": 3_000}), "and 2,993 more", id="more-streams-than-a-screen-can-hold"),
        pytest.param(changed(speed=25), "Market time runs 25 times as fast as yours", id="a-fast-clock"),
        pytest.param(
            changed(topics=(topic("a"), topic("b", "as JSON in layout event"))), "b, as JSON in layout event", id="topics"
        ),
        pytest.param(changed(topics=tuple(map(topic, "abcdefg"))), "in 4 more topics", id="more-topics-than-rows"),
        pytest.param(changed(rows=(row("BTCUSDT"), row("BTCUSDT", stream="trade"))), "Stream", id="several-streams"),
        pytest.param(changed(rows=(SeriesRow("BTCUSDT", "kline_1m", CANDLE, 1.0, 1, 0),)), "closed", id="candles"),
    ],
)
def test_each_state_is_shown(seen: Snapshot, told: str) -> None:
    """What is not as usual can be seen."""
    assert told in "\n".join(drawn(seen))


def test_without_colours_nothing_is_lost() -> None:
    """With NO_COLOR the screen says the same, and sends no colour."""
    coloured = drawn(SEEN, no_color=False, color_system="standard")
    plain = drawn(SEEN, no_color=True, color_system="standard")
    assert any("\x1b[32m" in line for line in coloured)
    assert not any("\x1b[3" in line for line in plain)


def test_text_from_outside_commands_no_terminal() -> None:
    """An exchange's stream name or an error with escape sequences is shown without them."""
    evil = changed(letters=(LetterRow("not_json", "\x1b[2J", "a\x1b]0;title\x07b"),))
    assert "\x1b]" not in "".join(drawn(evil, 120, 40))
    assert "\x1b[2J" not in "".join(drawn(evil, 120, 40))


def test_the_plain_line_holds_the_same_numbers() -> None:
    """A pipe gets ledgers, topic, latency and prices on one line of ASCII."""
    line = plain_line(SEEN)
    assert line.isascii()
    for told in ("7,205 received", "7,200 published", "5 dead", "7,190 read back", "0 ids missing", "601/s", "p99 18.4 ms",
                 "BTCUSDT 61,837.63 BUY"):  # fmt: skip
        assert told in line


@pytest.mark.parametrize(
    ("value", "text"),
    [("61837.63000000", "61,837.63"), ("0.00001402", "0.00001402"), ("9090000", "9,090,000.00"), ("0.50000000", "0.50")],
)
def test_prices_are_exact_and_short(value: str, text: str) -> None:
    """Padding goes, digits stay, two decimals at least."""
    assert price(Decimal(value)) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.0, "-"), (0.00654, "6.5 ms"), (1.2, "1200.0 ms")])
def test_a_duration_that_nobody_measured_is_a_dash(seconds: float | None, text: str) -> None:
    """An empty histogram is no speed record."""
    assert milliseconds(seconds) == text


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        pytest.param([], 5, "", id="nothing"),
        pytest.param([1, 2, 3], 0, "", id="no-room"),
        pytest.param([5, 5], 5, "▁▁", id="flat"),
        pytest.param([9, 0, 7], 2, "▁█", id="the-latest-ones"),
    ],
)
def test_a_curve_rises_from_its_lowest_to_its_highest(values: list[int], width: int, expected: str) -> None:
    """A curve fills what room there is with the latest values."""
    assert curve([Decimal(value) for value in values], width, UNICODE) == expected


@pytest.mark.parametrize(("done", "bar"), [(-1.0, ("", "....")), (0.5, ("##", "..")), (7.0, ("####", ""))])
def test_a_bar_keeps_its_width(done: float, bar: tuple[str, str]) -> None:
    """Too little and too much both stay inside."""
    assert progress(done, 4, ASCII) == bar


def test_long_text_is_cut_where_it_is_seen() -> None:
    """What is cut off is marked, and line breaks do not get through."""
    assert shortened("one\ntwo three", 9, ASCII) == "one tw..."


def test_a_rate_counts_the_last_two_seconds() -> None:
    """What was before does not slow the number down, and one look alone tells no rate."""
    meter = RateMeter()
    meter.observe(0.0, {"a": 0})
    assert meter.per_s("a") == 0.0
    for second, count in ((1.0, 0), (2.0, 100), (3.0, 300), (4.0, 500)):
        meter.observe(second, {"a": count})
    assert meter.per_s("a") == 200.0


def test_rows_stand_in_the_order_asked_for() -> None:
    """A symbol without a trade has its row from the beginning."""
    memory, tally = Memory((("BTCUSDT", "aggTrade"), ("ETHUSDT", "aggTrade"))), trade_tally()
    memory.observe(0.0, tally)
    tally.take(TOPIC, record(1, "ETHUSDT"))
    memory.observe(1.0, tally)
    rows = memory.rows(tally)
    assert [(found.symbol, found.records, len(found.curve)) for found in rows] == [("BTCUSDT", 0, 0), ("ETHUSDT", 1, 1)]


def test_thousands_of_streams_make_no_more_rows_than_a_screen_has() -> None:
    """The streams of all symbols bring every symbol of the market."""
    memory, tally = Memory(()), trade_tally()
    for number in range(MOST_ROWS + 40):
        tally.take(TOPIC, record(number, f"S{number}USDT"))
    memory.observe(1.0, tally)
    assert len(memory.rows(tally)) == MOST_ROWS


def test_topics_have_rates_of_their_own() -> None:
    """Each topic is counted for itself, and all together."""
    memory, tally = Memory(()), trade_tally()
    for second in (0, 1):
        tally.take(TOPIC, record(second))
        memory.observe(float(second), tally)
    assert (memory.topic_per_s(TOPIC), memory.per_s) == (1.0, 1.0)


DEPTH = {"first_update_id": 5, "final_update_id": 9, "bids": [{"price": Decimal(1)}] * 3, "asks": []}


@pytest.mark.parametrize(
    ("latest", "cells"),
    [
        pytest.param(row_of(1), ("BUY", "0.50 at", "61,837.63 USDT"), id="trade"),
        pytest.param(CANDLE, ("1m", "O 1.50", "H 2.00", "L 1.00", "C 1.75", "V 10.00", "closed"), id="candle"),
        pytest.param(
            RecordRow("id", "BTCUSDT", "depth", "depth", AVRO, DEPTH), ("updates 5 to 9", "3 bids", "0 asks"), id="depth"
        ),
        pytest.param(
            RecordRow("id", "BTCUSDT", "depth5", "book", PAYLOAD, {"lastUpdateId": 9, "bids": [["1.5", "2"]], "asks": []}),
            ("update 9", "1 bids from 1.50", "0 asks from -"), id="book",
        ),
        pytest.param(
            RecordRow("id", "BTCUSDT", "bookTicker", "quote", "futures-quote",
                      {"bestbidprice": "1", "bestbidqty": "2", "bestaskprice": "3", "bestaskqty": "4"}),
            ("bid 1.00", "x 2.00", "ask 3.00", "x 4.00"), id="quote",
        ),
        pytest.param(
            RecordRow("id", "BTCUSDT", "raw", "frame", AVRO, {"payload": b'{"a":"\x1b[2J"}'}), ("12 bytes", '{"a":"?[2J"}'),
            id="frame",
        ),
        pytest.param(
            RecordRow("id", "X", "new", OTHER, PAYLOAD, {"a": 1, "b": "\x1bc", "c": [1], "d": None}),
            ("a=1.00", "b=?c", "d=None"), id="unknown",
        ),
    ],
)  # fmt: skip
def test_each_sort_of_record_is_told_in_columns(latest: RecordRow, cells: tuple[str, ...]) -> None:
    """What matters of a record, whatever form it has; of an unknown sort its names and values. Nothing commands the terminal."""
    assert latest.cells == cells


@pytest.mark.parametrize(
    ("latest", "number", "word"),
    [
        pytest.param(CANDLE, Decimal("1.75"), "closed", id="candle"),
        pytest.param(RecordRow("id", "B", "depth", "depth", AVRO, DEPTH), None, "3+0", id="no-single-price"),
        pytest.param(RecordRow("id", "B", "ref", "reference", PAYLOAD, {"r": None}), None, "ref", id="null"),
        pytest.param(RecordRow("id", "B", "ref", "reference", PAYLOAD, {"r": "much"}), None, "ref", id="no-number"),
        pytest.param(RecordRow("id", "B", "x", "trade", PAYLOAD, {"p": "2", "m": True}), Decimal(2), "SELL", id="maker-bought"),
        pytest.param(
            RecordRow("id", "B", "x", "ticker", PAYLOAD, {"e": "24hrMiniTicker", "c": "2"}), Decimal(2), "24hr", id="window"
        ),
    ],
)
def test_a_record_has_one_price_and_one_word(latest: RecordRow, number: Decimal | None, word: str) -> None:
    """What stands in its row; none where it has no single price."""
    assert (latest.price, latest.word) == (number, word)


def test_the_plain_heading_says_what_is_not_usual() -> None:
    """Topics by name as long as they are few, and how fast the market's time runs."""
    assert "Kafka topics a, b ->" in plain_heading(changed(topics=(topic("a"), topic("b"))))
    assert "Kafka (7 topics) ->" in plain_heading(changed(topics=tuple(map(topic, "abcdefg"))))
    assert plain_heading(changed(speed=25)).endswith("Market time runs 25 times as fast as yours, so that candles close.")
