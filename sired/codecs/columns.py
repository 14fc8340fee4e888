"""Tables of texts, and tables with a column for each input of a model.

1. Where a model requires several inputs, each of them has one value in each row. The header names
   them; without one, the columns are the inputs in order.
2. A first line is the header if it has names of inputs only, and of all that are required. It is
   not if it has a number where the model takes numbers. A first line of a table that has texts only
   could be either: it has to be said.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sire.errors import InvalidInput, shown
from sire.nearest import did_you_mean
from sire.spec import Signature, TensorSpec
from sire.tensors import ANYTHING, DTYPES, ONLY_TORCH, TEXT_DTYPES
from sired.codecs.check import describe
from sired.codecs.table_rows import (
    WHICH,
    Table,
    TableRow,
    are_names,
    check_widths,
    is_number,
    numbers_in,
)

Array = np.ndarray[Any, Any]


def takes_texts(spec: TensorSpec) -> bool:
    """Whether an input takes texts, one or several in each row."""
    return spec.dtype in TEXT_DTYPES or (spec.dtype == ANYTHING and spec.shape == (-1,))


def _takes_numbers(spec: TensorSpec) -> bool:
    return spec.dtype in DTYPES or spec.dtype.startswith(ONLY_TORCH)


def has_column_for_each(table: Table, signature: Signature) -> bool:
    """Whether the columns of a table are inputs of a model."""
    if len(signature.required()) > 1:
        return True
    names_them = table.header is not False and _names_inputs(table.first, signature)
    return len(signature.inputs) > 1 and len(table.first) > 1 and names_them


def texts_of(table: Table, spec: TensorSpec) -> Array:
    """A table of texts as [rows, columns], or with the one axis that the input has.

    Raises:
        InvalidInput: rows differ in length, or the first one could be either names or texts.
    """
    header = table.header
    if header is None:
        header = table.first == [spec.name]
        if not header and len(table.rows) > 1 and are_names(table.first):
            raise _unclear(table)
    rows = table.body(header=header)
    check_widths(rows, table.name)
    found: Array = in_shape(np.array([row.cells for row in rows], object), spec)
    return found


def columns_of(table: Table, signature: Signature) -> dict[str, Any]:
    """The columns of a table by the names of the inputs that they are for.

    Raises:
        InvalidInput: columns are missing, or not inputs of the model; a cell is not a number where
            the model takes numbers; or the first row could be either names or texts.
    """
    header = _has_header(table, signature)
    specs = _named(table, signature) if header else _in_order(table, signature)
    rows = table.body(header=header)
    check_widths(rows, table.name)
    return {spec.name: _column(table, rows, place, spec) for place, spec in enumerate(specs)}


def in_shape(array: Array, spec: TensorSpec | None) -> Array:
    """The table with one axis, or none, if the model takes that and the table is that small."""
    if spec is None or not (_takes_numbers(spec) or takes_texts(spec)):
        return array
    if len(spec.shape) == 1 and 1 in array.shape:
        return array.ravel()
    one: Array = array[0, 0] if not spec.shape and array.size == 1 else array
    return one


def _names_inputs(cells: Sequence[str], signature: Signature) -> bool:
    """Whether cells are names of inputs, with those of all that are required."""
    known = {spec.name for spec in signature.inputs}
    needed = {spec.name for spec in signature.inputs if spec.required}
    return len(set(cells)) == len(cells) and known >= set(cells) >= needed


def _has_header(table: Table, signature: Signature) -> bool:
    if table.header is not None:
        return table.header
    first = table.first
    if _names_inputs(first, signature):
        return True
    specs = signature.in_order(len(first))
    numeric = [cell for cell, spec in zip(first, specs, strict=False) if _takes_numbers(spec)]
    if not specs or numeric:
        return are_names(first) and not any(map(is_number, numeric))
    if len(table.rows) > 1 and are_names(first):
        raise _unclear(table)
    return False


def _unclear(table: Table) -> InvalidInput:
    return InvalidInput(
        f"The first line of the {table.name} input, {shown(','.join(table.first)[:40])}, could be "
        "names of columns, or texts.",
        hint=WHICH,
    )


def _named(table: Table, signature: Signature) -> list[TensorSpec]:
    """The inputs that the header names."""
    known, names = {spec.name: spec for spec in signature.inputs}, table.first
    takes = ", ".join(f"{spec.name} {describe(spec.dtype, spec.shape)}" for spec in known.values())
    if (unknown := next((name for name in names if name not in known), None)) is not None:
        raise InvalidInput(
            f"The {table.name} input has a column {shown(unknown)}, which is not an input of the "
            f"model; it takes {takes}.",
            hint=f"{did_you_mean(unknown, known)}If the first line has values: --header no",
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput(f"The {table.name} input has the column {twice} more than once.")
    missing = [spec.name for spec in known.values() if spec.required and spec.name not in names]
    if missing:
        raise InvalidInput(
            f"The {table.name} input has no column {' and no '.join(missing)}; the model takes "
            f"{takes}."
        )
    return [known[name] for name in names]


def _in_order(table: Table, signature: Signature) -> tuple[TensorSpec, ...]:
    count = len(table.first)
    if specs := signature.in_order(count):
        return specs
    names = ", ".join(spec.name for spec in signature.inputs)
    raise InvalidInput(
        f"The {table.name} input has {count} column{'s' if count > 1 else ''}; the model takes "
        f"{len(signature.required())} inputs, a column each: {names}.",
        hint="Name the columns in the first line.",
    )


def _column(table: Table, rows: list[TableRow], place: int, spec: TensorSpec) -> Any:
    """One column, in the axes of its input."""
    cells = [TableRow(row.line, [row.cells[place]]) for row in rows]
    if takes_texts(spec):
        column = np.array([row.cells for row in cells], object)
    elif _takes_numbers(spec):
        column = numbers_in(table, cells, spec, place + 1)
    else:
        column = None
    if column is None or (len(spec.shape) > 1 and spec.shape[1:] not in {(1,), (-1,)}):
        raise InvalidInput(
            f"A column of {table.name} has one value in each row; the input {spec.name} is "
            f"{describe(spec.dtype, spec.shape)}.",
            hint="Send json or npz, or each input as a file: -i NAME=FILE",
        )
    return column if len(spec.shape) == 2 else in_shape(column.ravel()[:, np.newaxis], spec)
