"""CSV and TSV: rows of numbers or texts, with or without a header line."""

import csv
import io
from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import TSV, Payload
from sire.spec import Signature
from sire.tensors import as_array, holds_text
from sired.codecs.columns import (
    columns_of,
    has_column_for_each,
    in_shape,
    takes_texts,
    texts_of,
)
from sired.codecs.floats import shortest
from sired.codecs.media import Media
from sired.codecs.sizes import count
from sired.codecs.table_rows import check_widths, has_header, numbers_in, read_table

_AXES = 2
# Bytes of a short string in Python, including the pointer to it.
_CELL = 64


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode rows of numbers as [rows, columns], or of texts for a model that takes texts.

    The content type's parameter ``header`` (present or absent, as RFC 4180 has it) states whether
    the first line has names. Without it a first line is skipped if it can only be names: different
    words that no program writes for a missing value. ``columns`` describes tables of texts, and
    those with a column for each input.

    Returns:
        int64, or uint64, if all numbers are whole, else float64. A single row or column of a model
        whose input has one axis has one axis.

    Raises:
        InvalidInput: the text is not a table of numbers, or its first line could be either names
            or values.
    """
    table = read_table(payload)
    if has_column_for_each(table, signature):
        return columns_of(table, signature)
    required = signature.required()
    spec = required[0] if len(required) == 1 else None
    if spec is not None and takes_texts(spec):
        return texts_of(table, spec)
    body = table.body(header=has_header(table))
    check_widths(body, table.name)
    return in_shape(numbers_in(table, body, spec), spec)


def decoded_bytes(payload: Payload) -> int:
    """Bytes of the strings of all cells."""
    return _CELL * count(payload, b",;\t\n")


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
