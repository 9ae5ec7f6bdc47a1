"""Claims about the view of a running client: pure functions from one look to a screen, a line or an object."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from k2.live.text import ASCII, UNICODE, Glyphs, duration
from k2.top.snapshot import Memory, Seen, health_in
from k2.top.view import json_object, plain_line, rate, screen
from unit.scripted_health import BALANCE, EXTRA, STREAMS, later, report, stream

URL = "http://127.0.0.1:8001"
AT_MS = 1_764_000_005_000
HUGE = {**BALANCE, "received": 9_876_543_105, "published": 9_876_543_097, "records": 9_876_543_097, "delivered": 9_876_543_090}
EVIL = "\x1b[2Jx\x1b]0;title\x07"


def looked(*reports: Any, fault: str = "", away_s: float = 12.0, interval_s: float = 1.0) -> Seen:
    """What is seen after these answers, four seconds apart, and then perhaps none."""
    memory = Memory(URL, interval_s, 0.0)
    seen = memory.missed(0.0, AT_MS, "nobody there") if fault else None
    for number, answer in enumerate(reports):
        body = json.dumps(answer.body).encode()
        found = health_in(body)
        assert found is not None
        seen = memory.answered(4.0 * number, AT_MS, answer.http_status, *found)
    if fault:
        seen = memory.missed(4.0 * (len(reports) - 1) + away_s if reports else away_s, AT_MS, fault)
    assert seen is not None
    return seen


USUAL = looked(report(), later(4.0, 2_400, (798, 1_600, 2)))


def drawn(seen: Seen, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE, **console: Any) -> list[str]:
    """The lines that a terminal of this size shows."""
    output = StringIO()
    plain = {"no_color": True, "color_system": None, **console}
    on = Console(file=output, width=width, height=height, force_terminal=True, highlight=False, **plain)
    on.print(screen(seen, width, height, glyphs))
    return output.getvalue().splitlines()


def many(count: int) -> Seen:
    return looked(report([stream(f"sym{number}usdt@aggTrade", number) for number in range(count)]))


SHAPES = {
    "usual": USUAL,
    "no-stream": looked(report([])),
    "hundred-streams": many(100),
    "every-trouble": looked(
        report(dead_letters_writable=False, unknown_symbols=("XYZ",), back_pressure=True, held_code="X", balance=HUGE),
        fault="Connection refused",
    ),
    "never-there": looked(fault="Connection refused"),
    "long-name": looked(report([stream("x" * 300, 10**12, gaps_open=999, ids_missing=10**9)])),
    "wide-letters": looked(report([stream("币安人生usdt@aggTrade" * 5, 1)], unknown_symbols=("币安人生USDT" * 20,))),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 18), (40, 12), (30, 5), (200, 60)])
def test_the_screen_fits(width: int, height: int, shape: str) -> None:
    """Whatever the terminal's size and the client's state: no line is too wide, and no row too many."""
    output = StringIO()
    console = Console(file=output, width=width, height=height, force_terminal=True, color_system=None)
    lines = console.render_lines(screen(SHAPES[shape], width, height, UNICODE), console.options, pad=False)
    assert len(lines) <= height
    assert max(sum(segment.cell_length for segment in line) for line in lines) <= width


@pytest.mark.parametrize(
    "told",
    [
        URL, "● healthy", "CONNECTED", "up 62 min", "600 events/s", "lag 42.0 ms", "reading flows",
        "btcusdt@aggTrade", "4,798", "4.2 s ago", "37 in 2 gaps", "never", "400", "0.5",
        "✓ 7,205 received = 7,197 published + 5 dead + 3 ignored",
        "✓ 7,197 made = 7,190 delivered + 0 dead + 0 spooled + 7 in flight",
        "p50 6.5 ms", "p95 12.1 ms", "p99 18.4 ms",
        "5: decode/not_json 4, map/timestamp_out_of_range 1",
        "2 made, 4 attempts failed; ended: reset 1",
        "k2 0.1.0", "librdkafka 2.16.0", "every 1 s; Ctrl-C ends it",
    ],
)  # fmt: skip
def test_eighty_columns_show_what_matters(told: str) -> None:
    """The smallest usual terminal shows verdict, rates, both ledgers, latency, streams, dead letters, links and versions."""
    assert told in "\n".join(drawn(USUAL))


def test_the_busiest_streams_come_first() -> None:
    """By rate, and before there are rates by what they have published; how many have no room is told."""
    order = [line.split()[0] for line in drawn(USUAL) if "@aggTrade" in line]
    assert order == ["ethusdt@aggTrade", "btcusdt@aggTrade", "bnbusdt@aggTrade"]
    lines = drawn(many(100))
    shown = [line.split()[0] for line in lines if "@aggTrade" in line]
    assert shown == [f"sym{number}usdt@aggTrade" for number in range(99, 99 - len(shown), -1)]
    assert f"and {100 - len(shown)} more" in "\n".join(lines)
    assert len(lines) == 24


def test_a_larger_terminal_shows_more_streams() -> None:
    """Each row that the rest leaves is a stream's, and those that the client does not list are counted too."""
    rows = {height: sum("@aggTrade" in line for line in drawn(many(100), 120, height)) for height in (24, 40)}
    assert rows[40] - rows[24] == 16
    assert "and 7 more" in "\n".join(drawn(looked(report([stream("a@aggTrade", 1)], streams_total=8)), 120, 40))


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(looked(report(unknown_symbols=("XYZ",))), "● degraded", id="degraded"),
        pytest.param(looked(report(unknown_symbols=("XYZ",))), "→ the exchange does not know XYZ", id="reason"),
        pytest.param(looked(report(dead_letters_writable=False)), "● unhealthy", id="unhealthy"),
        pytest.param(
            looked(report(unknown_symbols=("X",), held_code="X", back_pressure=True, refused_streams=("a",))),
            "→ and 2 more", id="many-reasons",
        ),
        pytest.param(looked(report(connected=False)), "DISCONNECTED", id="disconnected"),
        pytest.param(looked(report(reading="paused")), "reading is paused", id="paused"),
        pytest.param(looked(report(reading="held")), "connection closed on purpose", id="held"),
        pytest.param(looked(report()), "- events/s", id="no-rate-yet"),
        pytest.param(looked(report([])), "No streams yet", id="starting"),
        pytest.param(
            looked(report(dead_letters={**EXTRA["dead_letters"], "writable": False, "pending": 3})),
            "CANNOT BE WRITTEN, 3 not on the disk yet, of 5: decode/not_json 4", id="letters-unwritable",
        ),
        pytest.param(looked(report(dead_letters={"total": 0, "writable": True})), "none so far", id="no-letters"),
        pytest.param(looked(report(balance={**BALANCE, "received": 7_206})), "✗ off by +1: 7,206 received = ", id="unbalanced"),
        pytest.param(looked(report(), fault="Connection refused"), "● no answer for 12 s", id="gone"),
        pytest.param(
            looked(report(), fault="Connection refused"),
            "No answer: Connection refused. Trying again; what follows is from before.", id="gone-and-why",
        ),
        pytest.param(looked(report(), fault="Connection refused"), "4,000", id="gone-and-what-was-known"),
        pytest.param(looked(fault="Connection refused"), "Connection refused. Trying again.", id="never-there"),
    ],
)  # fmt: skip
def test_each_state_is_shown(seen: Seen, told: str) -> None:
    """What is not as usual can be seen."""
    assert told in "\n".join(drawn(seen))


