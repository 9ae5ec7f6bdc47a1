"""Shell commands taken apart, far enough to see which program is given which words. No shell is started."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

SUBSTITUTED = "SUBSTITUTED"
_BEFORE_A_COMMAND = frozenset(
    {"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "sudo", "xargs", "nohup"}
)
_NO_COMMAND = frozenset({"for", "done", "fi", "}", "esac", "case", "in", "function"})
# Programs that run what stands behind their own words.
_RUNNERS = {"timeout": 1, "env": 0}


class Command(NamedTuple):
    """One command: the program and the words given to it."""

    program: str
    words: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        """The long options, without what they are set to."""
        return [word.partition("=")[0] for word in self.words if word.startswith("--") and len(word) > len("--")]


def commands(script: str) -> list[Command]:
    """Every command of a script in order, those behind pipes, in loops and in `$(…)` among them."""
    return list(_commands(script))


def _commands(script: str) -> Iterator[Command]:
    outer, inner = _apart(script)
    for one in inner:
        yield from _commands(one)
    for line in outer.replace("\\\n", " ").split("\n"):
        yield from _of_line(line)


def _of_line(line: str) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for token in _without_redirections(lexer):
        if set(token) <= set("();|&"):
            yield from _command(words)
            words = []
        else:
            words.append(token)
    yield from _command(words)


def _without_redirections(tokens: Iterator[str]) -> Iterator[str]:
    """Tokens without `2>&1`, `> file` and their like."""
    pending = ""
    tokens = iter(tokens)
    for token in tokens:
        if token[0] in "<>":
            next(tokens, None)  # the file, or the number behind `>&`
            pending = ""
            continue
        if pending:
            yield pending
        pending = ""
        if token.isdigit():
            pending = token  # perhaps the 2 of `2>`
        else:
            yield token
    if pending:
        yield pending


def _command(words: list[str]) -> Iterator[Command]:
    rest = list(words)
    while rest and (rest[0] in _BEFORE_A_COMMAND or _is_assignment(rest[0])):
        rest.pop(0)
    if not rest or rest[0] in _NO_COMMAND:
        return
    program, arguments = rest[0], rest[1:]
    yield Command(program, tuple(arguments))
    if program in _RUNNERS:
        yield from _command(arguments[_RUNNERS[program] :])
    if program == "bash" and "-c" in arguments:
        yield from _commands(arguments[arguments.index("-c") + 1])


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _apart(script: str) -> tuple[str, list[str]]:
    """The script with a word in place of each `$(…)`, and what is inside those."""
    outer, inner, position = "", [], 0
    while (start := script.find("$(", position)) >= 0:
        depth, end = 1, start + 2
        while end < len(script) and depth:
            depth += {"(": 1, ")": -1}.get(script[end], 0)
            end += 1
        outer += script[position:start] + SUBSTITUTED
        inner.append(script[start + 2 : end - 1])
        position = end
    return outer + script[position:], inner
