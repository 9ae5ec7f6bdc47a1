"""Records as rows on a terminal, printed once and never redrawn: columns grow with what comes, and numbers are never cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from k2.reading.decoded import Decoded
from k2.tail.columns import DIM, Column, columns_for, key_cell, one_line, place_cell, time_cell
from k2.tail.lines import moment_of

HEAD, BAD = "bold cyan", "red"
WIDE_GAP, NARROW_GAP = 2, 1
LEFT_OUT_WIDTH = 14  # of "+11 (--json)" and the gap before it
WIDEST_TEXT, LEAST_TEXT = 40, 12
TEXTS_IN_A_ROW = 4  # no text takes more than this part of a narrow terminal


class Sheet:
    """
    Rows of the same columns: of those that could be spared as many as there is room for.

    Args:
        rows: Those that the columns are to have room for.
        room: The terminal's width; None for any.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Decoded], room: int | None) -> None:
        self._room = room
        self._widest_text = WIDEST_TEXT if room is None else max(LEAST_TEXT, min(WIDEST_TEXT, room // TEXTS_IN_A_ROW))
        self._columns = columns
        self._widths = [max(column.least, cell_len(column.title)) for column in columns]
        for row in rows:
            self._widths = self._grown(self._cells(row))
        self._gap = WIDE_GAP if room is None or _total(self._widths, WIDE_GAP) <= room else NARROW_GAP
        count = _fitting(columns, self._widths, self._gap, room)
        self._columns, self._widths, self._left_out = columns[:count], self._widths[:count], len(columns) - count

    def head(self) -> Text:
        line = self._line((column.title, HEAD) for column in self._columns)
        return line.append(f"  +{self._left_out} (--json)", DIM) if self._left_out else line

    def row(self, decoded: Decoded) -> Text:
        cells = self._cells(decoded)
        self._widths = self._grown(cells)
        return self._line((cell, column.style(cell)) for cell, column in zip(cells, self._columns, strict=True))

    def has_room_for(self, decoded: Decoded) -> bool:
        """False where the row is so wide that a column which is shown now would have to give way."""
        if self._room is None or all(column.is_indispensable for column in self._columns):
            return True
        return _total(self._grown(self._cells(decoded)), self._gap) <= self._room

    def _cells(self, decoded: Decoded) -> list[str]:
        texts = ((column.cell(decoded), column.is_number) for column in self._columns)
        return [text if is_number else shortened(text, self._widest_text) for text, is_number in texts]

    def _grown(self, cells: Iterable[str]) -> list[int]:
        return [max(width, cell_len(cell)) for width, cell in zip(self._widths, cells, strict=True)]

    def _line(self, cells: Iterable[tuple[str, str]]) -> Text:
        line = Text()
        for (text, style), column, width in zip(cells, self._columns, self._widths, strict=True):
            padding = " " * (width - cell_len(text))
            line.append(f"{padding}{text}" if column.is_number else f"{text}{padding}", style)
            line.append(" " * self._gap)
        line.rstrip()
        return line


class Table:
    """Turns batches into lines: with a header wherever the columns begin or change, and the date wherever that changes."""

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._names: tuple[str, ...] = ()
        self._sheet: Sheet | None = None
        self._day: date | None = None

    def lines(self, batch: Sequence[Decoded]) -> Iterator[Text]:
        """The lines for the next records. Text in them is safe for a terminal."""
        for decoded in batch:
            sheet = None if decoded.fields is None else self._sheet_for(decoded, batch)
            if sheet is not None and sheet is not self._sheet:
                self._sheet = sheet
                yield sheet.head()
            yield from self._date(decoded)
            yield self._unreadable(decoded) if sheet is None else sheet.row(decoded)

    def _sheet_for(self, decoded: Decoded, batch: Sequence[Decoded]) -> Sheet:
        fields = decoded.fields or {}
        names = tuple(fields)
        if self._sheet is not None and names == self._names and self._sheet.has_room_for(decoded):
            return self._sheet
        self._names = names
        return Sheet(columns_for(fields), [row for row in batch if tuple(row.fields or ()) == names], self._width)

    def _date(self, decoded: Decoded) -> Iterator[Text]:
        moment = moment_of(decoded.record.timestamp_ms)
        if moment is not None and moment.date() != self._day:
            self._day = moment.date()
            yield Text(self._day.isoformat(), DIM)

    def _unreadable(self, decoded: Decoded) -> Text:
        start = f"{time_cell(decoded)}  {place_cell(decoded)}  {key_cell(decoded)}  "
        error = one_line(decoded.error)
        return Text.assemble(
            (start, DIM), (error if self._width is None else shortened(error, self._width - cell_len(start)), BAD)
        )


def shortened(line: str, width: int) -> str:
    """The line, or as much of it as `width` terminal cells hold."""
    return line if cell_len(line) <= width else f"{set_cell_size(line, max(0, width - 1)).rstrip()}…"


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _fitting(columns: Sequence[Column], widths: Sequence[int], gap: int, room: int | None) -> int:
    """How many of the columns there is room for; those that are indispensable come first."""
    least = sum(column.is_indispensable for column in columns)
    if room is None or _total(widths, gap) <= room:
        return len(columns)
    fitting = (count for count in range(len(columns), least, -1) if _total(widths[:count], gap) + LEFT_OUT_WIDTH <= room)
    return next(fitting, least)
