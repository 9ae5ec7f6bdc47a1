"""The state directory: documents survive, damage does not hurt, and two instances never share one."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.errors import ConfigurationError
from k2.ingestion.adapters.state import StateDirectory, StateWriteError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(data=JSON_VALUES)
def test_what_was_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Whatever JSON can express comes back as it was, also for the next instance."""
    path = tmp_path_factory.getbasetemp() / "round-trip"
    with StateDirectory(path) as state:
        state.write("ids", 1, data)
    with StateDirectory(path) as state:
        assert state.read("ids", 1) == data
        assert state.take_warnings() == []


def test_a_document_never_written_is_absent(tmp_path: Path) -> None:
    """That there is nothing yet is no reason for a warning."""
    with StateDirectory(tmp_path) as state:
        assert state.read("ids", 1) is None
        assert state.take_warnings() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b'{"version": 1, "da', "Unterminated", id="torn"),
        pytest.param(b"\xff\xfe\x00", "codec", id="not-text"),
        pytest.param(b"[1]", "no document of ours", id="another-shape"),
        pytest.param(b'{"version": 1}', "no document of ours", id="no-data"),
        pytest.param(b'{"version": 2, "data": 1}', "format version 2, this program reads 1", id="newer"),
        pytest.param(b'{"data": 1}', "format version None", id="no-version"),
        pytest.param(b"[" * 100_000, "recursion", id="nested-without-end"),
    ],
)
def test_a_damaged_document_counts_as_absent(tmp_path: Path, content: bytes, said: str) -> None:
    """A file that cannot be used is absent, and the warning names it and says why, once."""
    (tmp_path / "ids.json").write_bytes(content)
    with StateDirectory(tmp_path) as state:
        assert state.read("ids", 1) is None
        (warning,) = state.take_warnings()
        assert str(tmp_path / "ids.json") in warning
        assert said in warning
        assert state.take_warnings() == []


def test_a_directory_in_a_documents_place_counts_as_absent(tmp_path: Path) -> None:
    """Even what is no file only costs the document."""
    (tmp_path / "ids.json").mkdir()
    with StateDirectory(tmp_path) as state:
        assert state.read("ids", 1) is None
        assert "ids.json" in state.take_warnings()[0]


def test_a_write_that_fails_keeps_the_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves what was there before, and an error that names the file."""
    with StateDirectory(tmp_path) as state:
        state.write("ids", 1, "old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StateWriteError, match=r"ids\.json could not be written: No space left on device"):
            state.write("ids", 1, "new")
        assert state.read("ids", 1) == "old"


def test_a_left_over_temporary_file_does_not_matter(tmp_path: Path) -> None:
    """A crash between write and rename is overwritten by the next write."""
    (tmp_path / "ids.tmp").write_bytes(b"half of a docu")
    with StateDirectory(tmp_path) as state:
        state.write("ids", 1, [1])
        assert state.read("ids", 1) == [1]
    assert not (tmp_path / "ids.tmp").exists()


def test_a_second_instance_is_refused(tmp_path: Path) -> None:
    """The error names the directory, the process that holds it and the option that helps."""
    with StateDirectory(tmp_path), pytest.raises(ConfigurationError) as refused:
        StateDirectory(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert f"process {os.getpid()}" in str(refused.value)
    assert "--state-dir" in str(refused.value)


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    """A crash leaves the lock file and its process id, and neither keeps the next instance out."""
    program = "import os, sys; from pathlib import Path; from k2.ingestion.adapters.state import StateDirectory\n"
    program += "state = StateDirectory(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert killed.returncode == -9
    with StateDirectory(tmp_path) as state:
        state.write("ids", 1, 1)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_another_program_without_a_process_id_is_named_as_such(tmp_path: Path) -> None:
    """What stands in the lock file is shown only if it is a process id."""
    lock = tmp_path / "lock"
    lock.write_text("\x1b[31mnot a number")
    with lock.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="in use by another process"):
            StateDirectory(tmp_path)


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """The directory and its files are closed to others, whatever the umask."""
    path = tmp_path / "deep" / "state"
    with StateDirectory(path) as state:
        state.write("ids", 1, 1)
    modes = [stat.S_IMODE(file.stat().st_mode) for file in (path, path / "ids.json", path / "lock")]
    assert modes == [0o700, 0o600, 0o600]


def test_a_path_that_is_no_directory_is_a_configuration_fault(tmp_path: Path) -> None:
    """A file in the directory's place ends the start with the option to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--state-dir"):
        StateDirectory(tmp_path / "file")


@pytest.mark.parametrize("name", ["", "../ids", "a/b", "Ids", ".ids", "ids.json"])
def test_names_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    """A document's name is a plain word, so no name leads elsewhere."""
    with StateDirectory(tmp_path) as state, pytest.raises(ValueError, match="no name for a document"):
        state.write(name, 1, 1)


def test_the_format_is_plain_json(tmp_path: Path) -> None:
    """An operator can read a document with any JSON tool."""
    with StateDirectory(tmp_path) as state:
        state.write("ids", 3, {"BTCUSDT": 7})
        state.close()
        state.close()
    assert json.loads((tmp_path / "ids.json").read_text()) == {"version": 3, "data": {"BTCUSDT": 7}}
