"""
From the text of an option to its value: one parser for each kind of value.

Every parser raises `ValueError` with a text that says what is wrong and what would be right. No text repeats a password: what
stands before an `@` is masked.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from zlib import crc32

from msgspec import Struct

MASK = "********"
LONGEST_QUOTE = 80
LONGEST_TOPIC = 249  # Kafka makes a directory of the name and of the partition number
TOPIC_SUFFIX = ".binance"

Parser = Callable[[str], Any]


class Secret:
    """A text that no log, error, table or repr shows. Only `reveal` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Shard(Struct, frozen=True):
    """Part `index` (from 0) of `count` parts of the symbols."""

    index: int
    count: int

    def pick(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """This part's symbols: the same whatever order the symbols were listed in, so the parts never overlap."""
        return tuple(sorted(symbols)[self.index :: self.count])

    def holds(self, symbol: str) -> bool:
        """Whether a symbol belongs to this part, whichever others there are: symbols that come and go move no other one."""
        return crc32(symbol.encode()) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Choice:
    """One of a few words, in any case."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        for word in self.words:
            if word.lower() == text.lower():
                return word
        raise ValueError(f"{quoted(text)} is not one of {', '.join(self.words)}")


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """What may be meant by a word that is none of these."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise


def quoted(text: str) -> str:
    """The text as an error may show it: in quotes, shortened, without control characters and without credentials."""
    without_login = re.sub(r"^.*@", "***@", text, flags=re.DOTALL)
    return in_quotes(re.sub(r"(://.*\?).*$", r"\1***", without_login, flags=re.DOTALL))


def in_quotes(text: str) -> str:
    """The same of a text that cannot be a credential, such as the name of a stream."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…")


def whole(minimum: int, maximum: int, *also: int) -> Parser:
    """A whole number from `minimum` to `maximum`, or one of `also`."""
    allowed = " or ".join([*map(str, also), f"{minimum} to {maximum}"])

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError(f"{quoted(text)} is not a whole number")
        number = int(text)
        if number not in also and not minimum <= number <= maximum:
            raise ValueError(f"{number} is out of range: {allowed}")
        return number

    return parse


def seconds(minimum: float, maximum: float = 86_400, *, zero_is_off: bool = False) -> Parser:
    """A number of seconds, fractions allowed."""
    allowed = f"{'0 (off) or ' if zero_is_off else ''}{minimum:g} to {maximum:g}"

    def parse(text: str) -> float:
        number = _decimal(text)
        if number is None:
            raise ValueError(f"{quoted(text)} is not a number of seconds")
        if not (zero_is_off and number == 0) and not minimum <= number <= maximum:
            raise ValueError(f"{number:g} s is out of range: {allowed}")
        return number

    return parse


def _decimal(text: str) -> float | None:
    # float() alone would also take "nan", "1_000" and the digits of other scripts.
    number = float(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE]-?[0-9]+)?", text) else math.nan
    return number if math.isfinite(number) else None


def milliseconds_as_seconds(text: str) -> str:
    """The text of a number of milliseconds as that of a number of seconds."""
    number = _decimal(text)
    if number is None:
        raise ValueError(f"{quoted(text)} is not a number of milliseconds")
    return repr(number / 1000)


def kibibytes_as_mebibytes(text: str) -> str:
    """The text of a number of KiB as that of a number of MiB."""
    number = whole(1, 2**31 - 1)(text)
    if number % 1024:
        raise ValueError(f"{number} KiB is no multiple of 1024; --queue-mib takes MiB")
    return str(number // 1024)


def switch(text: str) -> bool:
    """On or off."""
    words = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"{quoted(text)} is neither on nor off (true/false, yes/no, 1/0 do as well)")
    return words[text.lower()]


def or_off(parse: Parser) -> Parser:
    """None for an empty text and for `off`, else what `parse` makes of it."""
    return or_off_as(None, parse)


def or_off_as(absent: Any, parse: Parser) -> Parser:
    """`absent` for an empty text and for `off`, else what `parse` makes of it."""
    return lambda text: absent if text.strip().lower() in ("", "off") else parse(text)


def url(*schemes: str) -> Parser:
    """An address with a host, without credentials, query and fragment. A slash at its end is dropped."""

    def parse(text: str) -> str:
        parts = _split(text)
        if parts is None or not parts.hostname or parts.scheme not in schemes or re.search(r"\s", text):
            raise ValueError(f"{quoted(text)} is not an address such as {schemes[0]}://HOST:PORT ({' or '.join(schemes)})")
        if parts.username is not None or parts.password is not None:
            raise ValueError("an address must not carry a user name or password, as addresses are logged")
        if parts.query or parts.fragment:
            raise ValueError(f"{quoted(text)} must end with its path: no '?' and no '#'")
        return text.rstrip("/")

    return parse


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        port = parts.port  # reading it checks it
    except ValueError:
        return None  # its text would repeat the address, credentials included
    return None if port == 0 else parts


def brokers(text: str) -> str:
    """A comma-separated list of host:port."""
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [quoted(address) for address in addresses if not _is_host_and_port(address)]
    if wrong or not addresses:
        raise ValueError(f"{', '.join(wrong) or 'an empty list'} is not HOST:PORT[,HOST:PORT...] (IPv6 as [::1]:9092)")
    return ",".join(addresses)


def _is_host_and_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        return False
    if host.startswith("[") and host.endswith("]"):
        return _is_ip(host[1:-1])
    return bool(re.fullmatch(r"[A-Za-z0-9._-]+", host))


def _is_ip(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def host(text: str) -> str:
    """A host name or an IP address to bind."""
    if not _is_ip(text) and not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(f"{quoted(text)} is neither a host name nor an IP address")
    return text


def words_of(text: str) -> list[str]:
    """The words of a list, separated by spaces or commas."""
    return [word for word in re.split(r"[\s,]+", text) if word]


def symbols(text: str) -> tuple[str, ...]:
    """Symbols in upper case, in the order given, each once."""
    found = dict.fromkeys(word.upper() for word in words_of(text))
    # Letters of any script: the exchange lists symbols in Chinese. Delivery futures end in a date: BTCUSDT_261225.
    wrong = [quoted(symbol) for symbol in found if not re.fullmatch(r"[^\W_]+(_[0-9]{6})?", symbol)]
    if wrong:
        raise ValueError(f"not a symbol: {', '.join(wrong)} (letters and digits only, as in BTCUSDT)")
    if not found:
        raise ValueError("no symbol given; name at least one, such as BTCUSDT")
    return tuple(found)


def shard(text: str) -> Shard:
    """`I/N`: part I (from 0) of N."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"{quoted(text)} is not I/N with I from 0 to N-1, such as 0/3")
    return Shard(int(match[1]), int(match[2]))


def topic_name(text: str) -> str:
    """The name of a Kafka topic."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text) or text in {".", ".."}:
        raise ValueError(f"{quoted(text)} is no name for a Kafka topic: letters, digits, '.', '_' and '-' only")
    if len(text) > LONGEST_TOPIC:
        raise ValueError(f"{quoted(text)} has more than {LONGEST_TOPIC} characters, too many for a Kafka topic")
    return text


def topic_prefix(text: str) -> str:
    """The part of a topic's name before `.binance`."""
    topic_name(text + TOPIC_SUFFIX)
    return text


def path(text: str) -> Path:
    """A file or directory that need not exist yet."""
    if not text or "\0" in text:
        raise ValueError("a path must not be empty")
    if text.startswith("~"):
        raise ValueError(f"{quoted(text)}: the shell has not expanded '~'; write the directory out")
    return Path(text)


def pem_file(text: str) -> Path:
    """A readable file in PEM format."""
    file = path(text)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {quoted(text)}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise ValueError(f"{quoted(text)} is not a PEM file")
    return file


def plain(text: str) -> str:
    """Any text but an empty one."""
    if not text:
        raise ValueError("must not be empty")
    return text


def secret(text: str) -> Secret:
    """A text to be kept out of sight."""
    return Secret(plain(text))


def properties(text: str) -> dict[str, str]:
    """KEY=VALUE, one a line; where there is only one line, commas separate as well. The last of equal keys counts."""
    items = [item.strip() for item in (text.splitlines() if "\n" in text else text.split(",")) if item.strip()]
    for number, item in enumerate(items, 1):
        if not re.match(r"[a-zA-Z0-9._]+\s*=", item):
            # The item itself may be the rest of a password that holds a comma.
            raise ValueError(f"item {number} of {len(items)} is not KEY=VALUE (where a value holds a comma: one property a line)")
    return {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in items)}
