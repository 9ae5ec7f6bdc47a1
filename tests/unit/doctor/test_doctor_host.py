"""What the client needs of its machine, on real directories and ports; nothing is left behind by looking."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from k2.doctor.findings import Finding, Kind, Status
from k2.doctor.host import (
    LETTERS_NEED_BYTES,
    LONGEST_COUNT_BYTES,
    STATE_NEEDS_BYTES,
    ClientHealth,
    Storage,
    check_dead_letters,
    check_http,
    check_state,
    judge_client,
    judge_dead_letters,
    judge_state,
    letters_in,
    look_at,
)
from k2.ingestion.adapters.http import HttpServer, service_routes
from k2.ingestion.adapters.journal import DailyJournal
from k2.ingestion.adapters.state import StateDirectory, lock_holder
from k2.ingestion.core.health import HealthInputs, HealthReport, evaluate, liveness
from k2.ingestion.core.health import Status as Health
from k2.ingestion.service import DEAD_LETTER_PREFIX
from k2.replay.ledger import Ledger, LetterFate
from unit.doctor.contexts import context
from unit.feed.servers import Peer, listening

PLENTY = Storage(exists=True, free_bytes=100 * LETTERS_NEED_BYTES)
PLACE = Path("/var/lib/k2")


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    """A directory that does not exist is not made, and in one that does there is nothing new afterwards."""
    absent = look_at(tmp_path / "not" / "yet")
    assert (absent.exists, absent.fault) == (False, "")
    assert absent.free_bytes > 0
    assert look_at(tmp_path).exists
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper"], ids=["a-file", "below-a-file"])
def test_a_place_that_takes_no_files_says_why(tmp_path: Path, below: str) -> None:
    """What stands in the way is named with the system's reason."""
    (tmp_path / "file").touch()
    assert look_at(tmp_path / "file" / below).fault == f"{tmp_path / 'file'} takes no files (Not a directory)"


async def test_a_state_directory_in_use_is_well_and_stays_so(tmp_path: Path) -> None:
    """The client's lock is seen, named and not taken: the client keeps it, and another one can take it later."""
    directory = tmp_path / "state"
    seen = context("--state-dir", directory)
    assert "(will be made)" in (await check_state(seen, {})).text
    with StateDirectory(directory):
        found = await check_state(seen, {})
        assert (found.status, found.facts["used_by"]) == (Status.OK, lock_holder(directory))
        assert "in use by process" in found.text
    assert (await check_state(seen, {})).facts["used_by"] is None
    StateDirectory(directory).close()


def test_a_holder_that_has_not_written_its_id_yet_is_somebody(tmp_path: Path) -> None:
    """Between locking and writing there is a moment in which nobody is named."""
    with StateDirectory(tmp_path):
        (tmp_path / "lock").write_text("half a li")
        assert lock_holder(tmp_path) == ""
    assert lock_holder(tmp_path) is None
    assert "another process" in judge_state(tmp_path, PLENTY, "").text


