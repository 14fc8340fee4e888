"""CSV: rows of numbers, with or without a header line."""

import csv
import io
from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import CSV, Payload
from sire.spec import ImageOptions, Signature
from sire.tensors import DTYPES, as_array, holds_text
from sired.codecs.floats import shortest
from sired.codecs.numbers import narrow
from sired.codecs.sizes import count

_AXES = 2
# Bytes of a short string in Python, including the pointer to it.
_CELL = 64


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Decode rows of numbers as [rows, columns]; a header line is skipped.

    Returns:
        int64 if the model takes integers and all numbers are, float64 for other models, float32
        without a signature.

    Raises:
        InvalidInput: the text is not UTF-8, or not a table of numbers.
    """
    try:
        text = bytes(payload.frames[0]).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InvalidInput(f"The CSV input is not UTF-8: {problem}.") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    try:
        cells = list(csv.reader(line for _, line in lines))
    except csv.Error as problem:
        raise InvalidInput(f"The input cannot be read as CSV: {problem}.") from None
    rows = [(number, row) for (number, _), row in zip(lines, cells, strict=False)]
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise InvalidInput("The CSV input has no row of numbers.")
    return _parse(rows, signature)


def decoded_bytes(payload: Payload) -> int:
    """Bytes of the strings of all cells."""
    return _CELL * count(payload, b",\n")


def _parse(rows: list[tuple[int, list[str]]], signature: Signature) -> Any:
    cells = [row for _, row in rows]
    wanted = DTYPES.get(signature.inputs[0].dtype) if signature.inputs else None
    if wanted is not None and wanted.kind in "iu":
        try:
            return np.array(cells, np.int64)
        except (ValueError, OverflowError):
            pass  # 3.0 is an integer too, which the signature's check accepts
    try:
        array = np.array(cells, np.float64)
    except ValueError:
        raise _not_a_table(rows) from None
    return array if signature.inputs else narrow(array, np.dtype(np.float32), "The CSV input")


def _not_a_table(rows: list[tuple[int, list[str]]]) -> InvalidInput:
    """The error for the first row of another length, or the first cell that is not a number."""
    width = len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            return InvalidInput(
                f"Line {line} of the CSV input has {len(row)} columns, not {width}."
            )
        for column, cell in enumerate(row, 1):
            if not _is_number(cell):
                return InvalidInput(
                    f"Line {line}, column {column} of the CSV input is not a number: {cell[:40]!r}."
                )
    return InvalidInput("The CSV input is not a table of numbers.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Encode an array with one or two axes, or columns by name, as CSV.

    Raises:
        InvalidInput: the output is not a table.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
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
    return Payload(CSV, (text.getvalue().encode(errors="replace"),))


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
