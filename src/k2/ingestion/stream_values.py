"""The parsers of the options that say what to stream: symbols, all symbols of a quote asset, streams."""

from __future__ import annotations

import re

from k2.ingestion.option_values import quoted, symbols, words_of

ALL = "ALL"
ALL_OF = f"{ALL}:"  # what stands before a quote asset where all its symbols are meant


def symbols_or_all(text: str) -> tuple[str, ...]:
    """Symbols, and words such as ALL:USDT for every symbol of a quote asset. In upper case, in the order given, each once."""
    words = tuple(dict.fromkeys(word.upper() for word in words_of(text)))
    wrong = [quoted(word) for word in words if re.match(f"{ALL}(:|$)", word) and not re.fullmatch(rf"{ALL_OF}[^\W_]+", word)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} names no quote asset: write {ALL_OF}USDT for every symbol that is priced in USDT")
    named = [word for word in words if not word.startswith(ALL_OF)]
    if named or not words:
        symbols(" ".join(named))
    return words


def streams(text: str) -> tuple[str, ...]:
    """Names of streams, or of kinds of streams, in the order given, each once. Whether the exchange has them is not judged."""
    found = tuple(dict.fromkeys(words_of(text)))
    wrong = [quoted(name) for name in found if not re.fullmatch(r"[\w!@+:.-]+", name)]
    if wrong:
        raise ValueError(f"not a stream: {', '.join(wrong)} (as in aggTrade, kline_1m, btcusdt@trade)")
    if not found:
        raise ValueError("no stream given; name at least one, such as aggTrade, or write off")
    return found