def test_those_who_only_look_do_not_see_each_other(tmp_path: Path) -> None:
    """Two examinations at the same time take none for a client."""
    StateDirectory(tmp_path).close()
    with (tmp_path / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert lock_holder(tmp_path) is None


async def test_a_lock_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    """A link in the place of the lock is not followed."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    found = await check_state(context("--state-dir", tmp_path), {})
    assert found.kind is Kind.CONFIGURATION
    assert "lock" in found.text


@pytest.mark.parametrize(
    ("found", "option"),
    [
        pytest.param(judge_state(PLACE, Storage(True, STATE_NEEDS_BYTES - 1), None), "--state-dir", id="state"),
        pytest.param(
            judge_dead_letters(PLACE, Storage(True, LETTERS_NEED_BYTES - 1), {}, ()), "--dead-letter-dir", id="dead-letters"
        ),
    ],
)
def test_a_disk_that_is_nearly_full_is_a_warning(found: Finding, option: str) -> None:
    """How much is left is told, and the command that shows where it went."""
    assert found.status is Status.WARNING
    assert "MiB free" in found.text
    assert option in found.advice
    assert found.command == f"df -h {PLACE}"


@pytest.mark.parametrize(
    ("found", "option"),
    [
        pytest.param(judge_state(PLACE, Storage(False, 0, "no"), None), "--state-dir", id="state"),
        pytest.param(judge_dead_letters(PLACE, Storage(False, 0, "no"), {}, ()), "--dead-letter-dir", id="dead-letters"),
    ],
)
def test_a_directory_without_writes_is_a_failure(found: Finding, option: str) -> None:
    """The option that names another directory is told."""
    assert (found.kind, found.text) == (Kind.CONFIGURATION, "no")
    assert option in found.advice


async def test_the_letters_of_today_are_counted_by_reason(tmp_path: Path) -> None:
    """Letters of today are a warning with their reasons, and the command that lists them; garbage between them is survived."""
    seen = context("--dead-letter-dir", tmp_path)
    lines = [json.dumps({"reason": reason}).encode() for reason in ("not_json", "wrong_type", "not_json")]
    journal = DailyJournal(tmp_path, DEAD_LETTER_PREFIX)
    journal.append([*lines, b"\xff{"])
    journal.close()
    found = await check_dead_letters(seen, {})
    assert found.status is Status.WARNING
    assert found.facts["letters_today"] == {"not_json": 2, "wrong_type": 1, "unreadable": 1}
    assert found.text.startswith("4 dead letters (not_json 2, ")
    assert found.command == f"k2 dlq list --dead-letter-dir {tmp_path}"


async def test_a_letter_that_was_replayed_is_dealt_with(tmp_path: Path) -> None:
    """What the replay's ledger knows as done needs nobody's attention, whatever became of it."""
    journal = DailyJournal(tmp_path, DEAD_LETTER_PREFIX)
    journal.append([json.dumps({"reason": "not_json", "id": number}).encode() for number in ("one", "two")])
    journal.close()
    with Ledger(tmp_path, writable=True) as ledger:
        ledger.settle([], [("one", LetterFate.NOTHING)])
    found = await check_dead_letters(context("--dead-letter-dir", tmp_path), {})
    assert found.facts["letters_today"] == {"not_json": 1}


def test_a_huge_file_of_letters_is_not_read(tmp_path: Path) -> None:
    """Counting must not take minutes."""
    path = tmp_path / "letters.jsonl"
    with path.open("wb") as file:
        file.truncate(LONGEST_COUNT_BYTES + 1)
    assert letters_in(path) is None
    assert judge_dead_letters(PLACE, PLENTY, None, ()).status is Status.WARNING


@pytest.mark.parametrize(
    "plant", [lambda path: path.symlink_to("/nowhere"), lambda path: path.mkdir()], ids=["a-dangling-link", "a-directory"]
)
async def test_a_file_that_the_client_could_not_append_to_is_a_failure(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    """What somebody planted under today's name would stop the client at its start."""
    plant(DailyJournal(tmp_path, DEAD_LETTER_PREFIX).path)
    found = await check_dead_letters(context("--dead-letter-dir", tmp_path), {})
    assert found.kind is Kind.CONFIGURATION
    assert DEAD_LETTER_PREFIX in found.text


def test_storage_that_forgets_is_a_warning() -> None:
    """That letters may not survive a reboot is told even where there are some today."""
    warnings = ("dead letters in /tmp/dlq may not survive a reboot (why); name a lasting directory to keep them",)
    found = judge_dead_letters(PLACE, PLENTY, {}, warnings)
    assert (found.status, found.text) == (Status.WARNING, "dead letters in /tmp/dlq may not survive a reboot (why)")
    assert "--dead-letter-dir" in found.advice
    both = judge_dead_letters(PLACE, PLENTY, {"not_json": 1}, warnings)
    assert "not_json 1" in both.text
    assert "reboot" in both.text


def served_by(inputs: HealthInputs) -> HttpServer:
    def metrics() -> tuple[bytes, str]:
        return b"", ""

    def health() -> HealthReport:
        return evaluate(inputs)

    return HttpServer("127.0.0.1", 0, service_routes(metrics=metrics, health=health, readiness=health, liveness=liveness))


@pytest.mark.parametrize(
    ("connected", "status", "said"),
    [pytest.param(True, Status.OK, "healthy, CONNECTED, up 61 s, 5 events of 1 symbol", id="healthy"),
     pytest.param(False, Status.WARNING, "degraded, DISCONNECTED, up 61 s: disconnected", id="degraded")],
)  # fmt: skip
async def test_a_client_that_runs_already_is_told_with_its_health(connected: bool, status: Status, said: str) -> None:
    """A taken port is well where a client of ours holds it, and as well as that client is."""
    server = served_by(HealthInputs(connected=connected, symbols=("BTCUSDT",), uptime_s=61.0, messages_received=5))
    await server.start()
    try:
        found = await check_http(context("--http-port", server.port), {})
    finally:
        await server.stop()
    assert found.status is status
    assert said in found.text
    again = await check_http(context("--http-port", server.port), {})
    assert (again.status, again.text) == (Status.OK, f"port {server.port} on 127.0.0.1 is free")


async def test_a_port_that_somebody_else_has_is_a_failure() -> None:
    """Whatever else listens there, and even if it never answers, the port is to be changed."""

    async def be_silent(peer: Peer) -> None:
        await peer.until_gone()

    async with listening(be_silent) as port, asyncio.timeout(30):
        found = await check_http(context("--http-port", port, timeout_s=0.3), {})
    assert found.kind is Kind.CONFIGURATION
    assert f"port {port}" in found.text
    assert "another port" in found.advice


async def test_an_address_that_is_not_ours_is_a_failure() -> None:
    """An address of another machine cannot be listened on."""
    found = await check_http(context("--http-host", "192.0.2.1", "--http-port", 0), {})
    assert found.kind is Kind.CONFIGURATION
    assert "--http-host" in found.text + found.advice


async def test_any_port_is_free() -> None:
    """Port 0 needs no look."""
    assert (await check_http(context("--http-port", 0), {})).text == "any free port"


def test_the_reasons_of_an_unhealthy_client_are_told() -> None:
    """What a client complains of stands in the line."""
    health = ClientHealth(Health.UNHEALTHY, "CONNECTED", ["BTCUSDT"], 5, 0, ["broker lost for 40 s", "paused"])
    assert judge_client(health, 8001).text.endswith("broker lost for 40 s; paused")
