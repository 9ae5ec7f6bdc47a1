"""`k2 top` as a process: on a pipe and on a terminal, over a client whose answers the test gives."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from kit.ports import free_port
from unit.scripted_health import ScriptedClient, later, report, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

K2 = (sys.executable, "-m", "k2.cli.main", "top")
PATIENCE_S = 30
OUTPUT_SHOWN = 4_000
CONFIGURATION, UNAVAILABLE, INTERRUPTED, TERMINATED = 2, 69, 130, 143
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SECOND_SCREEN, FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
async def client() -> AsyncIterator[ScriptedClient]:
    client = await ScriptedClient(report()).start()
    yield client
    await client.stop()


class Top:
    """The running tool. Its environment holds nothing of the developer's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._out, self._err = process.stdout, process.stderr

    @classmethod
    async def start(cls, *words: object, home: Path, **variables: str) -> Top:
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), **variables}
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(*K2, *map(str, words), stdout=pipe, stderr=pipe, env=environment, cwd=home)
        )

    async def line(self) -> str:
        """The next line of its standard output."""
        assert self._out
        return (await asyncio.wait_for(self._out.readline(), PATIENCE_S)).decode().rstrip("\n")

    async def word(self) -> str:
        """The next line of its standard error."""
        assert self._err
        return (await asyncio.wait_for(self._err.readline(), PATIENCE_S)).decode().rstrip("\n")

    async def ended(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Exit code, and what it had still to say."""
        if number is not None:
            self._process.send_signal(number)
        out, err = await asyncio.wait_for(self._process.communicate(), PATIENCE_S)
        assert self._process.returncode is not None
        return self._process.returncode, out.decode(), err.decode()


@pytest.fixture
async def top(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts the tool; whatever still runs ends with the test."""
    started: list[Top] = []

    async def start(*words: object, **variables: str) -> Top:
        started.append(await Top.start(*words, home=tmp_path, **variables))
        return started[-1]

    yield start
    for tool in started:
        if tool._process.returncode is None:
            tool._process.kill()
            await tool._process.communicate()


async def test_once_is_one_line_in_a_pipe(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """Two looks an interval apart, the second one shown with its rate; nothing beside it."""
    client.play(report(), later(2.0, 1_200, (800, 399, 1)))
    code, out, err = await (await top(client.url, "--once", "--interval", 0.2)).ended()
    [line] = out.splitlines()
    assert (code, err, client.asked) == (0, "", 2)
    assert " healthy CONNECTED | " in line
    assert "7,205 received = 7,197 published + 5 dead + 3 ignored" in line
    assert "\x1b" not in line


async def test_once_for_programs_is_one_object(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """The whole answer is in it as the client gave it, an unhealthy one's too."""
    client.play(report(dead_letters_writable=False))
    code, out, err = await (await top(client.url, "--once", "--json", "--interval", 0.2)).ended()
    [line] = out.splitlines()
    found = json.loads(line)
    assert (code, err) == (0, "")
    assert (found["answered"], found["http_status"], found["health"]) == (True, 503, report(dead_letters_writable=False).body)
    assert found["events_per_s"] == 0


async def test_a_line_comes_for_every_look_until_it_is_told_to_end(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """At once and not when a buffer is full; Ctrl-C ends it quietly."""
    tool = await top(client.url, "--interval", 0.2)
    for _ in range(3):
        assert " 7,205 received " in await tool.line()
    code, _, err = await tool.ended(signal.SIGINT)
    assert (code, err) == (INTERRUPTED, "")


async def test_a_supervisor_ends_it_too(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """SIGTERM, with the code that shells know it by."""
    tool = await top(client.url, "--json", "--interval", 0.2)
    await tool.line()
    code, _, err = await tool.ended(signal.SIGTERM)
    assert (code, err) == (TERMINATED, "")


async def test_a_client_that_goes_away_is_waited_for(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """One line on standard error when it goes and one when it is back, and then it goes on."""
    tool = await top(client.url, "--interval", 0.2)
    await tool.line()
    await client.stop()
    assert await tool.word() == f"k2 top: waiting for {client.url}: Connection refused"
    await client.start()
    assert await tool.word() == f"k2 top: {client.url} is back"
    assert " 7,205 received " in await tool.line()
    code, _, err = await tool.ended(signal.SIGINT)
    assert (code, err) == (INTERRUPTED, "")


async def test_once_without_a_client(top: Callable[..., Any]) -> None:
    """One readable line that names the address and the reason, and the code of what is away."""
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = await (await top(url, "--once")).ended()
    assert (code, out) == (UNAVAILABLE, "")
    [line] = err.splitlines()
    assert line.startswith(f"k2 top: {url} does not answer: Connection refused; is a client running")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["localhost:8001"], "k2 top: URL: 'localhost:8001' is not an address such as http://HOST:PORT"),
        (["--interval", "never"], "k2 top: --interval: 'never' is not a number of seconds"),
        (["--kafka-sasl-password", "hunter2"], "k2 top: --kafka-sasl-password does not exist"),
        (["http://127.0.0.1:1", "--http-port", "1"], "k2 top: URL excludes --http-host and --http-port"),
        (["--http-port", "0"], "k2 top: --http-port 0 takes any free port"),
    ],
)
async def test_what_makes_no_sense_is_refused(top: Callable[..., Any], words: list[str], told: str) -> None:
    """With one line and exit code 2, before anybody is asked."""
    code, out, err = await (await top(*words)).ended()
    assert (code, out) == (CONFIGURATION, "")
    [line] = err.splitlines()
    assert line.startswith(told)
    assert "hunter2" not in line


async def test_another_server_is_refused(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """An address that leads somewhere else is a wrong one, and is not waited for."""
    code, out, err = await (await top(f"{client.url}/elsewhere")).ended()
    assert (code, out) == (CONFIGURATION, "")
    assert err == f"k2 top: {client.url}/elsewhere is no client of k2: HTTP 404, and no health of a client in it\n"


@pytest.mark.parametrize("by", ["flag", "variable"])
async def test_the_clients_own_options_lead_to_it(client: ScriptedClient, top: Callable[..., Any], by: str) -> None:
    """Started where the client is started, it needs no address."""
    port = client.url.rpartition(":")[2]
    words, variables = (["--http-port", port], {}) if by == "flag" else ([], {"K2_HTTP_PORT": port})
    code, out, _ = await (await top("--once", "--interval", 0.2, *words, **variables)).ended()
    assert (code, " 7,205 received " in out) == (0, True)


async def test_no_proxy_is_asked(client: ScriptedClient, top: Callable[..., Any]) -> None:
    """Proxy variables, usual in companies, do not come between the tool and the client."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    code, _, err = await (await top(client.url, "--once", "--interval", 0.2, **proxies)).ended()
    assert (code, err) == (0, "")


async def test_a_client_that_hangs_is_told(top: Callable[..., Any]) -> None:
    """A frozen client takes the connection and says nothing: that is no answer, and --once ends."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        code, _, err = await (await top(f"http://127.0.0.1:{frozen.getsockname()[1]}", "--once")).ended()
    assert code == UNAVAILABLE
    assert "does not answer: timed out" in err


async def test_a_client_that_drips_is_told(top: Callable[..., Any]) -> None:
    """A byte now and then is no answer either, however long it goes on."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.2)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        code, _, err = await (await top(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "--once")).ended()
        server.close()
    assert code == UNAVAILABLE
    assert "does not answer: timed out" in err


async def on_terminal(
    columns: int, rows: int, home: Path, *words: object, until: str, end: signal.Signals | None
) -> tuple[int, str]:
    """Run the tool on a terminal of this size until it has shown a text, and end it. Returns exit code and all that was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm", "HOME": str(home)}
    process = await asyncio.create_subprocess_exec(
        *K2, *map(str, words), stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=home, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while block := await asyncio.to_thread(_read, ours):
                shown += block
                if end and until in CONTROL.sub("", shown.decode(errors="replace")):
                    process.send_signal(end)
                    end = None
        return await asyncio.wait_for(process.wait(), PATIENCE_S), shown.decode()
    except TimeoutError:
        fault = f"never seen: {until}" if end else "it did not end"
        pytest.fail(f"{fault}; shown at last:\n{shown[-OUTPUT_SHOWN:].decode(errors='replace')}")
    finally:
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (40, 12)])
async def test_on_a_terminal_it_is_a_screen(client: ScriptedClient, tmp_path: Path, columns: int, rows: int) -> None:
    """It is drawn on the second screen, which is left again at Ctrl-C; no picture has more rows than the terminal."""
    client.play(report([stream(f"sym{number}usdt@aggTrade", number) for number in range(60)]))
    code, shown = await on_terminal(columns, rows, tmp_path, client.url, until="more", end=signal.SIGINT)
    assert code == INTERRUPTED
    assert shown.count(SECOND_SCREEN) == shown.count(FIRST_SCREEN) == 1
    picture = shown.partition(SECOND_SCREEN)[2].partition(FIRST_SCREEN)[0]
    first = CONTROL.sub("", picture.split("\x1b[H")[-1]).splitlines()
    assert rows - 2 <= len(first) <= rows
    assert max(map(len, first)) <= columns


async def test_a_screen_whose_client_goes_away_says_so(client: ScriptedClient, tmp_path: Path) -> None:
    """And Ctrl-C leaves the terminal as it was."""

    async def goes() -> None:
        await client.was_asked.wait()
        await client.stop()

    going = asyncio.create_task(goes())
    words = (client.url, "--interval", 0.2)
    code, shown = await on_terminal(80, 24, tmp_path, *words, until="No answer: Connection refused", end=signal.SIGINT)
    await going
    assert (code, FIRST_SCREEN in shown) == (INTERRUPTED, True)
    assert "btcusdt@aggTrade" in shown


async def test_once_on_a_terminal_leaves_its_picture(client: ScriptedClient, tmp_path: Path) -> None:
    """Every stream has its row then, as nothing has to fit, and the second screen is not used."""
    client.play(report([stream(f"sym{number}usdt@aggTrade", number) for number in range(60)]))
    words = (client.url, "--once", "--interval", 0.2)
    code, shown = await on_terminal(80, 24, tmp_path, *words, until="", end=None)
    assert (code, SECOND_SCREEN in shown) == (0, False)
    assert CONTROL.sub("", shown).count("usdt@aggTrade") == 60
