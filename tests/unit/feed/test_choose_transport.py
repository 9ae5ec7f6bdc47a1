"""The choice of a transport."""

from __future__ import annotations

import sys

import pytest

from k2.errors import ConfigurationError
from k2.ingestion.adapters.feed.transports import choose_transport


@pytest.mark.parametrize(
    ("name", "compression", "chosen"),
    [
        pytest.param("auto", False, "picows", id="auto-is-the-fast-one"),
        pytest.param("auto", True, "websockets", id="auto-with-compression"),
        pytest.param("picows", False, "picows", id="picows"),
        pytest.param("websockets", False, "websockets", id="websockets"),
        pytest.param("websockets", True, "websockets", id="websockets-with-compression"),
    ],
)
def test_choice(name: str, compression: bool, chosen: str) -> None:
    """`auto` takes the fast one unless compression is asked for; a name is taken at its word."""
    assert choose_transport(name, compression).name == chosen


def test_auto_does_without_picows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where picows is not installed, `auto` takes websockets."""
    monkeypatch.setitem(sys.modules, "picows", None)
    assert choose_transport("auto", compression=False).name == "websockets"


@pytest.mark.parametrize(
    ("name", "compression", "hint"),
    [
        pytest.param("picows", True, "--transport websockets", id="picows-cannot-decompress"),
        pytest.param("curl", False, "auto, picows, websockets", id="unknown"),
    ],
)
def test_impossible_choice_is_a_configuration_error(name: str, compression: bool, hint: str) -> None:
    """What cannot be had is refused with the option's name and a way out."""
    with pytest.raises(ConfigurationError, match=hint):
        choose_transport(name, compression)


def test_missing_library_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport asked for by name must be installed."""
    monkeypatch.setitem(sys.modules, "picows", None)
    with pytest.raises(ConfigurationError, match="not installed"):
        choose_transport("picows", compression=False)
