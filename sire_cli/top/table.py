"""Tables as lines of text that fit a given width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

# From this width on, columns are separated by two spaces, below by one.
WIDE = 100

# A cell that is drawn to the available width, such as a bar.
Drawn = Callable[[int], Text]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        rank: columns of the highest rank are dropped first if the table is too wide; those of
            rank 0 are never dropped.
        width: minimal width in cells, so that changing figures do not move the columns.
        flexible: gets the remaining width, even if its cells need more. Of several flexible
            columns, each gets what its cells need and the last one the rest.
    """

    title: str
    rank: int = 0
    width: int = 0
    right: bool = True
    flexible: bool = False


Row = Sequence[Text | Drawn]


def lay_out(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Text]:
    """A heading and one line per row, none wider than ``width``."""
    widths = [_required_width(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    gap = 2 if width >= WIDE else 1
    shown = _shown(columns, widths, width, gap)
    _stretch(columns, rows, shown, widths, width - _total(shown, widths, gap))
    heading = [Text(column.title, "bold dim") for column in columns]
    return [
        _join([_cell(columns[i], row[i], widths[i]) for i in shown], gap)
        for row in [heading, *rows]
    ]


def _required_width(column: Column, cells: Sequence[Text | Drawn]) -> int:
    natural = [cell.cell_len for cell in cells if isinstance(cell, Text) and not column.flexible]
    return max(column.width, len(column.title), *natural)


def _stretch(
    columns: Sequence[Column],
    rows: Sequence[Row],
    shown: Sequence[int],
    widths: list[int],
    left: int,
) -> None:
    """Distribute surplus width to the flexible columns, or take missing width from them."""
    flexible = [i for i in shown if columns[i].flexible]
    for i in flexible:
        cells = [row[i] for row in rows]
        required = max((cell.cell_len for cell in cells if isinstance(cell, Text)), default=0)
        more = left if i == flexible[-1] or left < 0 else min(left, max(0, required - widths[i]))
        widths[i] = max(1, widths[i] + more)
        left -= more


def _total(shown: Sequence[int], widths: Sequence[int], gap: int) -> int:
    return sum(widths[i] for i in shown) + gap * (len(shown) - 1)


def _shown(columns: Sequence[Column], widths: Sequence[int], width: int, gap: int) -> list[int]:
    shown = list(range(len(columns)))
    while _total(shown, widths, gap) > width:
        # Of equal ranks the rightmost is dropped; rank 0 is never dropped.
        last = max(shown, key=lambda i: (columns[i].rank, i))
        if columns[last].rank == 0:
            break
        shown.remove(last)
    return shown


def _cell(column: Column, cell: Text | Drawn, width: int) -> Text:
    text = cell.copy() if isinstance(cell, Text) else cell(width)
    text.truncate(width, overflow="ellipsis")
    text.pad_left(width - text.cell_len) if column.right else text.pad_right(width - text.cell_len)
    return text


def _join(cells: Sequence[Text], gap: int) -> Text:
    line = Text(" " * gap).join(cells)
    line.rstrip()
    return line
