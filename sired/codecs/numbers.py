"""Plain Python numbers, as JSON and Python callers send them, to arrays."""

from typing import Any

import numpy as np

from sired.errors import InvalidInput


def to_arrays(value: Any, where: str) -> Any:
    """Make lists of numbers, wherever in the data they stand, the arrays that models take.

    Args:
        value: plain data; arrays in it stay as they are.
        where: what to call it in an error.

    Raises:
        InvalidInput: a list of numbers has rows of different lengths, or holds something else too.
    """
    if isinstance(value, dict):
        return {key: to_arrays(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(to_arrays(item, f"{where}[{number}]") for number, item in enumerate(value))
    if isinstance(value, list) and _holds_numbers(value):
        return _array(value, where)
    if isinstance(value, list):
        return [to_arrays(item, f"{where}[{number}]") for number, item in enumerate(value)]
    return np.asarray(value) if isinstance(value, int | float) else value


def _holds_numbers(value: list[Any]) -> bool:
    first: Any = value
    while isinstance(first, list) and first:
        first = first[0]
    return isinstance(first, int | float) or first == []


def _array(value: list[Any], where: str) -> Any:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise InvalidInput(f"In {where} the rows are not equally long: {_ragged(value)}.") from None
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"In {where} not every item is a number.")
    # Models compute in single precision unless their signature says otherwise.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _ragged(value: list[Any]) -> str:
    lengths = [len(row) if isinstance(row, list) else "a single value" for row in value]
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is None:
        return "deeper inside"
    return f"row 0 has {lengths[0]} items, row {odd} has {lengths[odd]}"