def test_large_numbers_push_out_what_changes_no_sum() -> None:
    """After weeks the ledgers still stand whole on eighty columns: terms of 0 make room."""
    text = "\n".join(drawn(looked(report(balance=HUGE))))
    assert "✓ 9,876,543,105 received = 9,876,543,097 published + 5 dead + 3 ignored" in text
    assert "✓ 9,876,543,097 made = 9,876,543,090 delivered + 7 in flight" in text


def test_what_matters_least_goes_first() -> None:
    """On a very small terminal the verdict, the ledgers and the busiest stream stay, and versions do not."""
    text = "\n".join(drawn(USUAL, 80, 9))
    for told in ("healthy", "7,205 received", "7,197 made", "ethusdt@aggTrade"):
        assert told in text
    assert "Versions" not in text


def test_one_look_alone_names_no_pace() -> None:
    """The picture that --once leaves behind says nothing of an interval."""
    assert "Ctrl-C" not in "\n".join(drawn(looked(report(), interval_s=0.0)))


def test_a_terminal_without_unicode_gets_plain_signs() -> None:
    """Ticks, dots and arrows have plain stand-ins."""
    lines = drawn(looked(report(unknown_symbols=("XYZ",))), glyphs=ASCII)
    assert all(line.isascii() for line in lines)
    assert any("ok 7,205 received" in line for line in lines)


