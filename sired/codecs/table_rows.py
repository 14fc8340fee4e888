"""The rows of CSV and TSV: their cells, their header line, and the numbers in them."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sire.errors import InvalidInput
from sire.protocol.content import TSV, Payload
from sire.spec import TensorSpec
from sired.codecs.numbers import exact_numbers
from sired.codecs.unicode import decode_text

# What Python's own float also accepts, such as 1_000, is not a number in a file.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
# Text of these characters only is converted by numpy, without a look at each cell.
_PLAIN = re.compile(r"[\d+\-.eE,;\t \r\n\"]*", re.ASCII)
_OF_FRACTIONS = ".eEnN"
# A name of a column; programs write these words for values that are missing, and for booleans.
_NAME = re.compile(r"\s*[^\W\d].*", re.DOTALL)
_NOT_NAMES = frozenset(
    {"na", "n/a", "n.a.", "nan", "null", "none", "nil", "missing", "unknown", "undefined"}
    | {"inf", "infinity", "true", "false", "err"}
)
# A hint where a first line could be either names or values.
WHICH = (
    "Specify which: --header yes or --header no (content type: text/csv; header=present or "
    "header=absent)."
)
_HEADER = {"present": True, "absent": False}


class TableRow(NamedTuple):
    """The cells of a row, and the number of its last line."""

    line: int
    cells: list[str]


class Table(NamedTuple):
    """A table as text.

    Attributes:
        name: CSV or TSV.
        rows: all of them, the header included.
        header: whether the first one is said to have names; None if it is not said.
        plain: whether every cell has only characters that numbers have.
        whole: whether no cell has a character that only numbers with fractions have.
    """

    name: str
    rows: list[TableRow]
    header: bool | None
    plain: bool
    whole: bool

    @property
    def first(self) -> list[str]:
        """The cells of the first row, without the spaces around them."""
        return [cell.strip() for cell in self.rows[0].cells]

    def body(self, *, header: bool) -> list[TableRow]:
        """The rows without the header.

        Raises:
            InvalidInput: there are none.
        """
        body = self.rows[1:] if header else self.rows
        if not body:
            raise InvalidInput(f"The {self.name} input has no row of values.")
        return body


def read_table(payload: Payload) -> Table:
    """Read the rows of a CSV or TSV payload.

    Raises:
        InvalidInput: it is not text, not CSV, or has no row.
    """
    kind = payload.content_type
    name = "TSV" if kind.startswith(TSV) else "CSV"
    text = decode_text(payload.frames[0], f"The {name} input")
    rows = _rows(text, _delimiter(kind, text), name)
    if not rows:
        raise InvalidInput(f"The {name} input has no row of values.")
    plain = _PLAIN.fullmatch(text) is not None
    whole = not any(mark in text for mark in _OF_FRACTIONS)
    return Table(name, rows, _stated_header(kind), plain, whole)


def _delimiter(kind: str, text: str) -> str:
    """Tabs for TSV. In CSV a line without commas is divided by what else divides it."""
    if kind.startswith(TSV):
        return "\t"
    first = text.lstrip("\r\n").partition("\n")[0]
    return next((mark for mark in ",\t;" if mark in first), ",")


def _rows(text: str, delimiter: str, name: str) -> list[TableRow]:
    """The rows, each with the number of its last line; empty lines are not rows.

    Raises:
        InvalidInput: the text is not CSV, or a line is empty where a value may be missing.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[TableRow] = []
    empty = 0
    try:
        for cells in reader:
            if not cells or (len(cells) == 1 and cells[0].isspace()):
                empty = empty or (reader.line_num if rows else 0)
                continue
            rows.append(TableRow(reader.line_num, cells))
            if empty and len(cells) == 1:
                raise InvalidInput(
                    f"Line {empty} of the {name} input is empty, where a value is expected.",
                    hint="Delete the line, or write what it stands for: nan for a missing number, "
                    '"" for an empty text.',
                )
    except csv.Error as problem:
        raise InvalidInput(
            f"Line {reader.line_num} of the {name} input cannot be read: {problem}."
        ) from None
    return rows


def _stated_header(kind: str) -> bool | None:
    """Whether the content type says that the first line has names; None if it does not say."""
    for parameter in kind.split(";")[1:]:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "header":
            return _HEADER.get(value.strip().lower())
    return None


