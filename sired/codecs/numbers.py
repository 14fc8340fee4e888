"""Converts plain Python numbers, as JSON and Python clients send them, to arrays.

Numbers keep their value: whole numbers become int64, or uint64 if they need it, and others float64.
Whole numbers that float64 would round beside a fraction are rejected, unless the model takes floats
there.
"""

from itertools import zip_longest
from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.spec import SEQUENCE, Signature, TensorSpec
from sire.tensors import DEEPEST, DTYPES, item_of

Array = np.ndarray[Any, Any]
_WHOLE = (str, bytes, type(None), np.ndarray, np.generic)
# The largest number up to which float64 represents every whole number.
_EXACT = 1 << 53
_INT64, _UINT64 = np.iinfo(np.int64), np.iinfo(np.uint64)


def to_arrays(value: Any, signature: Signature, where: str) -> Any:
    """Convert lists of numbers, at any depth of the data, to arrays.

    Args:
        value: plain data; arrays in it are kept.
        signature: of the model. A list of as many items as it has inputs, if these are several,
            has one item for each of them.
        where: name of the data in errors.

    Raises:
        InvalidInput: a list of numbers has rows of different lengths, other items, or numbers
            that no dtype of 64 bits holds; or the data is nested too deeply.
    """
    if isinstance(value, dict):
        specs = {spec.name: spec for spec in signature.inputs}
        return {
            key: _convert(item, specs.get(key), f"{where}[{key!r}]", DEEPEST - 1)
            for key, item in value.items()
        }
    required = signature.required()
    if isinstance(value, list | tuple) and len(required) > 1:
        in_order = signature.in_order(len(value))
        items = [
            _convert(item, spec, f"{where}[{number}]", DEEPEST - 1)
            for number, (item, spec) in enumerate(zip_longest(value, in_order))
        ]
        return tuple(items) if isinstance(value, tuple) else items
    return _convert(value, required[0] if len(required) == 1 else None, where, DEEPEST)


def _convert(value: Any, spec: TensorSpec | None, where: str, depth: int) -> Any:
    """Convert the data of one input, or of a part of it; the spec is None if it is not known."""
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {DEEPEST} levels.")
    if spec is not None and isinstance(value, list) and spec.dtype.startswith(SEQUENCE):
        return [
            _convert(item, item_of(spec), f"{where}[{number}]", depth - 1)
            for number, item in enumerate(value)
        ]
    if isinstance(value, int | float) or (isinstance(value, list) and _holds_numbers(value)):
        return _array(value, spec, where)
    if isinstance(value, dict):
        return {
            key: _convert(item, spec, f"{where}[{key!r}]", depth - 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [
            _convert(item, spec, f"{where}[{number}]", depth - 1)
            for number, item in enumerate(value)
        ]
        return tuple(items) if isinstance(value, tuple) else items
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


def _array(value: Any, spec: TensorSpec | None, where: str) -> Array:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise InvalidInput(f"In {where} the rows are not equally long: {_ragged(value)}.") from None
    # numpy makes floats of whole numbers beside others, and of some that exceed 63 bits.
    if array.dtype == np.float64 and (np.abs(array) >= _EXACT).any():
        return exact_numbers(value, spec, where)
    if array.dtype.kind not in "biuf":
        place, item = _first_non_number(value, where)
        if item is not None:
            raise InvalidInput(f"In {where} not every item is a number: {place} is {item}.")
        return exact_numbers(value, spec, where)
    return array


def exact_numbers(value: Any, spec: TensorSpec | None, where: str) -> Array:
    """Convert Python's numbers one by one to int64, uint64 or float64, none of them rounded.

    Args:
        value: an int or float, or nested lists of them with rows of equal length.
        spec: of the input; one of floats accepts rounded whole numbers. None if it is not known.
        where: name of the data in errors.

    Raises:
        InvalidInput: no dtype holds all of the numbers.
    """
    items = np.array(value, object)
    numbers = items.ravel().tolist()
    wanted = DTYPES.get(spec.dtype) if spec is not None else None
    if wanted is not None and wanted.kind in "fc":
        return _floats(items, where)
    if all(isinstance(n, int) or (wanted is not None and n.is_integer()) for n in numbers):
        return _integers(items, [int(n) for n in numbers], where)
    for number in numbers:
        if isinstance(number, int) and abs(number) > _EXACT and not _fits_float(number):
            raise InvalidInput(
                f"In {where}, {number} would lose digits beside fractions: float64 holds every "
                f"whole number only up to {_EXACT}.",
                hint="Send it as an input of its own, or as text; or declare the model's input, "
                "like --input 'float64[-1,4]'.",
            )
    return _floats(items, where)


def _fits_float(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _floats(items: Array, where: str) -> Array:
    try:
        return items.astype(np.float64)
    except OverflowError:
        raise InvalidInput(f"{_sentence(where)} has a number that exceeds float64.") from None


def _integers(items: Array, numbers: list[int], where: str) -> Array:
    low, high = min(numbers), max(numbers)
    for limits in (_INT64, _UINT64):
        if limits.min <= low and high <= limits.max:
            return np.array(numbers, limits.dtype).reshape(items.shape)
    if low < _INT64.min or high > _UINT64.max:
        number = low if low < _INT64.min else high
        raise InvalidInput(
            f"{_sentence(where)} has a whole number that exceeds 64 bits: {str(number)[:40]}."
        )
    raise InvalidInput(
        f"{_sentence(where)} has {low} and {high}, which no integer dtype holds together: int64 "
        f"ends at {_INT64.max}, and uint64 begins at 0."
    )


def _sentence(where: str) -> str:
    return where[:1].upper() + where[1:]


def _ragged(value: Any) -> str:
    lengths = [len(row) if isinstance(row, list) else "a single value" for row in value]
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is None:
        return "deeper inside"
    return f"row 0 has {lengths[0]} items, row {odd} has {lengths[odd]}"


def _first_non_number(value: Any, where: str) -> tuple[str, str | None]:
    """The path of the first item that is not a number, and a description of it; None if all are."""
    while isinstance(value, list):
        for number, item in enumerate(value):
            if not _only_numbers(item):
                value, where = item, f"{where}[{number}]"
                break
        else:
            return where, None
    if isinstance(value, int | float):
        return where, None
    return where, "null" if value is None else repr(value)[:40]


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_only_numbers, value))
    return isinstance(value, int | float)
