"""CSV: rows of numbers, with or without a line of names above them."""

import csv
import io
from typing import Any

import numpy as np

from sired.errors import InvalidInput
from sired.protocol.content import CSV, Payload
from sired.spec import ImageOptions, Signature
from sired.tensors import as_array

_AXES = 2


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read rows of numbers as float32[rows, columns]; a first line of words is passed over."""
    try:
        text = bytes(payload.frames[0]).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InvalidInput(f"The CSV input is not UTF-8: {problem}.") from None
    lines = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text)), 1) if row]
    if lines and not any(_is_number(cell) for cell in lines[0][1]):
        lines = lines[1:]
    if not lines:
        raise InvalidInput("The CSV input is empty.")
    width = len(lines[0][1])
    return np.array([_numbers(row, number, width) for number, row in lines], np.float32)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(row: list[str], line: int, width: int) -> list[float]:
    if len(row) != width:
        raise InvalidInput(f"Line {line} of the CSV input has {len(row)} columns, not {width}.")
    for column, cell in enumerate(row, 1):
        if not _is_number(cell):
            raise InvalidInput(
                f"Line {line}, column {column} of the CSV input is no number: {cell!r}."
            )
    return [float(cell) for cell in row]


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Write an array of one or two axes, or columns by name, as CSV."""
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
    return Payload(CSV, (text.getvalue().encode(),))


def _array(value: Any) -> Any:
    array = as_array(value)
    if array is None and isinstance(value, int | float | str | list):
        array = np.asarray(value)
    if array is None or array.dtype.kind == "O":
        raise _unfit()
    return array


def _unfit() -> InvalidInput:
    return InvalidInput(
        "The answer is not a table: CSV holds one or two axes, or columns of equal length.",
        hint="Ask for json or npz: --to json",
    )
