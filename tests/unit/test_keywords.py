"""Options as keyword arguments: the same table, the same values, the same faults as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k2.errors import ConfigurationError
from k2.ingestion import BinanceClient
from k2.ingestion.keywords import BY_KEYWORD, read_keywords
from k2.ingestion.options import OPTIONS
from k2.ingestion.settings import load_settings, settings_of


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({}, []),
        ({"symbols": ["btcusdt", "ETHUSDT"]}, ["--symbols", "btcusdt", "ETHUSDT"]),
        ({"symbols": "BTCUSDT,ETHUSDT"}, ["--symbols", "BTCUSDT,ETHUSDT"]),
        ({"streams": ("aggTrade", "kline_1m"), "http_port": 0}, ["--streams", "aggTrade", "kline_1m", "--http-port", "0"]),
        ({"create_topic": False, "compression": True}, ["--no-create-topic", "--compression"]),
        ({"batch_timeout": 0.25, "state_dir": Path("/x")}, ["--batch-timeout", "0.25", "--state-dir", "/x"]),
        ({"kafka_property": {"socket.timeout.ms": 5000}}, ["--kafka-property", "socket.timeout.ms=5000"]),
        ({"profile": "events", "log_file": None}, ["--profile", "events"]),
    ],
    ids=str,
)
def test_keywords_mean_what_the_flags_mean(keywords: dict[str, Any], words: list[str]) -> None:
    """Lists, switches, numbers, paths and texts; None is not given."""
    environ = {"HOME": "/home/somebody"}
    by_keyword, by_flag = settings_of(read_keywords(keywords, environ), environ), load_settings(words, environ)
    assert by_keyword == by_flag


def test_every_flag_is_a_keyword() -> None:
    """No option can be had on the command line only; secrets have no flag, and come from the environment here as well."""
    assert len(BY_KEYWORD) == sum(bool(option.flag) for option in OPTIONS)


def test_all_faults_come_together() -> None:
    """An unknown keyword is named with its likely meaning, beside the values that are wrong."""
    with pytest.raises(ConfigurationError) as refused:
        BinanceClient(environ={}, symbol=["BTCUSDT"], http_port=-1)
    assert [fault.partition(":")[0] for fault in refused.value.faults] == [
        "there is no option symbol; did you mean symbols?",
        "--http-port",
    ]


def test_before_it_runs_a_client_has_counted_nothing() -> None:
    """Whoever asks early gets zeros under the names that count later, and a health that says why."""
    client = BinanceClient(environ={})
    metrics = client.get_metrics()
    assert not any(metrics.values())
    assert {"messages_received", "messages_processed", "messages_buffered", "connected", "reconnect_count"} <= metrics.keys()
    assert client.get_health() == {"status": "unhealthy", "reasons": ["not started"]}
    client.stop()
