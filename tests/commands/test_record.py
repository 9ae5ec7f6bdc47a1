"""`k2 record` on the simulated exchange, both as processes: what is recorded and played again is the same to the byte."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from integration.support import wait_until
from integration.test_recordings import SPOT_2021, SPOT_2024, USDM_2021, USDM_2024, Case, recording_path
from k2.simulator.recording import load
from kit.client import ClientProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., ClientProcess]

SUBSCRIBED = "all streams are subscribed"
STREAMS = ("aggTrade", "bookTicker", "depth@100ms", "madeUp")
CONFIGURATION, UNAVAILABLE = 2, 69


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a tool of ours by its name."""
    started: list[ClientProcess] = []

    def run(tool: str, *arguments: object) -> ClientProcess:
        started.append(ClientProcess(*arguments, cwd=tmp_path, command=(sys.executable, "-m", "k2.cli.main", tool)))
        return started[-1]

    yield run
    for process in started:
        process.close()


def address_of(exchange: ClientProcess) -> str:
    exchange.wait_for_output("rest_url")
    address: str = json.loads(exchange.stdout.splitlines()[0])["ws_url"]
    return address


def frames_in(content: bytes) -> list[bytes]:
    """The frames of a recording of either form, read with nothing but the standard library."""
    text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    lines = (line.rstrip(b"\r").partition(b" ")[2] for line in text.split(b"\n"))
    return [frame for frame in lines if frame.startswith(b'{"stream":')]


def summary_of(recorder: ClientProcess, exit_code: int = 0) -> dict[str, Any]:
    assert recorder.wait() == exit_code, recorder.output
    summary: dict[str, Any] = json.loads(recorder.stdout)
    return summary


def played_and_recorded(start: Start, recording: Path, copy: Path) -> dict[str, Any]:
    """Play a recording as fast as it is read, record it until all of it is there, and end the recorder with SIGTERM."""
    held = load(recording)
    exchange = start("exchange", "--recording", recording, "--speed", "max", "--json")
    recorder = start(
        "record", "--output", copy, "--ws-url", address_of(exchange), "--market", held.venue, "--streams", *held.streams, "--json"
    )
    # The file can be read while it grows.
    wait_until(lambda: copy.exists() and len(frames_in(copy.read_bytes())) == len(held.frames), "all frames in the copy", 60)
    recorder.terminate()
    return summary_of(recorder)


def test_what_was_recorded_plays_as_it_was(start: Start, tmp_path: Path) -> None:
    """Generated frames of several streams over several connections; replayed and recorded once more they are equal."""
    first, second = tmp_path / "first.gz", tmp_path / "second.gz"
    exchange = start("exchange", "--rate", 500, "--json")
    recorder = start(
        "record", "--output", first, "--ws-url", address_of(exchange), "--streams", *STREAMS, "--duration", 3, "--json",
        "--streams-per-connection", 5,
    )  # fmt: skip
    summary = summary_of(recorder)
    assert (summary["ended_by"], summary["complete"], summary["connections"]) == ("duration", True, 3)
    assert summary["frames"] == len(frames_in(first.read_bytes())) > 1_000
    assert summary["streams"]["btcusdt@madeUp"] == {"frames": 0, "bytes": 0}
    summary = played_and_recorded(start, first, second)
    assert (summary["ended_by"], summary["complete"]) == ("signal", True)
    assert frames_in(second.read_bytes()) == frames_in(first.read_bytes())


@pytest.mark.parametrize("case", [SPOT_2024, USDM_2024, SPOT_2021, USDM_2021], ids=lambda case: case.file.partition(".")[0])
def test_real_frames_are_recorded_to_the_byte(start: Start, tmp_path: Path, case: Case) -> None:
    """Everything that was recorded from the exchange, as fast as the simulator sends it."""
    path, copy = recording_path(case), tmp_path / "copy.gz"
    summary = played_and_recorded(start, path, copy)
    frames = frames_in(path.read_bytes())
    assert frames_in(copy.read_bytes()) == frames
    assert (summary["frames"], summary["frame_bytes"], summary["complete"]) == (len(frames), sum(map(len, frames)), True)


def test_a_killed_recorder_leaves_a_whole_file(start: Start, tmp_path: Path) -> None:
    """Without a word to anybody; the next one adds to it."""
    path = tmp_path / "killed.gz"
    address = address_of(start("exchange", "--rate", 200, "--json"))
    recorder = start("record", "--output", path, "--ws-url", address)
    recorder.wait_for_output(SUBSCRIBED)
    wait_until(lambda: path.stat().st_size, "lines in the file")
    recorder.kill()
    recorder.wait()
    left = gzip.decompress(path.read_bytes())
    assert len(load(path).frames) == left.count(b"\n") > 0
    summary_of(start("record", "--output", path, "--append", "--ws-url", address, "--duration", 1, "--json"))
    content = gzip.decompress(path.read_bytes())
    assert content.startswith(left)
    assert len(content) > len(left)


def test_lost_connections_are_told_at_the_end(start: Start, tmp_path: Path) -> None:
    """The exchange resets the connection; the recorder connects again and says that something is missing."""
    address = address_of(start("exchange", "--rate", 100, "--json"))
    recorder = start("record", "--output", tmp_path / "reset.gz", "--ws-url", address, "--reconnect-delay-min", 0.1, "--json")
    recorder.wait_for_output(SUBSCRIBED)
    control = Request(f"{address.replace('ws:', 'http:')}/control/fault", data=b'{"kind": "reset"}', method="POST")  # noqa: S310 - on loopback
    urlopen(control, timeout=10).close()  # noqa: S310 - on loopback
    recorder.wait_for_output("connected again")
    recorder.interrupt()
    summary = summary_of(recorder)
    assert (summary["interruptions"], summary["reconnections"], summary["complete"]) == ({"reset": 1}, 1, False)


def test_plain_lines_to_standard_output(start: Start) -> None:
    """Nothing but frames there; the summary goes to standard error."""
    address = address_of(start("exchange", "--rate", 100, "--json"))
    recorder = start("record", "--output", "-", "--ws-url", address, "--streams", "btcusdt@trade", "--duration", 2)
    assert recorder.wait() == 0, recorder.output
    lines = recorder.stdout.encode().splitlines(keepends=True)
    assert frames_in(b"".join(lines)) == [line.partition(b" ")[2].rstrip(b"\n") for line in lines]
    assert f"Recorded {len(lines):,} frames" in recorder.stderr


def test_a_file_that_exists_is_not_overwritten(start: Start, tmp_path: Path) -> None:
    """One line that says what to do."""
    path = tmp_path / "mine.gz"
    path.write_bytes(b"mine")
    recorder = start("record", "--output", path)
    assert recorder.wait() == CONFIGURATION
    [line] = recorder.stderr.splitlines()
    assert line == f"k2 record: --output {path}: the file exists already; name another one, or add to it with --append"
    assert path.read_bytes() == b"mine"


def test_an_exchange_that_is_not_there(start: Start, tmp_path: Path) -> None:
    """Nothing recorded, no empty file, and the reason."""
    recorder = start("record", "--output", tmp_path / "new.gz", "--ws-url", "ws://127.0.0.1:1", "--duration", 0.5)
    assert recorder.wait() == UNAVAILABLE
    assert "nothing is recorded: no connection: refused" in recorder.stderr.splitlines()[-1]
    assert not (tmp_path / "new.gz").exists()
