"""What the client needs of the machine it runs on: directories that take writes, and a port for its health."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from msgspec import Struct

from k2.doctor.checks import Context, Findings
from k2.doctor.findings import Finding, counted, finding_of, ok, told_apart, warning, wrong
from k2.errors import ConfigurationError
from k2.ingestion.adapters.dead_letters import storage_warnings
from k2.ingestion.adapters.http import HttpServer
from k2.ingestion.adapters.journal import DailyJournal, read_lines
from k2.ingestion.adapters.state import lock_holder
from k2.ingestion.core.health import Status as Health
from k2.ingestion.service import DEAD_LETTER_PREFIX
from k2.replay.ledger import Ledger

MIB = 1024 * 1024
STATE_NEEDS_BYTES = 64 * MIB
LETTERS_NEED_BYTES = 1024 * MIB  # an hour in which every event of a busy market becomes one
LONGEST_COUNT_BYTES = 64 * MIB  # of a file of dead letters; a larger one is not read to count them
_TRIAL = b"\0" * 4096
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


class Storage(Struct, frozen=True):
    """
    A directory as a writer meets it, or the nearest one above it where it does not exist yet.

    Attributes:
        fault: Why nothing can be written there; empty where all is well.
    """

    exists: bool
    free_bytes: int
    fault: str = ""


def look_at(directory: Path) -> Storage:
    """Write a little into the directory without leaving anything behind."""
    place = directory
    try:
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:  # without a name, where the file system allows
            file.write(_TRIAL)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Storage(directory.is_dir(), 0, f"{place} takes no files ({error.strerror or error})")
    return Storage(directory.is_dir(), shutil.disk_usage(place).free)


async def check_state(context: Context, _: Findings) -> Finding:
    """The state directory, without disturbing the client that may be using it."""
    directory = context.settings.state_dir
    storage = await asyncio.to_thread(look_at, directory)
    try:
        holder = lock_holder(directory)
    except OSError as error:
        return _unusable(directory, f"the lock in {directory} cannot be read ({error.strerror})", "--state-dir")
    return judge_state(directory, storage, holder)


def judge_state(directory: Path, storage: Storage, holder: str | None) -> Finding:
    """The finding on the state directory. Pure."""
    if storage.fault:
        return _unusable(directory, storage.fault, "--state-dir")
    facts = {"directory": str(directory), "free_bytes": storage.free_bytes, "used_by": holder}
    user = "" if holder is None else f", in use by {f'process {holder}' if holder else 'another process'}"
    if storage.free_bytes < STATE_NEEDS_BYTES:
        return warning(*_cramped(directory, storage, "--state-dir"), facts=facts)
    return ok(f"{directory}{_new(storage)}, {_size(storage.free_bytes)} free{user}", facts=facts)


async def check_dead_letters(context: Context, _: Findings) -> Finding:
    """The directory of dead letters, and what lies in today's file."""
    directory = context.settings.dead_letter_dir
    storage = await asyncio.to_thread(look_at, directory)
    path = DailyJournal(directory, DEAD_LETTER_PREFIX).path
    try:
        letters = {} if storage.fault else await asyncio.to_thread(letters_in, path)
    except OSError as error:
        return _unusable(path, f"{path} takes no letters ({error.strerror or error})", "--dead-letter-dir")
    except ConfigurationError as error:
        return finding_of(error, "mend that before the next replay")
    return judge_dead_letters(directory, storage, letters, storage_warnings(directory))


def letters_in(path: Path) -> dict[str, int] | None:
    """
    How many dead letters of each reason a file holds that were not replayed; None where it is too large to be read for that.

    Raises:
        OSError: the client could not append to it: a link, a device, somebody else's.
    """
    if not os.path.lexists(path):
        return {}
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if path.stat().st_size > LONGEST_COUNT_BYTES:
        return None
    with Ledger(path.parent, writable=False) as ledger:
        letters = (_letter_in(line) for _, line in read_lines(path))
        return dict(Counter(letter.reason for letter in letters if not ledger.fates([letter.id])))


class _Letter(Struct):
    reason: str
    id: str = ""


def _letter_in(line: bytes) -> _Letter:
    try:
        return msgspec.json.decode(line, type=_Letter)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Letter("unreadable")


