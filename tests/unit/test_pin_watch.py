"""A schema id from the copy on the disk, until the registry confirms it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion import pin_watch
from k2.ingestion.core.health import SchemaSource
from k2.ingestion.pin_watch import confirm_pins
from k2.ingestion.readings import StartFacts

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY = UnavailableError("no answer")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pin_watch, "ASK_EVERY_S", 0.001)


def pinned() -> StartFacts:
    return StartFacts(schema_source=SchemaSource.PINNED, schemas=(("a-value", "7", "f00"), ("b-value", "9", "f01")))


def answering(*answers: int | Exception | None) -> tuple[Callable[[], int | None], list[int | Exception | None]]:
    """Gives the answers one after the other, the last one again and again; and the answers that it has given."""
    given: list[int | Exception | None] = []

    def lookup() -> int | None:
        answer = answers[min(len(given), len(answers) - 1)]
        given.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return lookup, given


@pytest.mark.parametrize("before", [(), (AWAY, AWAY), (None,), (8,), (ConfigurationError("401"),)], ids=str)
async def test_it_asks_until_the_registry_has_our_id(before: tuple[int | Exception | None, ...]) -> None:
    """Whatever it hears before, the answer that is ours ends the asking, and the source is the registry from then on."""
    facts, (lookup, given) = pinned(), answering(*before, 7)
    await asyncio.wait_for(confirm_pins(facts, [(7, lookup)]), 10)
    assert facts.schema_source is SchemaSource.REGISTRY
    assert len(given) == len(before) + 1


async def test_another_id_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A registry that was made anew shows in the log, once and not with every question, and we stay on our copy."""
    facts, (lookup, given) = pinned(), answering(8)
    loop, heard_twice = asyncio.get_running_loop(), asyncio.Event()

    def lookup_and_tell() -> int | None:
        if len(given) == 2:  # the third question shows that two answers have been dealt with
            loop.call_soon_threadsafe(heard_twice.set)
        return lookup()

    asking = asyncio.create_task(confirm_pins(facts, [(7, lookup_and_tell)]))
    await asyncio.wait_for(heard_twice.wait(), 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert facts.schema_source is SchemaSource.PINNED
    assert capsys.readouterr().out.count("has not the schema id") == 1


async def test_every_schema_has_to_be_confirmed() -> None:
    """Of several the confirmed ones are not asked about again, and only with the last one the source is the registry."""
    facts, (first, asked_first), (second, asked_second) = pinned(), answering(7), answering(AWAY, None, 9)
    await asyncio.wait_for(confirm_pins(facts, [(7, first), (9, second)]), 10)
    assert facts.schema_source is SchemaSource.REGISTRY
    assert (asked_first, asked_second) == ([7], [AWAY, None, 9])
