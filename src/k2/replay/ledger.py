"""
What became of dead letters that were replayed: a small SQLite database beside them.

It makes a second run harmless and a killed one too. Before a batch is sent, its records are written down as under way, with
the offsets at which their topics ended then; after the last acknowledgement, what became of them. A run that finds records under
way knows that another was killed, and from which offsets on to look for them. Every step is on the disk when it returns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Self

from msgspec import Struct

from k2.errors import ConfigurationError, FatalError
from k2.ingestion.adapters.journal import FILE_MODE

NAME = "replay-ledger.sqlite3"
LOCK_NAME = "replay-ledger.lock"
FORMAT = 1
_BUSY_TIMEOUT_S = 10.0
_VARIABLES = 500  # SQLite has a limit on the parameters of one statement

_TABLES = """
CREATE TABLE letters (id TEXT PRIMARY KEY, fate TEXT NOT NULL, at_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE published (topic TEXT, message_id TEXT, PRIMARY KEY (topic, message_id)) WITHOUT ROWID;
CREATE TABLE underway (topic TEXT, message_id TEXT, letter_id TEXT NOT NULL);
CREATE TABLE cluster (id TEXT NOT NULL);
CREATE TABLE positions (topic TEXT, part INTEGER, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID;
"""
_KNOWN = """
CREATE TEMP VIEW known_letters AS SELECT id, fate FROM main.letters;
CREATE TEMP VIEW known_records AS SELECT topic, message_id FROM main.published;
"""
_KNOWN_BEFORE = """
CREATE TEMP VIEW known_letters AS SELECT id, fate FROM main.letters UNION ALL SELECT id, fate FROM past.letters;
CREATE TEMP VIEW known_records AS
    SELECT topic, message_id FROM main.published UNION ALL SELECT topic, message_id FROM past.published;
"""


class LetterFate(StrEnum):
    """What became of a letter for good."""

    PUBLISHED = "published"
    REFILED = "refiled"  # it failed again, and a new letter stands for it
    NOTHING = "nothing"  # it holds no event that is to be published


class Sending(Struct, frozen=True):
    """
    A record under way: the letter that it comes from, and what it can be recognised by in the topic.

    That is its `message_id`; for JSON, which has none, a digest of its bytes.
    """

    topic: str
    message_id: str
    letter_id: str


Positions = dict[str, dict[int, int]]  # topic -> partition -> the offset that the next record gets


class Ledger:
    """
    The ledger of one dead-letter directory. For one thread.

    Args:
        writable: False to look only. Then a ledger that is not there is an empty one, and what this one is told is forgotten
            again: a run that only tries still counts what comes twice once.

    Raises:
        ConfigurationError: it cannot be used, or another replay writes to it.
    """

    def __init__(self, directory: Path, *, writable: bool) -> None:
        self.path = directory / NAME
        self._lock = _locked(directory / LOCK_NAME) if writable else -1
        try:
            self._database = _opened(self.path, writable=writable)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self.close()

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def bind(self, cluster_id: str) -> None:
        """
        Say which Kafka cluster a run publishes to. What is published in one cluster is not in another.

        Raises:
            ConfigurationError: the ledger tells of another one.
        """
        with self._step():
            known = self._database.execute("SELECT id FROM cluster").fetchone()
            if known is None:
                self._database.execute("INSERT INTO cluster VALUES (?)", (cluster_id,))
        if known is not None and known[0] != cluster_id:
            other = f"the replay's ledger {self.path} tells of the Kafka cluster {known[0]}, and this one is {cluster_id}"
            raise ConfigurationError(f"{other}: check --kafka-bootstrap, or copy the files to a directory of their own")

    def fates(self, letter_ids: Sequence[str]) -> dict[str, LetterFate]:
        """What is known of these letters; those that are new are not in it."""
        with self._step():
            rows = self._in("SELECT id, fate FROM known_letters WHERE id IN ({})", letter_ids)
            return {letter_id: LetterFate(fate) for letter_id, fate in rows}

    def published(self, topic: str, message_ids: Sequence[str]) -> set[str]:
        """Those of these records that a replay has published before, from whichever letter."""
        with self._step():
            rows = self._in("SELECT message_id FROM known_records WHERE topic = ? AND message_id IN ({})", message_ids, topic)
            return {message_id for (message_id,) in rows}

    def begin(self, sendings: Iterable[Sending], positions: Positions) -> None:
        """These records are about to be sent; their topics end at these positions."""
        ends = [(topic, part, offset) for topic, parts in positions.items() for part, offset in parts.items()]
        with self._step():
            self._database.executemany("INSERT INTO underway VALUES (?, ?, ?)", map(_row, sendings))
            self._database.executemany("INSERT OR IGNORE INTO positions VALUES (?, ?, ?)", ends)

    def settle(self, delivered: Sequence[Sending], fates: Iterable[tuple[str, LetterFate]]) -> None:
        """These records arrived, and this became of these letters. Nothing is under way any more."""
        now_s = int(time.time())
        rows = [(letter_id, fate, now_s) for letter_id, fate in fates]
        with self._step():
            self._database.executemany(
                "INSERT OR IGNORE INTO published VALUES (?, ?)", [(s.topic, s.message_id) for s in delivered]
            )
            self._database.executemany("INSERT OR REPLACE INTO letters VALUES (?, ?, ?)", rows)
            self._database.execute("DELETE FROM underway")
            self._database.execute("DELETE FROM positions")

    def underway(self) -> tuple[list[Sending], Positions]:
        """What a killed run left: its last batch, and where to look for it."""
        positions: Positions = {}
        with self._step():
            sendings = [Sending(*row) for row in self._database.execute("SELECT topic, message_id, letter_id FROM underway")]
            for topic, part, offset in self._database.execute("SELECT topic, part, next_offset FROM positions"):
                positions.setdefault(topic, {})[part] = offset
        return sendings, positions

    def _in(self, statement: str, values: Sequence[str], *before: str) -> Iterator[tuple[str, ...]]:
        for start in range(0, len(values), _VARIABLES):
            chunk = values[start : start + _VARIABLES]
            yield from self._database.execute(statement.format(",".join("?" * len(chunk))), (*before, *chunk))

    @contextmanager
    def _step(self) -> Iterator[None]:
        """All of it or nothing, and on the disk in the end."""
        try:
            with self._database:
                yield
        except sqlite3.Error as error:
            raise FatalError(
                f"the replay's ledger {self.path} cannot be used: {error}; check the disk, then run again"
            ) from error


def _row(sending: Sending) -> tuple[str, str, str]:
    return sending.topic, sending.message_id, sending.letter_id


def _locked(path: Path) -> int:
    """Descriptor of the lock, which is gone with its process however that ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ConfigurationError(f"the replay's ledger cannot be kept: {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigurationError(f"another replay is at work in {path.parent}; let it end first") from error
    return descriptor


def _opened(path: Path, *, writable: bool) -> sqlite3.Connection:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ConfigurationError(f"the replay's ledger {path} is no plain file; remove it, or name another --dead-letter-dir")
        if writable:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
        return _database_to_write(path) if writable else _database_to_look_at(path)
    except (sqlite3.OperationalError, OSError) as error:
        raise ConfigurationError(f"the replay's ledger {path} cannot be used now: {error}; check disk and permissions") from error
    except sqlite3.Error as error:
        advice = "restore it, or move it away: without it every letter counts as new"
        raise ConfigurationError(f"the replay's ledger {path} cannot be used: {error}; {advice}") from error


def _database_to_write(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(_uri(path), uri=True, timeout=_BUSY_TIMEOUT_S)
    database.execute("PRAGMA synchronous = EXTRA")  # FULL may lose the latest step with the power, and the sending would go on
    if not _has_tables(database, "main"):
        _make_tables(database)
    database.executescript(_KNOWN)
    return database


def _database_to_look_at(path: Path) -> sqlite3.Connection:
    """A database of our own that vanishes, with the one of the path beside it, which is never written to."""
    database = sqlite3.connect("", uri=True, timeout=_BUSY_TIMEOUT_S)
    _make_tables(database)
    if path.exists():
        database.execute("ATTACH ? AS past", (_uri(path),))
        if _has_tables(database, "past"):
            database.executescript(_KNOWN_BEFORE)
            return database
    database.executescript(_KNOWN)
    return database


def _uri(path: Path) -> str:
    # For reading as well: a run that was killed in the middle of a step leaves one that SQLite first has to take back.
    return f"{path.absolute().as_uri()}?mode=rw"


def _has_tables(database: sqlite3.Connection, name: str) -> bool:
    """Whether it is a ledger, and not a file that nothing was written to yet."""
    (version,) = database.execute(f"PRAGMA {name}.user_version").fetchone()
    if version not in {0, FORMAT}:
        raise sqlite3.DatabaseError(f"it has the format {version}, this program reads {FORMAT}")
    return bool(version)


def _make_tables(database: sqlite3.Connection) -> None:
    database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
