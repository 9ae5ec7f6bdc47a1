"""Claims about the documentation that is made from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import generate_docs
from k2.ingestion.options import OPTIONS
from k2.ingestion.reference import options_table

ROOT = Path(__file__).resolve().parents[2]


BEGIN = "<!-- generated: x -->"
END = "<!-- end -->"


def test_the_options_table_has_a_row_for_every_option() -> None:
    """Every flag and every variable stands in the table, and no cell breaks it."""
    rows = [line for line in options_table().splitlines() if line.startswith(("| `", "| none"))]
    assert len(rows) == len(OPTIONS)
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
    assert all(f"`{option.variable}`" in row and option.flag in row for option, row in zip(OPTIONS, rows, strict=True))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param(f"a\n{BEGIN}\nold\n{END}\nb", f"a\n{BEGIN}\n\nnew\n\n{END}\nb", id="old"),
        pytest.param(f"{BEGIN}\n{END}", f"{BEGIN}\n\nnew\n\n{END}", id="empty"),
        pytest.param("nothing generated", "nothing generated", id="no-markers"),
    ],
)
def test_blocks_are_written_between_their_markers(text: str, written: str) -> None:
    """What stands between the markers is replaced, what stands around them is kept, and writing twice changes nothing."""
    blocks = {"x": lambda: "new", "unused": lambda: pytest.fail("rendered without a marker")}
    assert generate_docs.with_blocks(text, blocks) == written
    assert generate_docs.with_blocks(written, blocks) == written


@pytest.mark.parametrize("text", ["<!-- generated: nosuch -->\n<!-- end -->", "<!-- generated: options -->\nno end"])
def test_a_marker_that_cannot_be_served_is_an_error(text: str) -> None:
    """A misspelt or unended block does not silently stay as it is."""
    with pytest.raises(ValueError, match="generated block"):
        generate_docs.with_blocks(text)


def test_the_options_block_renders() -> None:
    """The README's block of options is the table of the options."""
    assert options_table() in generate_docs.with_blocks("<!-- generated: options -->\n<!-- end -->")


@pytest.mark.parametrize(
    ("avro_type", "words", "logical"),
    [
        ("string", "string", ""),
        (["null", "long"], "long, or null", ""),
        ({"type": "long", "logicalType": "timestamp-micros"}, "long", "timestamp-micros"),
        (["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 8}], "bytes, or null", "decimal(38, 8)"),
        ({"type": "array", "items": {"type": "map", "values": "int"}}, "array of map of string to int", ""),
        ({"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}, "enum Side: BUY, SELL", ""),
        (["int", "string"], "int or string", ""),
        ({"type": "record", "name": "Level", "fields": []}, "record Level", ""),
    ],
)
def test_avro_types_are_told_in_words(avro_type: Any, words: str, logical: str) -> None:
    """A reader of the dictionary needs no Avro."""
    assert (generate_docs.in_words(avro_type), generate_docs.logical_type(avro_type)) == (words, logical)


def test_generated_documentation_is_current() -> None:
    """What is committed is what the code and the schemas say; `python scripts/generate_docs.py` brings it there."""
    assert list(generate_docs.outdated(ROOT)) == []


def test_stale_documentation_is_named_and_then_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names what is out of date and ends with 1; without it the file is written, and then the check passes."""
    for name in generate_docs.FILES_WITH_BLOCKS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# no markers")
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    monkeypatch.setattr(generate_docs, "ROOT", tmp_path)
    assert generate_docs.main(["--check"]) == 1
    assert "out of date: docs/reference/data-dictionary-v2.md" in capsys.readouterr().err
    assert [generate_docs.main([]), generate_docs.main(["--check"])] == [0, 0]
