"""Claims about the demo's options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k2.demo.options import make_options
from k2.demo.words import feed_in_words, form_in_words, no_events, what_it_shows
from k2.errors import ConfigurationError
from k2.ingestion.topic_plan import TopicPlan
from unit.demo.samples import TRADES, asked

MINE = """\
version: 1
description: what others have
options:
  streams: [kline_1m]
environment:
  MY_BROKERS: {option: kafka-bootstrap}
topics:
  - {id: candles, name: mine, streams: "kline_*", layout: candle}
"""


def test_nothing_is_needed() -> None:
    """Without options there are twelve seconds of three spot symbols at 600 trades a second."""
    options = make_options({})
    assert (options.seconds, options.rate, options.symbols) == (12.0, 600.0, ("BTCUSDT", "ETHUSDT", "BNBUSDT"))
    assert [plan.name for plan in options.topics] == ["market.crypto.trades.binance"]
    assert [stream.name for stream in options.streams] == ["btcusdt@aggTrade", "ethusdt@aggTrade", "bnbusdt@aggTrade"]


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        pytest.param({"seconds": "0.5"}, "seconds", 0.5, id="seconds"),
        pytest.param({"symbols": ["btcusdt,ethbtc", "ETHBTC"]}, "symbols", ("BTCUSDT", "ETHBTC"), id="symbols"),
        pytest.param({"market": "usdm", "stream": ["trade"]}, "market", "usdm", id="market"),
        pytest.param({"rate": "1e3"}, "rate", 1_000.0, id="rate"),
        pytest.param({"live": True}, "live", True, id="live"),
        pytest.param({"keep": "somewhere"}, "keep", Path("somewhere"), id="keep"),
        pytest.param({"profile": "candles"}, "profile", "candles", id="profile"),
        pytest.param({"candles": "updates"}, "closed_only", False, id="candles"),
        pytest.param({"symbols": ["ALL:BTC"]}, "symbols", ("ETHBTC", "BNBBTC"), id="all-of-an-asset"),
        pytest.param({"streams": ["dogeusdt@trade"]}, "market_symbols", ("DOGEUSDT",), id="a-single-stream"),
        pytest.param({"streams": ["!miniTicker@arr"]}, "arrays", ("!miniTicker@arr",), id="an-array-that-is-taken-apart"),
        pytest.param({"streams": ["off"], "raw_streams": ["!miniTicker@arr"]}, "arrays", (), id="an-array-that-is-kept-whole"),
        pytest.param({"market": "usdm", "streams": ["!bookTicker"]}, "arrays", (), id="all-symbols-one-by-one"),
    ],
)
def test_what_is_given_is_taken(values: dict[str, Any], name: str, expected: object) -> None:
    """Each option arrives; what follows from the client's settings follows here as well."""
    assert getattr(asked(**values), name) == expected


@pytest.mark.parametrize("name", ["stream", "streams"])
def test_streams_have_two_names(name: str) -> None:
    """--stream goes on to work."""
    assert [stream.spec for stream in asked(**{name: ["trade"], "symbols": ["BTCUSDT"]}).streams] == ["trade"]


@pytest.mark.parametrize(
    ("values", "topics"),
    [
        pytest.param({"market": "usdm"}, ["market.futures.trades.binance"], id="futures"),
        pytest.param({"streams": ["aggTrade", "kline_1m"]}, ["market.crypto.trades.binance", "market.crypto.klines.binance"],
                     id="a-topic-for-each-sort"),
        pytest.param({"profile": "events"}, ["binance-raw-events", "binance-trades", "binance-depth"], id="a-profile's"),
    ],
)  # fmt: skip
def test_the_topics_are_the_clients(values: dict[str, Any], topics: list[str]) -> None:
    """What is read back are the topics that the client itself chooses."""
    assert [plan.name for plan in asked(**values).topics] == topics