def test_text_from_outside_commands_no_terminal() -> None:
    """A stream's name, a reason, a status or a version with escape sequences is shown without them."""
    evil = looked(report([stream(EVIL, 1)], unknown_symbols=(EVIL,), versions={"k2": EVIL}, reading=EVIL))
    assert evil.health is not None
    worse = msgspec.structs.replace(
        evil, url=EVIL, health=msgspec.structs.replace(evil.health, status=EVIL, connection_state=EVIL)
    )
    for seen in (evil, worse, msgspec.structs.replace(worse, fault=EVIL)):
        text = "".join(drawn(seen, 120, 40)).replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
        assert "\x1b" not in text
    assert "\x1b" not in plain_line(evil)


def test_without_colours_nothing_is_lost() -> None:
    """With NO_COLOR the screen says the same, and sends no colour."""
    assert any("\x1b[1;32m" in line for line in drawn(USUAL, no_color=False, color_system="standard"))
    assert not any("\x1b[3" in line or ";3" in line for line in drawn(USUAL, color_system="standard"))


def test_the_plain_line_holds_the_same_numbers() -> None:
    """A pipe gets time, verdict, rate, ledgers, latency, gaps and reasons on one line."""
    line = plain_line(looked(report(), later(4.0, 2_400, (1_600, 798, 2), unknown_symbols=("XYZ",))))
    assert line == (
        "2025-11-24T16:00:05Z degraded CONNECTED | 600 events/s | 7,205 received = 7,197 published + 5 dead + 3 ignored"
        " | 7,190 delivered, 7 in flight | p50 6.5 ms p95 12.1 ms p99 18.4 ms | 37 ids missing | reading flowing"
        " | the exchange does not know XYZ"
    )


def test_the_object_for_programs_holds_the_whole_answer() -> None:
    """What the client said is in it as it said it, with the rates beside."""
    answer = later(4.0, 2_400, (1_600, 798, 2), dead_letters_writable=False)
    assert json.loads(json.dumps(json_object(looked(report(), answer)))) == {
        "at": "2025-11-24T16:00:05.000000Z",
        "url": URL,
        "answered": True,
        "error": None,
        "http_status": 503,
        "events_per_s": 600.0,
        "streams_per_s": {"btcusdt@aggTrade": 400.0, "ethusdt@aggTrade": 199.5, "bnbusdt@aggTrade": 0.5},
        "health": answer.body,
    }


def test_the_object_of_a_client_that_is_away_says_so() -> None:
    """Nothing old is in it that a program could take for new."""
    found = json_object(looked(report(), fault="Connection refused"))
    assert (found["answered"], found["error"]) == (False, "Connection refused")
    assert (found["health"], found["http_status"], found["events_per_s"], found["streams_per_s"]) == (None, None, None, {})


@pytest.mark.parametrize(
    ("per_s", "text"), [(None, "-"), (0.0, "0"), (0.5, "0.5"), (9.94, "9.9"), (10.4, "10"), (12_345.6, "12,346")]
)
def test_a_rate_has_the_digits_that_matter(per_s: float | None, text: str) -> None:
    """One look alone tells none; a slow stream keeps a decimal."""
    assert rate(per_s) == text


def test_the_samples_are_a_clients_answer() -> None:
    """What these tests show is decoded from a whole answer, with every stream in it."""
    assert USUAL.health is not None
    assert [row.stream for row in USUAL.health.streams] == [row["stream"] for row in STREAMS]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0.0 s"), (0.25, "0.2 s"), (9.9, "9.9 s"), (10.4, "10 s"), (119.0, "119 s"), (120.0, "2 min"),
        (7_199.0, "119 min"), (7_260.0, "2 h 1 min"), (172_799.0, "47 h 59 min"), (172_800.0, "2 days"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    """Exact where it is short, round where it is long, and never negative: clocks may differ."""
    assert duration(seconds) == text
