"""The options as Markdown tables, for the README."""

from __future__ import annotations

from collections.abc import Iterable

from k2.ingestion.options import OPTIONS, Option

BAR = "\\|"  # a bar inside a cell
HEADER = "| Flag | Variable | Default | Unit or values | Meaning |\n|---|---|---|---|---|"


def options_table() -> str:
    """One table for each group of options, in the order of the code."""
    headings = dict.fromkeys(option.heading for option in OPTIONS)
    return "\n\n".join(f"**{heading}**\n\n{HEADER}\n{_rows(heading)}" for heading in headings)


def _rows(heading: str) -> str:
    return "\n".join(_row(option) for option in OPTIONS if option.heading == heading)


def _row(option: Option) -> str:
    return table_row(_flag(option), _variable(option), _default(option), option.shown_unit, option.meaning)


def table_row(*cells: str) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def _flag(option: Option) -> str:
    if option.is_switch:
        return f"`{option.flag}`, `{option.negative_flag}`"
    return _listed(option.flags) or "none"


def _variable(option: Option) -> str:
    return _listed((*option.variables, option.file_variable) if option.secret else option.variables)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _default(option: Option) -> str:
    return option.default_note or (f"`{option.default}`" if option.default else "none")
