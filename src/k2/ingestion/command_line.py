"""
The texts that the command line and the environment give for each option, and where each came from. Nothing is judged here.

argparse takes every value as text: with its `type=` it would stop at the first fault.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from k2 import __version__
from k2.errors import ConfigurationError
from k2.ingestion.option_values import nearest, quoted
from k2.ingestion.options import BY_FLAG, OPTIONS, Option, Source, SourceKind, file_variable

PROGRAM = "binance_client"
DEFAULT = Source(SourceKind.DEFAULT)
EPILOG = (
    "A flag beats its variable, a variable beats the profile, that beats the default; an empty variable counts as not set. "
    f"Passwords come from variables only: {', '.join(option.variable for option in OPTIONS if option.secret)}, or from the file "
    "that the same name with _FILE behind it names."
)

# Flags that people reach for and that do not exist: a secret would show in the process list.
SECRET_FLAGS = {f"--{option.in_profiles}": option for option in OPTIONS if option.secret}


class Given(Struct, frozen=True):
    """The text given for an option (None: none, and no default either), where it came from, and why it cannot be had."""

    text: str | None
    source: Source
    fault: str = ""


class CommandLine(Struct, frozen=True):
    """What was given for each option, by its key, and the faults that belong to no option."""

    given: dict[str, Given]
    print_config: bool
    faults: list[str]


def read(argv: Sequence[str], environ: Mapping[str, str]) -> CommandLine:
    """
    What was given for each option.

    Raises:
        ConfigurationError: a flag lacks its value.
        SystemExit: after `--help` or `--version`.
    """
    namespace, unknown = build_parser().parse_known_args(argv)
    flags = vars(namespace)
    return CommandLine(given_for_all(flags, environ), flags["print_config"], unknown_words(unknown))


def given_for_all(flags: Mapping[str, str | list[str] | None], environ: Mapping[str, str]) -> dict[str, Given]:
    """What was given for each option, by its key: by a flag, else by a variable. `flags` are what `add_options` put there."""
    return {
        option.key: _from_flag(option, flags) or _from_environment(option, environ) or Given(option.default, DEFAULT)
        for option in OPTIONS
    }


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message.removeprefix('argument ')} (--help lists all options)")


class _Switch(argparse.Action):
    """`--x` is the text on, `--no-x` the text off."""

    def __call__(self, _parser: object, namespace: argparse.Namespace, _values: object, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, "off" if (option_string or "").startswith("--no-") else "on")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the flags. Every value stays a text, and what is not given is None."""
    parser = _Parser(prog=PROGRAM, usage="%(prog)s [options]", epilog=EPILOG, allow_abbrev=False, add_help=False)
    add_options(parser, OPTIONS)
    others = parser.add_argument_group("Instead of running")
    others.add_argument("-h", "--help", action="help", help="Show this and end.")
    others.add_argument("--version", action="version", version=f"k2 {__version__}", help="Show the version and end.")
    others.add_argument("--print-config", action="store_true", help="Show every option, its value and its source, and end.")
    return parser


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add the flags of these options, in groups under their headings. Every value stays a text."""
    listed = [option for option in options if option.flag]
    groups = {heading: parser.add_argument_group(heading) for heading in dict.fromkeys(option.heading for option in listed)}
    for option in listed:
        _add(groups[option.heading], option)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    text = f"{option.meaning} [{option.variable}; default: {option.shown_default}]".replace("%", "%%")
    if option.is_switch:
        group.add_argument(option.flag, option.negative_flag, dest=option.key, action=_Switch, nargs=0, help=text)
    elif option.many:
        group.add_argument(option.flag, dest=option.key, nargs="+", action="extend", metavar=option.metavar, help=text)
    else:
        group.add_argument(option.flag, dest=option.key, metavar=option.metavar, help=text)
    if option.former_flag:
        said = f"The same as {option.flag}. [{option.former_variable}]"
        group.add_argument(
            option.former_flag, dest=option.former_flag, nargs="+", action="extend", metavar=option.metavar, help=said
        )


def _from_flag(option: Option, flags: Mapping[str, str | list[str] | None]) -> Given | None:
    given = {flag: value for flag, value in _values_of_flags(option, flags) if value is not None}
    if not given:
        return None
    flag, value = next(iter(given.items()))
    text = value.strip() if isinstance(value, str) else "".join(f"{item}\n" for item in value)
    name = option.negative_flag if option.is_switch and text == "off" else flag
    return Given(text, Source(SourceKind.FLAG, name), _only_one(given))


def _values_of_flags(option: Option, flags: Mapping[str, str | list[str] | None]) -> Iterator[tuple[str, str | list[str] | None]]:
    yield option.flag, flags.get(option.key)
    yield option.former_flag, flags.get(option.former_flag)


def _from_environment(option: Option, environ: Mapping[str, str]) -> Given | None:
    return from_variables(option, option.variables, environ)


def from_variables(option: Option, names: Iterable[str], environ: Mapping[str, str]) -> Given | None:
    """What these variables give for an option, of which at most one may be set. An empty one counts as not set."""
    given = {name: found for name in names if (found := _from_variable(option, name, environ))}
    if not given:
        return None
    first = next(iter(given.values()))
    return Given(first.text, first.source, first.fault or _only_one(given))


def _only_one(given: Iterable[str]) -> str:
    names = list(given)
    return f"{' and '.join(names)} mean the same: give one of them" if len(names) > 1 else ""


def _from_variable(option: Option, name: str, environ: Mapping[str, str]) -> Given | None:
    value = environ.get(name, "")
    if option.secret:
        return _secret_from_environment(name, value, environ)
    return Given(value.strip(), Source(SourceKind.VARIABLE, name)) if value.strip() else None


def _secret_from_environment(name: str, value: str, environ: Mapping[str, str]) -> Given | None:
    by_value, by_file = (Source(SourceKind.VARIABLE, variable) for variable in (name, file_variable(name)))
    file = environ.get(by_file.name, "").strip()
    if value and file:
        return Given(None, by_value, f"{by_value.name} and {by_file.name} are both set: unset one")
    if file:
        return _from_file(file, by_file)
    return Given(value, by_value) if value else None


def _from_file(file: str, source: Source) -> Given:
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return Given(None, source, f"{source.name}: cannot read {quoted(file)}: {reason}")
    return Given(text, source, "" if text else f"{source.name}: {quoted(file)} is empty")


def unknown_words(words: Sequence[str], hint: str = "symbols follow --symbols, all other flags take one value") -> list[str]:
    """A fault for each flag that does not exist. Its value is not repeated, as it may be a password."""
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    if words and not flags:
        return [f"{quoted(words[0])} belongs to no option; {hint}"]
    return [_unknown_flag(flag) for flag in flags]


def _unknown_flag(flag: str) -> str:
    if flag in SECRET_FLAGS:
        option = SECRET_FLAGS[flag]
        return f"{flag} does not exist, as the process list would show it: set {option.variable} or {option.file_variable}"
    if flag in BY_FLAG:
        return f"{flag} is an option of the client, and has no meaning here"
    meant = nearest(flag, BY_FLAG)
    return f"there is no option {flag}" + (f"; {meant}" if meant else " (--help lists all options)")
