"""A disk that is really full under dead letters, state directory or log file: told, lived through, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.support import wait_until
from k2.simulator.faults import Garbage
from kit.disks import SmallDisk, mounting_refused

if TYPE_CHECKING:
    from integration.support import Rig, RunningClient, RunningExchange

CONFIGURATION, FATAL = 2, 70
LETTERS = 50
FILL = "head -c 1M /dev/zero > filler 2> /dev/null"


@pytest.fixture(scope="module")
def may_mount() -> None:
    if reason := mounting_refused():
        pytest.skip(reason)


@pytest.fixture
def disk(may_mount: None, tmp_path: Path) -> SmallDisk:  # noqa: ARG001 - it skips where it is false
    return SmallDisk(tmp_path / "disk")


def broken(number: int) -> bytes:
    return b'{"broken":%d' % number


class TestDeadLetters:
    @pytest.fixture
    def client(self, light_rig: Rig, calm_exchange: RunningExchange, disk: SmallDisk) -> RunningClient:
        """A client that wrote one letter, whose disk was then filled, and that has many letters more."""
        client = light_rig.client(calm_exchange.ws_url, "--dead-letter-dir", disk.path / "dlq", command=disk.command())
        client.wait_for_produced(1)
        calm_exchange.inject(Garbage(frames=(broken(0),)))
        client.wait_for_metric("k2_dead_letters_written_total", 1)
        disk.fill(client)
        calm_exchange.inject(Garbage(frames=tuple(broken(number) for number in range(1, LETTERS))))
        client.wait_for_metric("k2_dead_letter_write_failures_total", 1)
        return client

    def test_wait_for_room(self, client: RunningClient, disk: SmallDisk) -> None:
        """
        While the disk is full the client says so in log, metrics and health, and streams on; no half of a line is in the file.

        With room again every letter is there once.
        """
        told = client.wait_for_event("Dead letters cannot be written")
        assert told["level"] == "critical"
        assert "No space left on device" in told["error"]
        status, health = client.get_json("/health")
        assert (status, health["status"], health["reasons"]) == (503, "unhealthy", ["dead letters cannot be written"])
        assert client.get_json("/readyz")[1]["waiting_for"] == ["dead_letters"]
        metrics = client.metrics
        assert (metrics("k2_dead_letters_writable"), metrics("k2_events_unaccounted")) == (0, 0)
        client.wait_for_produced(metrics.produced + 1)
        letters_before = read_letters(disk.seen_by(client))
        assert len(letters_before) == metrics("k2_dead_letters_written_total")

        disk.free(client)
        client.wait_for_event("Dead letters can be written again")
        client.wait_for_metric("k2_dead_letters_written_total", LETTERS)
        wait_until(lambda: client.get_json("/health")[0] == 200, "good health")
        payloads = [letter["payload"] for letter in read_letters(disk.seen_by(client))]
        assert payloads == [broken(number).decode() for number in range(LETTERS)]
        assert client.stopped()["balanced"]

    def test_go_to_stderr_in_the_end(self, client: RunningClient) -> None:
        """Told to stop on a disk that is still full, the client prints what it could not write, says so, and ends with 70."""
        pending = client.metrics("k2_dead_letters_pending")
        client.terminate()
        assert client.wait(60) == FATAL
        *printed, last_words = [line for line in client.stderr.splitlines() if line.startswith(("{", "binance_client: "))]
        assert len([json.loads(line) for line in printed]) == pending
        assert "dead letters could not be written and went to stderr" in last_words
        assert "No space left on device" in last_words
        assert client.balance_sheet["balanced"]
        assert "Traceback" not in client.output


def read_letters(disk: Path) -> list[dict[str, Any]]:
    [file] = (disk / "dlq").glob("*.jsonl")
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_a_full_disk_costs_the_copies_of_the_state(light_rig: Rig, calm_exchange: RunningExchange, disk: SmallDisk) -> None:
    """Without room for schema id and symbol metadata the client streams all the same, and warns that a restart will miss them."""
    flags = ["--state-dir", disk.path / "state", "--rest-url", calm_exchange.rest_url]
    client = light_rig.client(calm_exchange.ws_url, *flags, command=disk.command(first=FILL))
    client.wait_for_produced(1)
    for event, document in (("Schema registry", "schema-pins"), ("State", "symbols-spot")):
        warning = client.wait_for_event(event)
        assert warning["level"] == "warning"
        assert f"{document}.json could not be written: No space left on device" in warning["detail"]
    assert client.stopped()["balanced"]


def test_a_full_disk_holds_the_log_file_up(light_rig: Rig, calm_exchange: RunningExchange, disk: SmallDisk) -> None:
    """Standard output has every line, and says when the file falls behind and when it is no more; the file tears no line."""
    log_file = disk.path / "client.log"
    client = light_rig.client(calm_exchange.ws_url, "--log-file", log_file, command=disk.command())
    client.wait_for_produced(1)
    disk.fill(client)
    behind, again = "Log file cannot be written, logging goes on without it", "Log file can be written again"
    wait_until(lambda: _provoked(client, calm_exchange, behind), "a log file that falls behind")
    [told] = client.events_named(behind)
    assert told["level"] == "error"
    assert "No space left on device" in told["error"]
    client.wait_for_produced(client.metrics.produced + 1)

    disk.free(client)
    wait_until(lambda: _provoked(client, calm_exchange, again), "a log file that can be written again")
    lines = (disk.seen_by(client) / "client.log").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert {"Starting", "Subscribed", again} <= set(events)
    assert client.stopped()["balanced"]


def _provoked(client: RunningClient, exchange: RunningExchange, event: str) -> list[dict[str, Any]]:
    """Whether the line is there; if not, the client gets something to log about."""
    exchange.inject(Garbage())
    return client.events_named(event)


NO_ROOM_FOR_A_FILE = "size=64k,nr_inodes=1"


@pytest.mark.parametrize("flag", ["--state-dir", "--dead-letter-dir"])
def test_a_directory_that_cannot_be_made_is_refused(
    light_rig: Rig, calm_exchange: RunningExchange, disk: SmallDisk, flag: str
) -> None:
    """Where not even a file can be created, the start ends with 2 and one line that names the option and the reason."""
    client = light_rig.client(calm_exchange.ws_url, flag, disk.path / "made", command=disk.command(NO_ROOM_FOR_A_FILE))
    assert client.wait(30) == CONFIGURATION
    [line] = client.stderr.splitlines()
    assert flag in line
    assert "No space left on device" in line


def test_a_log_file_that_cannot_be_made_is_done_without(light_rig: Rig, calm_exchange: RunningExchange, disk: SmallDisk) -> None:
    """The client warns on standard output and streams."""
    log_file = disk.path / "made" / "client.log"
    client = light_rig.client(calm_exchange.ws_url, "--log-file", log_file, command=disk.command(NO_ROOM_FOR_A_FILE))
    client.wait_for_produced(1)
    warning = client.wait_for_event("Log file cannot be opened, logging goes on without it")
    assert "No space left on device" in warning["error"]
    assert client.stopped()["balanced"]
