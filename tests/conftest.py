"""Fixtures that every kind of test may use. The real parts start when the first test asks for one of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import settings

from kit import jars, ports
from kit.client import ClientProcess
from kit.kafka import KafkaBroker
from kit.registry import SchemaRegistry

# How long an example takes says more about the machine than about the code.
settings.register_profile("k2", deadline=None)
settings.load_profile("k2")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.server import Server

PART_CLASSES: dict[str, type[KafkaBroker | SchemaRegistry]] = {"registry": SchemaRegistry, "kafka": KafkaBroker}
UNAVAILABLE = pytest.StashKey[str]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever uses a real part is marked `real`, wherever it lies."""
    if PART_CLASSES.keys() & set(getattr(item, "fixturenames", ())):
        item.add_marker("real")


def pytest_collection_finish(session: pytest.Session) -> None:
    """
    Fetch what is missing before the first test: its time limit is for testing, and its captured output would hide the progress.

    A failure is kept for the tests that need the parts, so that the others run all the same.
    """
    if session.config.option.collectonly or not any(item.get_closest_marker("real") for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            jars.fetch_all()
        except jars.PartUnavailableError as error:
            session.config.stash[UNAVAILABLE] = str(error)


@pytest.fixture(scope="session")
def real_parts(request: pytest.FixtureRequest) -> Iterator[dict[str, Server]]:
    """The real parts that this session uses, all launched at once so that they come up side by side."""
    if UNAVAILABLE in request.config.stash:
        pytest.fail(request.config.stash[UNAVAILABLE], pytrace=False)
    used = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ExitStack() as stack:
        yield {name: _launched(part(), stack) for name, part in PART_CLASSES.items() if name in used}


def _launched(server: Server, stack: ExitStack) -> Server:
    stack.callback(server.close)
    return server.launch()


@pytest.fixture(scope="session")
def kafka(real_parts: dict[str, Server]) -> KafkaBroker:
    """A real broker, shared by all tests: use a topic of your own, and leave it running."""
    broker = real_parts["kafka"]
    assert isinstance(broker, KafkaBroker)
    return broker.wait_until_ready()


@pytest.fixture(scope="session")
def registry(real_parts: dict[str, Server]) -> SchemaRegistry:
    """A real schema registry, shared by all tests: use subjects of your own, and leave it running."""
    server = real_parts["registry"]
    assert isinstance(server, SchemaRegistry)
    return server.wait_until_ready()


@pytest.fixture
def topic() -> str:
    """A topic name, or a prefix of topic names, that no other test uses. Nothing is created."""
    return f"test.{uuid4().hex[:12]}"


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses."""
    return ports.free_port()


@pytest.fixture
def start_client(tmp_path: Path) -> Iterator[Callable[..., ClientProcess]]:
    """Starts clients in the test's own directory, takes what `ClientProcess` takes, and ends them all after the test."""
    with ExitStack() as stack:

        def start(*arguments: object, **options: Any) -> ClientProcess:
            return stack.enter_context(ClientProcess(*arguments, **{"cwd": tmp_path, **options}))

        yield start
