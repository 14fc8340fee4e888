"""Converts plain Python numbers, as JSON and Python clients send them, to arrays."""

from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.spec import Signature
from sire.tensors import DEEPEST

Array = np.ndarray[Any, Any]
_WHOLE = (str, bytes, type(None), np.ndarray, np.generic)


def to_arrays(value: Any, signature: Signature, where: str, depth: int = DEEPEST) -> Any:
    """Convert lists of numbers, at any depth of the data, to arrays.

    Args:
        value: plain data; arrays in it are kept.
        signature: of the model. Without inputs, floats become float32, in which models compute.
            Otherwise they stay float64 until they are checked against it.
        where: name of the data in errors.
        depth: number of nesting levels that are still allowed.

    Raises:
        InvalidInput: a list of numbers has rows of different lengths, or other items; or the data
            is nested too deeply.
    """
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {DEEPEST} levels.")
    if isinstance(value, int | float) or (isinstance(value, list) and _holds_numbers(value)):
        return _array(value, signature, where)
    if isinstance(value, dict):
        return {
            key: to_arrays(item, signature, f"{where}[{key!r}]", depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = (
            to_arrays(item, signature, f"{where}[{number}]", depth - 1)
            for number, item in enumerate(value)
        )
        return tuple(items) if isinstance(value, tuple) else list(items)
    if not isinstance(value, _WHOLE):
        raise InvalidInput(f"{where} is a {type(value).__name__}, which models cannot take.")
    return value


def narrow(array: Array, dtype: "np.dtype[Any]", what: str) -> Array:
    """Convert numbers to a floating point dtype; digits may be lost, but overflow is an error.

    Raises:
        InvalidInput: a number exceeds the dtype's range; ``what`` begins the message.
    """
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        largest = np.finfo(dtype).max
        raise InvalidInput(
            f"{what} has a number beyond ±{largest:.3g}, the largest {dtype.name}."
        ) from None


def _holds_numbers(value: list[Any]) -> bool:
    first: Any = value
    while isinstance(first, list) and first:
        first = first[0]
    return isinstance(first, int | float | list)  # a list that is still here is empty


def _array(value: Any, signature: Signature, where: str) -> Array:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise InvalidInput(f"In {where} the rows are not equally long: {_ragged(value)}.") from None
    if array.dtype.kind not in "biuf":
        place, item = _first_non_number(value, where)
        raise InvalidInput(f"In {where} not every item is a number: {place} is {item}.")
    if array.dtype == np.float64 and not signature.inputs:
        return narrow(array, np.dtype(np.float32), where[:1].upper() + where[1:])
    return array


def _ragged(value: list[Any]) -> str:
    lengths = [len(row) if isinstance(row, list) else "a single value" for row in value]
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is None:
        return "deeper inside"
    return f"row 0 has {lengths[0]} items, row {odd} has {lengths[odd]}"


def _first_non_number(value: Any, where: str) -> tuple[str, str]:
    """The path of the first item that is not a number of 64 bits, and a description of it."""
    while isinstance(value, list):
        number = next(i for i, item in enumerate(value) if np.array(item).dtype.kind not in "biuf")
        value, where = value[number], f"{where}[{number}]"
    if value is None:
        return where, "null"
    return where, "a number too large" if isinstance(value, int) else repr(value)[:40]
