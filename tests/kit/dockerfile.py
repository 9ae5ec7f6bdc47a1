"""
A Dockerfile without Docker: its instructions, and a shell script that carries them out.

No Docker engine runs where the tests run. A stage becomes an overlay over this machine's own root file system, which stays as it
is, and its RUN steps run in there. What the base image would bring, Python and pip, is this machine's.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Not the path of whoever runs the tests, which may begin with a Python of their own.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Every stage sees this machine's Python where the image has it. Debian forbids pip to touch its own; the image's is the image's.
BASE = """\
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
printf '#!/bin/sh\\nexec /usr/bin/python3 -m pip "$@"\\n' > "$root/usr/local/bin/pip"
chmod 755 "$root/usr/local/bin/pip"
"""


class Instruction(NamedTuple):
    """One instruction: its name, its options (`--from=build`) and the rest of its line."""

    name: str
    options: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The rest as words: of a JSON list its elements."""
        return list(json.loads(self.text)) if self.text.startswith("[") else shlex.split(self.text)

    @property
    def pairs(self) -> dict[str, str]:
        """The rest as NAME=VALUE."""
        return dict(word.split("=", 1) for word in self.words)


class Stage(NamedTuple):
    """What lies between one FROM and the next."""

    image: str
    name: str
    instructions: list[Instruction]

    def all(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]

    def one(self, name: str) -> Instruction:
        (instruction,) = self.all(name)
        return instruction

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for instruction in self.all("ENV") for name, value in instruction.pairs.items()}


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        instruction = _instruction(line)
        if instruction.name == "FROM":
            image, _, name = instruction.text.partition(" AS ")
            found.append(Stage(image, name, []))
        else:
            found[-1].instructions.append(instruction)
    return found


def _instruction(line: str) -> Instruction:
    name, _, rest = line.partition(" ")
    options = {}
    if name in {"COPY", "HEALTHCHECK"}:
        while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            options[match[1]], rest = match[2], rest[match.end() :]
    return Instruction(name, options, rest.strip())


def context(repository: Path, ignored: str, into: Path) -> None:
    """Copy what a builder would be sent: all of the repository but what `.dockerignore` names."""
    rules = [line for line in ignored.splitlines() if line and not line.startswith("#")]
    for file in sorted(repository.glob("*")):
        if not _sent(file.name, rules):
            continue
        if file.is_dir():
            shutil.copytree(file, into / file.name, ignore=_nested(rules))
        else:
            shutil.copy(file, into / file.name)


def _sent(name: str, rules: list[str]) -> bool:
    sent = True
    for rule in rules:
        if fnmatch.fnmatchcase(name, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


def _nested(rules: list[str]) -> Callable[[Any, list[str]], set[str]]:
    return shutil.ignore_patterns(*(rule.removeprefix("**/") for rule in rules if rule.startswith("**/")))


def script(found: list[Stage], sent: Path, work: Path) -> str:
    """A script for bash, to be run by root in a mount namespace of its own. It leaves `$root` at the last stage's file system."""
    lines = ["set -e", f"export PATH={SYSTEM_PATH}", f"mount -t tmpfs -o size=2g k2 {work}"]
    for number, stage in enumerate(found):
        lines += _mounted(work / str(number)) + _carried_out(stage, found, sent, work)
    return "\n".join(lines) + "\n"


def _mounted(at: Path) -> list[str]:
    return [
        f"mkdir -p {at}/upper {at}/work {at}/root; root={at}/root",
        f'mount -t overlay k2 -o lowerdir=/,upperdir={at}/upper,workdir={at}/work "$root"',
        'mount --rbind /proc "$root/proc"; mount --rbind /dev "$root/dev"',
        BASE,
    ]


def _carried_out(stage: Stage, found: list[Stage], sent: Path, work: Path) -> list[str]:
    lines, directory, set_so_far = [], "/", ""
    for instruction in stage.instructions:
        match instruction.name:
            case "ENV":
                set_so_far += "".join(f'export {name}="{value}"; ' for name, value in instruction.pairs.items())
            case "WORKDIR":
                directory = instruction.text
                lines.append(f'mkdir -p "$root{directory}"')
            case "RUN":
                lines.append(f'chroot "$root" /bin/sh -ec {shlex.quote(f"{set_so_far}cd {directory}; {instruction.text}")}')
            case "COPY":
                lines.append(_copied(instruction, found, sent, work, directory))
            case _:
                pass  # what only a container engine reads
    return lines


def _copied(instruction: Instruction, found: list[Stage], sent: Path, work: Path, directory: str) -> str:
    """A directory gives its content, as Docker has it; what goes to `./` keeps its name."""
    *sources, target = instruction.words
    names = [stage.name for stage in found]
    base = f"{work}/{names.index(instruction.options['from'])}/root" if "from" in instruction.options else f"{sent}/"
    into = f'"$root{target}"' if target.startswith("/") else f'"$root{directory}/{target}"'
    return "; ".join(f"cp -RT {base}{source} {into}" if target != "./" else f"cp {base}{source} {into}" for source in sources)
