"""Commands are found wherever a script hides them; the checks of the documents rest on that."""

from __future__ import annotations

import pytest

from operations.docker_words import NotDockerError, parse
from operations.shell import commands

FOUND = {
    "one": ("curl -s 'http://localhost' --fail", ["curl"]),
    "a pipe": ("docker logs x 2>&1 | grep 'a|b' | tail -n 5 > file", ["docker", "grep", "tail"]),
    "two lines of one": ("curl \\\n  --data x \\\n  y", ["curl"]),
    "a condition": ("cat x || echo 'no x' && true", ["cat", "echo", "true"]),
    "a substitution": ('curl "$(jq -r .a <<< "$(cat b)")"', ["cat", "jq", "curl"]),
    "a loop": ("for x in 1 2; do\n  cat $x\ndone | sort", ["cat", "sort"]),
    "an assignment": ("A=1 B=2 env | sort", ["env", "sort"]),
    "a shell in it": ("timeout 5 bash -c 'until curl x; do sleep 1; done'", ["timeout", "bash", "curl", "sleep"]),
    "a comment": ("cat x # and sort it\n# nothing", ["cat"]),
}


@pytest.mark.parametrize(("script", "programs"), FOUND.values(), ids=FOUND)
def test_every_command_is_found(script: str, programs: list[str]) -> None:
    """Programs behind pipes, in loops, in substitutions and in inner shells are all there."""
    assert [command.program for command in commands(script)] == programs


def test_flags_are_told_from_words() -> None:
    """Long options count, without what they are set to; redirections are no words."""
    [command] = commands("kafka-topics --topic=x --create -n 5 -- y 2>/dev/null")
    assert command.flags == ["--topic", "--create"]
    assert command.words == ("--topic=x", "--create", "-n", "5", "--", "y")


@pytest.mark.parametrize(
    "words", ["compose scale binance-client=3", "compose stop --wait x", "logs --colour x", "frobnicate"], ids=lambda words: words
)
def test_what_no_runbook_may_use_is_refused(words: str) -> None:
    """A command or option of docker that was not tried is no command of docker here."""
    with pytest.raises(NotDockerError):
        parse(words.split())