def test_a_profile_may_be_a_file(tmp_path: Path) -> None:
    """One of the user's own is named by its path, and handed on by it."""
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    options = asked(profile=str(path))
    assert options.profile == str(path)
    assert [plan.name for plan in options.topics] == ["mine"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"seconds": "0"}, "--seconds", id="no-time"),
        pytest.param({"seconds": "nan"}, "--seconds", id="no-number"),
        pytest.param({"seconds": "inf"}, "--seconds", id="no-end"),
        pytest.param({"rate": "max"}, "--rate", id="rate-in-words"),
        pytest.param({"rate": "1000000"}, "--rate", id="too-fast"),
        pytest.param({"rate": "5", "live": True}, "--rate", id="a-rate-for-the-real-exchange"),
        pytest.param({"symbols": ["BTC/USDT"]}, "--symbols", id="no-symbol"),
        pytest.param({"market": "coinm"}, "--market", id="unknown-market"),
        pytest.param({"streams": ["kline_7m"]}, "--streams: spot has no stream 'kline_7m'", id="unknown-stream"),
        pytest.param({"streams": ["trade"], "stream": ["trade"]}, "mean the same", id="streams-named-twice"),
        pytest.param(
            {"profile": "candel"}, "--profile: there is no profile 'candel'; did you mean candles", id="unknown-profile"
        ),
        pytest.param({"market": "usdm", "streams": ["rpiDepth@500ms"]}, "simulated exchange has no rpiDepth@500ms", id="silent"),
        pytest.param({"raw_streams": ["noSuchStream"]}, "simulated exchange has no noSuchStream", id="a-silent-raw-stream"),
        pytest.param({"streams": ["miniTicker", "!miniTicker@arr"]}, "would hold the same twice", id="the-same-twice"),
    ],
)
def test_a_fault_names_its_option(values: dict[str, Any], named: str) -> None:
    """What cannot be is refused before anything starts, by the client's own rules where they are its options."""
    with pytest.raises(ConfigurationError, match=named):
        make_options(values)


def test_all_faults_are_reported_together() -> None:
    """One start shows everything that is wrong, with the demo's options and with the client's."""
    with pytest.raises(ConfigurationError) as caught:
        make_options({"seconds": "x", "market": "y", "candles": "z"})
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("values", "what", "feed"),
    [
        pytest.param({}, "Trades", "spot aggTrade, 600/s", id="trades"),
        pytest.param({"streams": ["bookTicker"]}, "Events", "spot bookTicker, 600 trades/s", id="others"),
        pytest.param({"profile": "futures"}, "Events", "usdm, profile futures, 600 trades/s", id="a-profile"),
        pytest.param({"profile": "futures", "streams": ["bookTicker"]}, "Events", "usdm bookTicker, 600 trades/s",
                     id="a-profile-with-other-streams"),
        pytest.param({"live": True, "streams": ["!miniTicker@arr"]}, "Events", "spot !miniTicker@arr", id="live"),
    ],
)  # fmt: skip
def test_what_is_seen_is_said(values: dict[str, Any], what: str, feed: str) -> None:
    """The heading names market, streams and pace, and for a profile its name."""
    options = asked(**values)
    assert (what_it_shows(options), feed_in_words(options)) == (what, feed)


@pytest.mark.parametrize(
    ("plan", "schema_id", "words"),
    [
        pytest.param(TRADES, None, "through the registry", id="before-the-first-record"),
        pytest.param(TRADES, 7, "by the registry's schema 7", id="avro"),
        pytest.param(TopicPlan(name="t", streams=("*",), layout="event"), None, "as JSON in layout event", id="json"),
        pytest.param(TopicPlan(name="t", streams=("*",), layout="raw"), 7, "by the registry's schema 7 of captured frames",
                     id="frames"),
    ],
)  # fmt: skip
def test_how_values_are_decoded_is_said(plan: TopicPlan, schema_id: int | None, words: str) -> None:
    """The schema's id stands in every record."""
    assert form_in_words(plan, schema_id) == words


def test_why_no_candle_came_is_said() -> None:
    """On the real exchange half an hour may pass before the first candle closes."""
    assert "--candles updates" in no_events(asked(profile="candles", live=True))
    assert "--candles" not in no_events(asked())
