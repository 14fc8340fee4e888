"""Results on stdout, as JSON or for people; messages on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import typer

from sire.printable import printable, printable_json, printable_line
from sire.protocol.message import Message

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, with sizes in bytes and times in seconds.")
]

# Fields that only the protocol uses.
_ENVELOPE = ("id", "v")
_NOTHING = "-"
_GAP = 2
# Characters that a cut column must have room for; with less it is omitted.
_NARROWEST = 8


def print_message(text: str) -> None:
    """Print a message for people on stderr."""
    sys.stderr.write(f"{printable(text)}\n")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, including fields that have their defaults."""
    sys.stdout.write(as_json(value))


def as_json(value: Any) -> str:
    """A value as one line of JSON with its line end, including fields that have their defaults."""
    return printable_json(msgspec.json.encode(plain(value)).decode()) + "\n"


def plain(value: Any) -> Any:
    """Convert structs to dicts with all of their fields."""
    if isinstance(value, msgspec.Struct):
        hidden = _ENVELOPE if isinstance(value, Message) else ()
        names = [name for name in value.__struct_fields__ if name not in hidden]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """Print a table; a column whose heading ends in ">" is aligned right."""
    cells = [[printable_line(cell) if cell else _NOTHING for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
    else:
        _print_plain(columns, cells)


def print_pairs(pairs: Iterable[tuple[str, str | None]]) -> None:
    """Print names and values, one pair per line; pairs with the value None are omitted."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        sys.stdout.write(f"{name:<{width}}  {printable(value)}\n")


def _print_plain(columns: Sequence[str], rows: list[list[str]]) -> None:
    titles = [column.rstrip(">") for column in columns]
    widths = _widths(columns, rows)
    for row in [titles, *rows]:
        line = (
            cell.rjust(width) if column.endswith(">") else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        sys.stdout.write("  ".join(line).rstrip() + "\n")


def _print_rich(columns: Sequence[str], rows: list[list[str]]) -> None:
    # Imported here, because the import takes longer than most commands run.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(markup=False, highlight=False)
    widths = _fitting(_widths(columns, rows), console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=False):
        table.add_column(
            column.rstrip(">"),
            justify="right" if column.endswith(">") else "left",
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*row[: len(widths)])
    console.print(table)


def _widths(columns: Sequence[str], rows: list[list[str]]) -> list[int]:
    titles = [column.rstrip(">") for column in columns]
    return [max(map(len, column)) for column in zip(titles, *rows, strict=True)]


def _fitting(widths: list[int], room: int) -> list[int]:
    """Cut or drop columns on the right, so that each row stays on one line."""
    fitting: list[int] = []
    for width in widths:
        if room < min(width, _NARROWEST):
            break
        fitting.append(min(width, room))
        room -= width + _GAP
    return fitting
