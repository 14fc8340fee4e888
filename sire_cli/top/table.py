"""Aligned columns as lines of text that fit a given width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

# From so many cells on columns stand two blanks apart, below one.
WIDE = 100

# A cell that is drawn to whatever width is left, such as a bar.
Drawn = Callable[[int], Text]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        rank: columns of the highest rank are the first to go when the width does not suffice.
        width: at least so many cells wide, so that changing figures do not move the columns.
        flexible: takes the width that is left over, were it less than its cells would like; of
            several each what its cells need, and the last the rest.
    """

    title: str
    rank: int = 0
    width: int = 0
    right: bool = True
    flexible: bool = False


Row = Sequence[Text | Drawn]


def lay_out(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Text]:
    """A heading and one line a row, none wider than ``width``."""
    widths = [_needed(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    gap = 2 if width >= WIDE else 1
    kept = _kept(columns, widths, width, gap)
    _stretch(columns, rows, kept, widths, width - _total(kept, widths, gap))
    heading = [Text(column.title, "bold dim") for column in columns]
    return [
        _join([_cell(columns[i], row[i], widths[i]) for i in kept], gap) for row in [heading, *rows]
    ]


def _needed(column: Column, cells: Sequence[Text | Drawn]) -> int:
    natural = [cell.cell_len for cell in cells if isinstance(cell, Text) and not column.flexible]
    return max(column.width, len(column.title), *natural)


def _stretch(
    columns: Sequence[Column],
    rows: Sequence[Row],
    kept: Sequence[int],
    widths: list[int],
    left: int,
) -> None:
    """Give the cells that are left over to flexible columns, or take those that lack."""
    flexible = [i for i in kept if columns[i].flexible]
    for i in flexible:
        cells = [row[i] for row in rows]
        wanted = max((cell.cell_len for cell in cells if isinstance(cell, Text)), default=0)
        more = left if i == flexible[-1] or left < 0 else min(left, max(0, wanted - widths[i]))
        widths[i] = max(1, widths[i] + more)
        left -= more


def _total(kept: Sequence[int], widths: Sequence[int], gap: int) -> int:
    return sum(widths[i] for i in kept) + gap * (len(kept) - 1)


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int, gap: int) -> list[int]:
    kept = list(range(len(columns)))
    while _total(kept, widths, gap) > width:
        # Of equals the rightmost goes, and what has rank 0 always stays.
        last = max(kept, key=lambda i: (columns[i].rank, i))
        if columns[last].rank == 0:
            break
        kept.remove(last)
    return kept


def _cell(column: Column, cell: Text | Drawn, width: int) -> Text:
    text = cell.copy() if isinstance(cell, Text) else cell(width)
    text.truncate(width, overflow="ellipsis")
    text.pad_left(width - text.cell_len) if column.right else text.pad_right(width - text.cell_len)
    return text


def _join(cells: Sequence[Text], gap: int) -> Text:
    line = Text(" " * gap).join(cells)
    line.rstrip()
    return line
