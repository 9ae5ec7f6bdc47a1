"""The part of docker's command line that the runbooks use. What is not here, no runbook may use before it was tried."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn


class NotDockerError(Exception):
    """The words are no command of docker that a runbook uses."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NotDockerError(f"{self.prog}: {message}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What the words behind `docker` ask for. `action` names the command, `compose stop` for example."""
    return _PARSER.parse_args(list(words))


def _build() -> _Parser:
    parser = _Parser(prog="docker", allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    for name, flags, operands in _COMMANDS:
        _add(commands, name, flags, operands)
    compose = commands.add_parser("compose", allow_abbrev=False)
    compose.add_argument("--profile", action="append", default=[])
    compose.add_argument("-f", "--file", action="append", default=[])
    inner = compose.add_subparsers(required=True)
    for name, flags, operands in _COMPOSE_COMMANDS:
        _add(inner, name, flags, operands, prefix="compose ")
    return parser


def _add(commands: argparse._SubParsersAction[_Parser], name: str, flags: str, operands: str, prefix: str = "") -> None:
    """
    Add one command.

    Args:
        flags: Each as it is written; one that ends in = takes a value.
        operands: Their names; one that ends in * takes any number, one that ends in … all words from there on.
    """
    parser = commands.add_parser(name, allow_abbrev=False)
    parser.set_defaults(action=prefix + name)
    for flag in flags.split():
        spellings = flag.removesuffix("=").split("|")
        if flag.endswith("="):
            parser.add_argument(*spellings, action="append", default=[])
        else:
            parser.add_argument(*spellings, action="store_true")
    for operand in operands.split():
        if operand.endswith("…"):
            parser.add_argument(operand[:-1], nargs=argparse.REMAINDER)
        elif operand.endswith("*"):
            parser.add_argument(operand[:-1], nargs="*")
        else:
            parser.add_argument(operand)


# Name, flags, operands.
_COMMANDS = (
    ("logs", "-f|--follow --since= --tail=", "container"),
    ("inspect", "--format=", "container"),
    ("stats", "--no-stream", "container"),
    ("stop", "--time=", "container"),
    ("rm", "", "container"),
    ("cp", "", "source target"),
    ("tag", "", "image name"),
    ("image", "--format=", "verb image"),
)
_COMPOSE_COMMANDS = (
    ("ps", "--all", "services*"),
    ("up", "-d --no-deps --no-build", "services*"),
    ("stop", "--timeout=", "services*"),
    ("restart", "--timeout=", "services*"),
    ("kill", "-s=", "services*"),
    ("build", "", "services*"),
    ("pull", "", "services*"),
    ("exec", "-T", "service words…"),
    ("run", "--rm --no-deps --detach -T --name= --env=", "service words…"),
)
_PARSER = _build()
