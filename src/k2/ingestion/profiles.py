"""
Profiles: the shape of a deployment in a file. Where they lie, how one is loaded, and what it gives the settings.

A profile stands between the client's own variables and the built-in defaults: its variables first, then its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from msgspec import UNSET, Struct
from msgspec.structs import replace

from k2.errors import ConfigurationError
from k2.ingestion.command_line import Given, from_variables
from k2.ingestion.option_values import milliseconds_as_seconds, nearest, quoted
from k2.ingestion.options import BY_PROFILE_NAME, OPTIONS, Option, Source, SourceKind, file_variable
from k2.ingestion.profile_check import profile_faults, text_of
from k2.ingestion.profile_format import ProfileFile, Variable
from k2.ingestion.profile_yaml import read_yaml
from k2.shipped import shipped_directory

SUFFIX = ".yaml"
SUFFIXES = (SUFFIX, ".yml")
DIRECTORY = "profiles"
LARGEST_FILE = 1_000_000  # bytes; nobody writes so much by hand


class Profile(Struct, frozen=True):
    """
    A profile that is right in itself.

    Attributes:
        file: Its path as people see it.
        own_file: The same of a file that is not part of the product.
        lines: Of each path inside the file: `topics[1].retention`.
    """

    name: str
    file: str
    content: ProfileFile
    lines: Mapping[str, int]
    own_file: Path | None = None

    def place(self, path: str) -> str:
        """The line of a path inside the file: `profiles/events.yaml:12`."""
        return f"{self.file}:{self.lines.get(path, 1)}"

    def given(self, option: Option, environ: Mapping[str, str]) -> Given | None:
        """What the profile's variables give for an option, else its options, else None."""
        values = self.content.options.get(option.in_profiles)
        by_options = Given(text_of(values), self._source(option)) if values else None
        return self._by_variable(option, environ) or self._by_another(option, environ) or by_options

    def variable_of(self, option: Option) -> str:
        """The variable of the profile that sets an option, or an empty text."""
        named = (name for name, meant in self.content.environment.items() if meant.option == option.in_profiles)
        return next(named, "")

    def notes(self, environ: Mapping[str, str]) -> Iterator[str]:
        """A line for each variable that is set and has no effect."""
        for name, variable in self.content.environment.items():
            if variable.ignored and environ.get(name, "").strip():
                yield f"{name} has no effect: {variable.ignored}"

    def renamed(self, topic_id: str, environ: Mapping[str, str]) -> dict[str, str]:
        """The names that variables give a topic, by the variables."""
        renaming = (name for name, variable in self.content.environment.items() if variable.topic == topic_id)
        return {name: text for name in renaming if (text := environ.get(name, "").strip())}

    def _source(self, option: Option) -> Source:
        return Source(SourceKind.PROFILE, self.name, self.place(f"options.{option.in_profiles}"))

    def _by_variable(self, option: Option, environ: Mapping[str, str]) -> Given | None:
        named = {name: meant for name, meant in self.content.environment.items() if meant.option == option.in_profiles}
        found = from_variables(option, named, environ)
        if found is None or found.fault or found.text is None:
            return found
        variable = named.get(found.source.name)
        return found if variable is None else _translated(found, variable, option)

    def _by_another(self, option: Option, environ: Mapping[str, str]) -> Given | None:
        """What a variable of another option sets along with it."""
        for name, variable in self.content.environment.items():
            values = variable.sets.get(option.in_profiles)
            if values and any(environ.get(one, "").strip() for one in _names(name, variable)):
                return Given(text_of(values), Source(SourceKind.VARIABLE, name))
        return None


def _names(name: str, variable: Variable) -> tuple[str, ...]:
    """What may be set where this variable is meant: of a secret also the name of its file."""
    option = BY_PROFILE_NAME.get(variable.option)
    return (name, file_variable(name)) if option is not None and option.secret else (name,)


def _translated(found: Given, variable: Variable, option: Option) -> Given:
    text = found.text or ""
    meant = {word.lower(): value for word, value in variable.values.items()}.get(text.lower(), text)
    if variable.unit is UNSET:
        return Given(meant, found.source)
    try:
        return Given(milliseconds_as_seconds(meant), found.source)
    except ValueError as error:
        return Given(None, found.source, f"{option.called(found.source)}: {error}")


BARE = Profile("", "", ProfileFile(version=1, description="nothing"), {})


def layered(given: Mapping[str, Given], profile: Profile, environ: Mapping[str, str]) -> dict[str, Given]:
    """What was given, with the profile where neither a flag nor a variable of the client's says anything."""
    silent = [option for option in OPTIONS if given[option.key].source.kind is SourceKind.DEFAULT]
    return {**given, **{option.key: profile.given(option, environ) or _default(option, profile) for option in silent}}


def _default(option: Option, profile: Profile) -> Given:
    return Given(option.default, Source(SourceKind.DEFAULT, place=profile.variable_of(option)))


def profile_directory() -> Path:
    """The directory that holds the profiles of this installation."""
    return shipped_directory(DIRECTORY)


def profile_names() -> list[str]:
    """Names of all profiles that are part of the product, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in profile_directory().glob(f"*{SUFFIX}"))


def load_profile(word: str) -> Profile:
    """
    The profile of this name, or in this file.

    Raises:
        ValueError: there is none, or it cannot be read.
        ConfigurationError: with every fault found in it, each at its line.
    """
    return _from_file(word) if "/" in word or word.endswith(SUFFIXES) else _shipped(word)


@cache
def _shipped(name: str) -> Profile:
    names = profile_names()
    if name not in names:
        advice = nearest(name, names, f"there are {', '.join(names)}.")
        raise ValueError(f"there is no profile {quoted(name)}; {advice} A file is named by its path, such as ./mine{SUFFIX}")
    return _parsed(name, f"{DIRECTORY}/{name}{SUFFIX}", (profile_directory() / f"{name}{SUFFIX}").read_bytes())


def _from_file(word: str) -> Profile:
    try:
        with Path(word).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds a zero byte"
        raise ValueError(f"cannot read {quoted(word)}: {reason}") from None
    return replace(_parsed(Path(word).stem, word, content), own_file=Path(word))


def _parsed(name: str, file: str, content: bytes) -> Profile:
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"{file}:1: the file has more than {LARGEST_FILE} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}:{line}: this is not UTF-8 text") from None
    reading = read_yaml(text, ProfileFile)
    if reading.value is None:
        in_order = sorted(reading.faults, key=lambda fault: fault.line)
        raise ConfigurationError(*(_shown(file, fault.line, fault.path, fault.text) for fault in in_order))
    profile = Profile(name, file, reading.value, reading.lines)
    faults = sorted((_line(reading.lines, path), path, said) for path, said in profile_faults(reading.value))
    if faults:
        raise ConfigurationError(*(_shown(file, *fault) for fault in faults))
    return profile


def _line(lines: Mapping[str, int], path: str) -> int:
    """The line of a path, or of the list that stands for its only item."""
    return lines.get(path) or lines.get(path.rpartition("[")[0]) or 1


def _shown(file: str, line: int, path: str, text: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in path)
    return ": ".join(filter(None, (f"{file}:{line}", shown, text)))
