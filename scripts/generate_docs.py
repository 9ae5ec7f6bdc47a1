"""
Write what follows from the code: the data dictionary, the JSON Schema of profiles, and blocks of the README and other pages.

    python scripts/generate_docs.py            write what is out of date
    python scripts/generate_docs.py --check    name what is out of date and end with 1
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from generated import run, stale
from k2.ingestion.profile_reference import profile_schema
from k2.ingestion.reference import table_row

ROOT = Path(__file__).resolve().parents[1]
DICTIONARY = "docs/reference/data-dictionary-v2.md"
PROFILE_SCHEMA = "profiles/profile.schema.json"
FILES_WITH_BLOCKS = ("README.md", "docs/reference/errors.md", "docs/reference/profiles.md", "docs/reference/streams.md")

BLOCK = re.compile(r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)

# What holds for every topic, whatever its schema. The tables below it come from the schemas.
PREFACE = """\
# Data dictionary, version 2

<!-- Made by scripts/generate_docs.py from schemas/*.avsc. Change it there. -->

## What holds for every record

| part | rule |
|---|---|
| Topic | one market and one sort of record, `market.crypto.trades.binance` for spot trades: see [streams](streams.md) |
| Key | the symbol as the exchange writes it, UTF-8, without framing: `BTCUSDT`. All records of a symbol are in one partition |
| Value | a zero byte, the schema id as four bytes with the highest first, then the Avro binary encoding |
| Subject | the topic's name with `-value` behind it; compatibility BACKWARD at least |
| Kafka timestamp | the exchange's time in milliseconds, so retention counts from the event and not from its arrival |
| | that of receipt where the exchange sends none, as with quotes of spot |
| Headers | none on a record in its order; `k2-source: late` on one that may come after younger ones of its key |
| | `k2-source: replay`, and `k2-dead-letter` with a letter's id, on one that was replayed from the dead letters |

Times are UTC, in microseconds since 1970-01-01. The exchange states milliseconds, so the last three digits of its times are zero.
A decimal is the unscaled integer as big-endian two's complement in as few bytes as hold it; the scale is in the schema. Nothing
is rounded: a number that does not fit exactly makes a dead letter.

Within a key and stream, `source_sequence` rises from record to record (in depth `final_update_id`, in candles `open_time`), apart
from records that carry a `k2-source` header. The value `late` has three causes: the event arrived after younger ones and fills a
gap that they had opened; Kafka refused the batch that the record was in, and it was produced once more alone; or the record was
held back after a failed delivery, and younger ones may have overtaken it. The value `replay` is that of a record that was a dead
letter before. The place of either is the one that `source_sequence` gives. The value `backfill` is that of a closed candle that
was missed and asked of REST afterwards; other gaps are not refilled in this version.
After a crash a record may come twice, both times with the same `message_id`.
"""


Renderer = Callable[[], str]


def rendered_by(module: str, function: str) -> Renderer:
    """A renderer that imports its module only when its block is there to be written."""
    return lambda: str(getattr(import_module(module), function)())


BLOCKS: dict[str, Renderer] = {
    "options": rendered_by("k2.ingestion.reference", "options_table"),
    "metrics": rendered_by("k2.ingestion.telemetry", "metrics_table"),
    "streams": rendered_by("k2.ingestion.stream_reference", "streams_table"),
    "profiles": rendered_by("k2.ingestion.profile_reference", "profiles_table"),
    "profile-pages": rendered_by("k2.ingestion.profile_reference", "profile_pages"),
    "broker-codes": rendered_by("k2.ingestion.delivery_reference", "delivery_codes_table"),
}


def with_blocks(text: str, blocks: Mapping[str, Renderer] = BLOCKS) -> str:
    """
    The text with each generated block written anew. A block without its markers is not rendered.

    Raises:
        ValueError: a marker names a block that does not exist, or has no end.
    """
    if text.count("<!-- generated: ") != len(BLOCK.findall(text)):
        raise ValueError("a generated block has no '<!-- end -->', or its marker is not on a line of its own")
    return BLOCK.sub(lambda match: _block(match, blocks), text)


def _block(match: re.Match[str], blocks: Mapping[str, Renderer]) -> str:
    name = match["name"]
    if name not in blocks:
        raise ValueError(f"there is no generated block named {name!r}: {', '.join(blocks)}")
    return f"{match['begin']}\n{blocks[name]().strip()}\n\n{match['end']}"


def dictionary(schemas: Sequence[Mapping[str, Any]]) -> str:
    """The data dictionary of these Avro schemas."""
    return "\n".join([PREFACE, *(_record(schema) for schema in schemas)])


def _record(schema: Mapping[str, Any]) -> str:
    header = "| # | Field | Avro type | Logical type | Meaning |\n|---|---|---|---|---|"
    rows = "\n".join(_field(number, field) for number, field in enumerate(schema["fields"], 1))
    return f"## {schema['name']}\n\n`{schema['namespace']}.{schema['name']}`: {schema['doc']}\n\n{header}\n{rows}\n"


def _field(number: int, field: Mapping[str, Any]) -> str:
    doc = field["doc"].replace("<", "&lt;")  # Markdown would take it for the beginning of a tag
    return table_row(str(number), f"`{field['name']}`", in_words(field["type"]), logical_type(field["type"]), doc)


def in_words(avro_type: Any) -> str:
    """An Avro type as one would say it."""
    match avro_type:
        case str():
            return avro_type
        case ["null", other] | [other, "null"]:
            return f"{in_words(other)}, or null"
        case list():
            return " or ".join(map(in_words, avro_type))
        case {"type": "enum", "name": name, "symbols": symbols}:
            return f"enum {name}: {', '.join(symbols)}"
        case {"type": "array", "items": items}:
            return f"array of {in_words(items)}"
        case {"type": "map", "values": values}:
            return f"map of string to {in_words(values)}"
        case {"type": "record", "name": name}:
            return f"record {name}"
        case {"type": inner}:
            return in_words(inner)
    raise ValueError(f"not an Avro type: {avro_type!r}")


def logical_type(avro_type: Any) -> str:
    """What the type stands for beyond its bytes, empty for most."""
    match avro_type:
        case {"logicalType": "decimal", "precision": precision, "scale": scale}:
            return f"decimal({precision}, {scale})"
        case {"logicalType": name}:
            return str(name)
        case list():
            return "".join(map(logical_type, avro_type))
    return ""


def documents(root: Path) -> dict[Path, str]:
    """Every file that is generated, or holds a generated block, with the text that it should have."""
    schemas = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((root / "schemas").glob("*.avsc"))]
    with_markers = {root / name: with_blocks((root / name).read_text(encoding="utf-8")) for name in FILES_WITH_BLOCKS}
    return {**with_markers, root / DICTIONARY: dictionary(schemas), root / PROFILE_SCHEMA: profile_schema()}


def outdated(root: Path) -> dict[Path, str]:
    """The documents whose text on disk is not what it should be."""
    return stale(documents(root))


def main(argv: Sequence[str] | None = None) -> int:
    return run("Write the documentation that follows from the code.", ROOT, outdated, argv)


if __name__ == "__main__":
    sys.exit(main())