def judge_dead_letters(directory: Path, storage: Storage, letters: dict[str, int] | None, warnings: tuple[str, ...]) -> Finding:
    """The finding on the dead letters. `warnings` are about the storage, None for `letters` means too many to count. Pure."""
    if storage.fault:
        return _unusable(directory, storage.fault, "--dead-letter-dir")
    facts = {"directory": str(directory), "free_bytes": storage.free_bytes, "letters_today": letters}
    complaints = list(_about_letters(directory, storage, letters, warnings))
    if complaints:
        _, advice, command = complaints[0]
        return warning("; ".join(text for text, *_ in complaints), advice, command, facts=facts)
    return ok(f"{directory}{_new(storage)}, {_size(storage.free_bytes)} free, no letter of today is left", facts=facts)


def _about_letters(
    directory: Path, storage: Storage, letters: dict[str, int] | None, warnings: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    """What is worth a warning, the most urgent first: text, advice, command."""
    if storage.free_bytes < LETTERS_NEED_BYTES:
        yield _cramped(directory, storage, "--dead-letter-dir")
    if letters is None or letters:
        advice = "see what failed, and replay it once the cause is gone"
        command = shlex.join(["k2", "dlq", "list", "--dead-letter-dir", str(directory)])
        yield f"{_counted(letters)} of today not replayed in {directory}", advice, command
    for told in warnings:
        text, advice = told_apart(told)
        yield text, f"{advice}, with --dead-letter-dir", ""


def _counted(letters: dict[str, int] | None) -> str:
    if letters is None:
        return "more dead letters than are counted here"
    kinds = ", ".join(f"{reason} {count}" for reason, count in sorted(letters.items(), key=lambda item: -item[1]))
    return f"{counted(sum(letters.values()), 'dead letter')} ({kinds})"


async def check_http(context: Context, _: Findings) -> Finding:
    """Whether the port for health and metrics is free, or who answers there."""
    http = context.settings.http
    server = HttpServer(http.host, http.port, {})
    try:
        await server.start()
    except ConfigurationError as error:
        health = await _health_at(http.host, http.port, context.timeout_s)
        if health is not None:
            return judge_client(health, http.port)
        return finding_of(error, "choose another --http-host or --http-port")
    await server.stop()
    return ok(f"port {http.port} on {http.host} is free" if http.port else "any free port")


class ClientHealth(Struct, frozen=True):
    """What a running client says about itself, as far as it is shown."""

    status: Health
    connection_state: str
    symbols: list[str]
    uptime_seconds: int
    messages_received: int
    reasons: list[str] = []


def judge_client(health: ClientHealth, port: int) -> Finding:
    """The finding on a client that is running. Pure."""
    told = f"a client runs on port {port}: {health.status}, {health.connection_state}, up {health.uptime_seconds} s"
    facts = msgspec.to_builtins(health)
    if health.status is Health.HEALTHY:
        seen = f"{counted(health.messages_received, 'event')} of {counted(len(health.symbols), 'symbol')}"
        return ok(f"{told}, {seen}", facts=facts)
    return warning(f"{told}: {'; '.join(health.reasons)}", "see which other line here explains it, then its log", facts=facts)


async def _health_at(host: str, port: int, timeout_s: float) -> ClientHealth | None:
    """The health of the client at this address; None where what answers there is none."""
    shown = f"[{host}]" if ":" in host else host
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=timeout_s)) as http,
            http.get(f"http://{shown}:{port}/health") as answer,
        ):
            return msgspec.json.decode(await answer.content.read(MIB), type=ClientHealth)
    except (ClientError, OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _unusable(directory: Path, fault: str, option: str) -> Finding:
    advice = f"let the client's user write there, or name another directory with {option}"
    return wrong(fault, advice, shlex.join(["ls", "-ld", str(directory)]))


def _cramped(directory: Path, storage: Storage, option: str) -> tuple[str, str, str]:
    text = f"only {_size(storage.free_bytes)} free for {directory}"
    return text, f"make room, or name another directory with {option}", shlex.join(["df", "-h", str(directory)])


def _new(storage: Storage) -> str:
    return "" if storage.exists else " (will be made)"


def _size(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}"
        count /= _STEP
    return f"{count:.0f} {_UNITS[-1]}"
