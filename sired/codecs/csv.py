"""CSV and TSV: rows of numbers, with or without a header line."""

import csv
import io
import re
from typing import Any, NamedTuple

import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import TSV, Payload
from sire.spec import Signature, TensorSpec
from sire.tensors import DTYPES, as_array, holds_text
from sired.codecs.floats import shortest
from sired.codecs.media import Media
from sired.codecs.numbers import exact_numbers
from sired.codecs.sizes import count
from sired.codecs.unicode import decode_text

_AXES = 2
# Bytes of a short string in Python, including the pointer to it.
_CELL = 64
# What Python's own float also accepts, such as 1_000, is not a number in a file.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
# Text of these characters only is converted by numpy, without a look at each cell.
_PLAIN = re.compile(r"[\d+\-.eE,;\t \r\n\"]*", re.ASCII)
# A name of a column; programs write these words for values that are missing, and for booleans.
_NAME = re.compile(r"\s*[^\W\d].*", re.DOTALL)
_NOT_NAMES = frozenset(
    {"na", "n/a", "n.a.", "nan", "null", "none", "nil", "missing", "unknown", "undefined"}
    | {"inf", "infinity", "true", "false", "err"}
)
_HEADER = {"present": True, "absent": False}


class _Row(NamedTuple):
    line: int
    cells: list[str]


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode rows of numbers as [rows, columns].

    The content type's parameter ``header`` (present or absent, as RFC 4180 has it) states whether
    the first line has names. Without it a first line is skipped if it can only be names: different
    words that no program writes for a missing value.

    Returns:
        int64, or uint64, if all numbers are whole, else float64. A single row or column of a model
        whose input has one axis has one axis.

    Raises:
        InvalidInput: the text is not a table of numbers, or its first line could be either names
            or numbers.
    """
    kind = payload.content_type
    name = "TSV" if kind.startswith(TSV) else "CSV"
    text = decode_text(payload.frames[0], f"The {name} input")
    rows = _rows(text, _delimiter(kind, text), name)
    body = rows[1:] if rows and _has_header(rows, _stated_header(kind), name) else rows
    if not body:
        raise InvalidInput(f"The {name} input has no row of numbers.")
    required = signature.required()
    spec = required[0] if len(required) == 1 else None
    return _in_shape(_parse(text, body, spec, name), spec)


def decoded_bytes(payload: Payload) -> int:
    """Bytes of the strings of all cells."""
    return _CELL * count(payload, b",;\t\n")


def _delimiter(kind: str, text: str) -> str:
    """Tabs for TSV. In CSV a line without commas is divided by what else divides it."""
    if kind.startswith(TSV):
        return "\t"
    first = text.lstrip("\r\n").partition("\n")[0]
    return next((mark for mark in ",\t;" if mark in first), ",")


def _rows(text: str, delimiter: str, name: str) -> list[_Row]:
    """The rows, each with the number of its last line; empty lines are not rows.

    Raises:
        InvalidInput: the text is not CSV, or a line is empty where a number may be missing.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[_Row] = []
    empty = 0
    try:
        for cells in reader:
            if not cells or (len(cells) == 1 and cells[0].isspace()):
                empty = empty or (reader.line_num if rows else 0)
                continue
            rows.append(_Row(reader.line_num, cells))
            if empty and len(cells) == 1:
                raise InvalidInput(
                    f"Line {empty} of the {name} input is empty, where a number is expected.",
                    hint="Delete the line, or write nan, if the model takes missing values.",
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


def _has_header(rows: list[_Row], stated: bool | None, name: str) -> bool:
    """Whether the first row has names.

    Raises:
        InvalidInput: it counts from 0, which is both how pandas names columns and a row of numbers.
    """
    if stated is not None:
        return stated
    first = [cell.strip() for cell in rows[0].cells]
    if len(rows) > 1 and first == [str(number) for number in range(len(first))]:
        raise InvalidInput(
            f"The first line of the {name} input, {','.join(first)[:40]}, could be the names that "
            "pandas gives to columns, or numbers.",
            hint="Specify which: --header yes or --header no (content type: text/csv; "
            "header=present or header=absent).",
        )
    distinct = len(set(first)) == len(first)
    return distinct and all(_NAME.fullmatch(c) and c.lower() not in _NOT_NAMES for c in first)


def _parse(text: str, rows: list[_Row], spec: TensorSpec | None, name: str) -> Any:
    """The cells as numbers: int64 or uint64 if all are whole, else float64."""
    cells = [row.cells for row in rows]
    width = len(cells[0])
    plain = _PLAIN.fullmatch(text) or all(_is_number(cell) for row in cells for cell in row)
    if not plain or any(len(row) != width for row in cells):
        raise _not_a_table(rows, name)
    try:
        if not any(mark in text for mark in ".eEnN") or _all_whole(cells):
            return _whole_numbers(cells, spec, name)
        array = np.array(cells, np.float64)
        if not (np.abs(array) >= 1 << 53).any():
            return array
        numbers = [[int(c) if _WHOLE.fullmatch(c) else float(c) for c in row] for row in cells]
    except ValueError:
        raise _not_a_table(rows, name) from None
    return exact_numbers(numbers, spec, f"the {name} input")


def _all_whole(cells: list[list[str]]) -> bool:
    return all(_WHOLE.fullmatch(cell) for row in cells for cell in row)


def _whole_numbers(cells: list[list[str]], spec: TensorSpec | None, name: str) -> Any:
    try:
        return np.array(cells, np.int64)
    except OverflowError:
        numbers = [[int(cell) for cell in row] for row in cells]
        return exact_numbers(numbers, spec, f"the {name} input")


def _in_shape(array: Any, spec: TensorSpec | None) -> Any:
    """The table with one axis, or none, if the model takes that and the table is that small."""
    if spec is None or spec.dtype not in DTYPES:
        return array
    if len(spec.shape) == 1 and 1 in array.shape:
        return array.ravel()
    return array[0, 0] if not spec.shape and array.size == 1 else array


def _not_a_table(rows: list[_Row], name: str) -> InvalidInput:
    """The error for the first row of another length, or the first cell that is not a number."""
    width = len(rows[0].cells)
    for line, row in rows:
        if len(row) != width:
            return InvalidInput(
                f"Line {line} of the {name} input has {len(row)} columns, not {width}."
            )
        for column, cell in enumerate(row, 1):
            if not _is_number(cell):
                return InvalidInput(
                    f"Line {line}, column {column} of the {name} input is not a number: "
                    f"{cell[:40]!r}.",
                    hint=_hint(cell, header=line == rows[0].line and not any(map(_is_number, row))),
                )
    return InvalidInput(f"The {name} input is not a table of numbers.")


def _hint(cell: str, *, header: bool) -> str:
    if not cell.strip():
        return "Missing values are written as nan, if the model takes them."
    if "," in cell or ";" in cell or "\t" in cell:
        return "Columns are divided by commas, tabs or semicolons, and decimals by a point."
    return "If the line has the names of columns: --header yes" if header else ""


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell))


def encode(value: Any, accept: str) -> Payload:
    """Encode an array with one or two axes, or columns by name, as CSV or TSV.

    Raises:
        InvalidInput: the output is not a table.
    """
    text = io.StringIO()
    delimiter = "\t" if accept == TSV else ","
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if isinstance(value, dict):
        columns = [np.atleast_1d(_array(item)) for item in value.values()]
        if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
            raise _unfit()
        writer.writerow(value)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    else:
        array = np.atleast_1d(_array(value))
        if array.ndim > _AXES:
            raise _unfit()
        writer.writerows(array.tolist() if array.ndim == _AXES else [[x] for x in array.tolist()])
    return Payload(accept, (text.getvalue().encode(errors="replace"),))


def _array(value: Any) -> Any:
    array = as_array(value)
    if array is None and isinstance(value, int | float | str | list):
        try:
            array = np.asarray(value)
        except ValueError:
            raise _unfit() from None
    if array is None or not (array.dtype.kind in "biuf" or holds_text(array)):
        raise _unfit()
    return shortest(array) if array.dtype.kind == "f" else array


def _unfit() -> InvalidInput:
    return InvalidInput(
        "The output is not a table: CSV has one or two axes, or columns of equal length.",
        hint="Request json or npz: --to json",
    )
