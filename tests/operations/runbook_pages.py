"""The runbooks taken apart: headings with their anchors, fenced blocks, links, and the words that a page puts into backticks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
ALERT_PAGE = "binance-streaming"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_BACKTICKS = re.compile(r"`([^`\n]+)`")
_LOG_EVENT = re.compile(r"\blog `([^`]+)`")


class Block(NamedTuple):
    """A fenced block: where it stands, as the page's name, the heading above it and its number below that, and its text."""

    page: str
    heading: str
    number: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}#{self.heading}/{self.number}"


class Section(NamedTuple):
    """A heading and the text up to the next one, whatever its level. `anchor` is what a link behind a # says."""

    level: int
    title: str
    anchor: str
    text: str


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_fences(text: str) -> str:
    """The prose of a page."""
    return _FENCE.sub("", text)


@cache
def sections(path: Path) -> tuple[Section, ...]:
    """The sections of a page in their order; what stands before its first heading belongs to none."""
    text = text_of(path)
    blanked = _FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)  # a comment of a script is no heading
    found = list(_HEADING.finditer(blanked))
    seen: Counter[str] = Counter()
    result = []
    for heading, following in zip(found, [*found[1:], None], strict=True):
        title = heading[2].strip()
        anchor = _anchor(title, seen)
        end = following.start() if following else len(text)
        result.append(Section(len(heading[1]), title, anchor, text[heading.end() : end]))
    return tuple(result)


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all runbooks in these languages."""
    return [block for path in PAGES for block in blocks_of(path) if block.language in languages]


def blocks_of(path: Path) -> Iterator[Block]:
    for section in sections(path):
        for number, fence in enumerate(_FENCE.finditer(section.text), 1):
            yield Block(path.stem, section.title, number, fence[1], fence[2])


def links(path: Path) -> list[str]:
    """The targets of a page's links, those on the web left out."""
    found = _LINK.findall(without_fences(text_of(path)))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(path: Path) -> set[str]:
    """What a link to a page can have behind its #."""
    return {section.anchor for section in sections(path)}


def in_backticks(path: Path) -> list[str]:
    return _BACKTICKS.findall(without_fences(text_of(path)))


def log_events(path: Path) -> set[str]:
    """The texts that a page says are in the log: in backticks, behind the word log."""
    return set(_LOG_EVENT.findall(" ".join(without_fences(text_of(path)).split())))


def _anchor(title: str, seen: Counter[str]) -> str:
    """As the place that shows the pages makes them: lower case, no punctuation, a hyphen for each space, repeats numbered."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", title)
    name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
    seen[name] += 1
    return name if seen[name] == 1 else f"{name}-{seen[name] - 1}"