def has_header(table: Table) -> bool:
    """Whether the first row of a table of numbers has names.

    Raises:
        InvalidInput: it counts from 0, which is both how pandas names columns and a row of numbers.
    """
    if table.header is not None:
        return table.header
    first = table.first
    if len(table.rows) > 1 and first == [str(number) for number in range(len(first))]:
        raise InvalidInput(
            f"The first line of the {table.name} input, {','.join(first)[:40]}, could be the names "
            "that pandas gives to columns, or numbers.",
            hint=WHICH,
        )
    return are_names(first)


def are_names(cells: Sequence[str]) -> bool:
    """Whether the cells of a row can be names: different words, none that stands for a value."""
    distinct = len(set(cells)) == len(cells)
    return distinct and all(_NAME.fullmatch(c) and c.lower() not in _NOT_NAMES for c in cells)


def numbers_in(table: Table, rows: list[TableRow], spec: TensorSpec | None, column: int = 1) -> Any:
    """The cells as numbers: int64 or uint64 if all are whole, else float64.

    Args:
        table: that the rows belong to.
        rows: with equally many cells.
        spec: of the input that they are for; None if it is not known.
        column: of their first cell, for errors.

    Raises:
        InvalidInput: a cell is not a number, or the model's dtype cannot represent it.
    """
    name, cells = table.name, [row.cells for row in rows]
    if not (table.plain or all(is_number(cell) for row in cells for cell in row)):
        raise _not_numbers(rows, name, column)
    try:
        if table.whole or _all_whole(cells):
            return _whole_numbers(cells, spec, name)
        array = np.array(cells, np.float64)
        _check_range(array, rows, name, column)
        if not (np.abs(array) >= 1 << 53).any():
            return array
        numbers = [[int(c) if _WHOLE.fullmatch(c) else float(c) for c in row] for row in cells]
    except ValueError:
        raise _not_numbers(rows, name, column) from None
    return exact_numbers(numbers, spec, f"the {name} input")


def _check_range(
    array: NDArray[np.float64], rows: list[TableRow], name: str, first_column: int
) -> None:
    """Reject numbers that became infinite because float64 does not reach them, such as 1e400."""
    for row, column in np.argwhere(np.isinf(array)):
        line, cells = rows[row]
        if any(character.isdigit() for character in cells[column]):
            raise InvalidInput(
                f"Line {line}, column {column + first_column} of the {name} input is a number "
                f"beyond ±1.8e+308, the largest float64: {cells[column][:40]!r}."
            )


def _all_whole(cells: list[list[str]]) -> bool:
    return all(_WHOLE.fullmatch(cell) for row in cells for cell in row)


def _whole_numbers(cells: list[list[str]], spec: TensorSpec | None, name: str) -> Any:
    try:
        return np.array(cells, np.int64)
    except OverflowError:
        numbers = [[int(cell) for cell in row] for row in cells]
        return exact_numbers(numbers, spec, f"the {name} input")


def check_widths(rows: list[TableRow], name: str) -> None:
    """Ensure that each row has as many cells as the first.

    Raises:
        InvalidInput: one has not.
    """
    width = len(rows[0].cells)
    for line, row in rows:
        if len(row) != width:
            raise InvalidInput(
                f"Line {line} of the {name} input has {len(row)} columns, not {width}."
            )


def _not_numbers(rows: list[TableRow], name: str, first_column: int) -> InvalidInput:
    """The error for the first cell that is not a number."""
    for line, row in rows:
        for column, cell in enumerate(row, first_column):
            if not is_number(cell):
                return InvalidInput(
                    f"Line {line}, column {column} of the {name} input is not a number: "
                    f"{cell[:40]!r}.",
                    hint=_hint(cell, header=line == rows[0].line and not any(map(is_number, row))),
                )
    return InvalidInput(f"The {name} input is not a table of numbers.")


def _hint(cell: str, *, header: bool) -> str:
    if not cell.strip():
        return "Missing values are written as nan, if the model takes them."
    if "," in cell or ";" in cell or "\t" in cell:
        return "Columns are divided by commas, tabs or semicolons, and decimals by a point."
    return "If the line has the names of columns: --header yes" if header else ""


def is_number(cell: str) -> bool:
    """Whether a cell is a number as files have them."""
    return bool(_NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell))
