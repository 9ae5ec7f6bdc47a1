"""What an audit is asked for, which stream it is about, and how its verdict reads."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from k2.audit.carried import carried
from k2.audit.report import as_json, as_lines
from k2.audit.request import Request, make_request
from k2.audit.verdict import FAULTS, MEANINGS, Difference, Finding, Findings, Kind, Verdict
from k2.errors import ConfigurationError

SPOT_TRADE = "binance.spot.trade.BTCUSDT.7"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"against": "r.gz"}, Request(Path("r.gz"))),
        ({"against": "r", "market": "USDM", "stream": "aggtrade"}, Request(Path("r"), "usdm", "aggTrade")),
        (
            {"against": "r", "symbols": ["btcusdt,ETHUSDT", "BTCUSDT"]},
            Request(Path("r"), symbols=frozenset({"BTCUSDT", "ETHUSDT"})),
        ),
        ({"against": "r", "ignore_times": True, "show": "0"}, Request(Path("r"), ignore_times=True, shown=0)),
    ],
)
def test_options_make_a_request(values: dict[str, Any], expected: Request) -> None:
    """Only the recording must be named."""
    assert make_request(values) == expected


def test_every_fault_is_told_at_once() -> None:
    """Each under the name of its option."""
    with pytest.raises(ConfigurationError) as refused:
        make_request({"against": "", "market": "coinm", "stream": "kline", "symbols": ["!"], "show": "-1"})
    assert [fault.partition(":")[0] for fault in refused.value.faults] == [
        "--against",
        "--market",
        "--stream",
        "--symbols",
        "--show",
    ]


@pytest.mark.parametrize(
    ("asked", "identity", "market", "recorded", "expected"),
    [
        pytest.param((None, None), SPOT_TRADE, "spot", {"trade": 1, "aggTrade": 1}, ("spot", "trade"), id="the-topic-tells"),
        pytest.param(("usdm", "aggTrade"), SPOT_TRADE, "spot", {}, ("usdm", "aggTrade"), id="options-come-first"),
        pytest.param((None, "aggTrade"), SPOT_TRADE, "spot", {}, ("spot", "aggTrade"), id="one-option-and-the-topic"),
        pytest.param((None, None), None, "usdm", {"trade": 3, "depth": 9}, ("usdm", "trade"), id="an-empty-topic"),
        pytest.param((None, None), "x.y.z.a.1", "spot", {"aggTrade": 3}, ("spot", "aggTrade"), id="a-foreign-topic"),
        pytest.param(("spot", None), SPOT_TRADE, "usdm", {}, ("spot", "trade"), id="insisting-on-the-market"),
    ],
)
def test_what_the_topic_carries(
    asked: tuple[str | None, str | None], identity: str | None, market: str, recorded: dict[str, int], expected: tuple[str, str]
) -> None:
    """The options say it, else the topic's first record, else the recording where it leaves no choice."""
    assert carried(asked, identity, market, recorded) == expected


@pytest.mark.parametrize(
    ("identity", "market", "recorded", "told"),
    [
        pytest.param(None, "spot", {"trade": 1, "aggTrade": 1}, "--market and --stream", id="nothing-tells"),
        pytest.param(None, "spot", {"depth": 1}, "--market and --stream", id="no-trades-at-all"),
        pytest.param("binance.spot.kline.BTCUSDT.1", "spot", {}, "for aggTrade and trade of spot and usdm only", id="no-trades"),
        pytest.param(SPOT_TRADE, "usdm", {}, "the recording is of usdm", id="another-market"),
    ],
)
def test_what_cannot_be_audited(identity: str | None, market: str, recorded: dict[str, int], told: str) -> None:
    """One line says what is missing or does not fit."""
    with pytest.raises(ConfigurationError, match=told):
        carried((None, None), identity, market, recorded)


def verdict(**found: list[Finding]) -> Verdict:
    findings = {kind: Findings(len(found.get(kind.value, [])), found.get(kind.value, [])) for kind in Kind}
    return Verdict("spot", "trade", ("BTCUSDT",), 9_757, 0, 9_757, findings)


CHANGED = Finding(
    SPOT_TRADE, (0, 5), differences=(Difference("price", Decimal("1.50"), Decimal("1.6")), Difference("key", b"A", None))
)


def test_every_kind_has_a_meaning() -> None:
    """None is printed without what it is."""
    assert set(MEANINGS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_faults_make_a_topic_unclean(kind: Kind) -> None:
    """The five kinds of faults, and no other."""
    assert verdict(**{kind.value: [Finding(SPOT_TRADE)]}).is_clean == (kind not in FAULTS)


def test_a_clean_verdict_reads_as_zeros() -> None:
    """Every kind of fault is named with its 0; what is told beside is left out where there is none."""
    lines = list(as_lines(verdict(), "market.test", "file.gz"))
    assert lines[0] == "market.test against file.gz: spot trade of BTCUSDT"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["9,757", "events"], ["9,757", "records"], *(["0", f"{kind.value}:"] for kind in FAULTS),
    ]  # fmt: skip
    assert lines[-1].startswith("Nothing is lost")


def test_findings_read_with_what_differs() -> None:
    """Where it is, what it should say and what it says; control characters are written out."""
    lines = list(as_lines(verdict(changed=[CHANGED], undecodable=[Finding(None, (1, 2), "\x1b[2J")]), "t", "f"))
    assert lines[-9:] == [
        "",
        "changed:",
        f"  {SPOT_TRADE}  at 0:5",
        "    price: expected 1.50, found 1.6",
        "    key: expected A, found None",
        "",
        "undecodable:",
        "  -  at 1:2  \\x1b[2J",
        "The topic does not hold what was recorded.",
    ]


def test_nothing_in_common_is_asked_about() -> None:
    """Where all is lost, it is rather the wrong recording, topic or stream than a loss."""
    nothing = verdict(lost=[Finding(SPOT_TRADE)])
    nothing.findings[Kind.LOST].count = nothing.events
    assert list(as_lines(nothing, "t", "f"))[-1].startswith("The topic holds nothing of what was recorded. Is it ")


def test_how_many_of_all_are_shown() -> None:
    """A heading tells where there are more than are listed."""
    many = verdict(lost=[Finding(SPOT_TRADE)])
    many.findings[Kind.LOST].count = 7
    assert "lost, the first 1:" in list(as_lines(many, "t", "f"))


def test_the_verdict_as_one_object() -> None:
    """Every count under its name, and the examples as JSON can say them."""
    document = json.loads(json.dumps(as_json(verdict(changed=[CHANGED]), "market.test", "file.gz")))
    examples = document.pop("examples")
    assert document == {
        "topic": "market.test", "recording": "file.gz", "market": "spot", "stream": "trade", "symbols": ["BTCUSDT"],
        "clean": False, "events": 9_757, "unpublishable": 0, "records": 9_757, "lost": 0, "doubled": 0, "disordered": 0,
        "changed": 1, "undecodable": 0, "currency_differs": 0, "beyond": 0,
    }  # fmt: skip
    assert examples.keys() == {kind.value for kind in Kind}
    assert examples["changed"] == [
        {
            "message_id": SPOT_TRADE,
            "partition": 0,
            "offset": 5,
            "differences": [
                {"field": "price", "expected": "1.50", "found": "1.6"},
                {"field": "key", "expected": "A", "found": None},
            ],
        }
    ]
