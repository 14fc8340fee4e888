"""Values that a model's inputs have where a request gives none, as JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec

from sire.errors import InvalidModel, shown

_TEXT = "string"
_EXAMPLES = 'Write a number, text or list of them as JSON, like 3, [0.5, 1] or "en".'


def read_constant(text: str, dtype: str, shape: tuple[int, ...]) -> str:
    """Read the value of an input.

    A single value fills an input whose axes all have a fixed length.

    Args:
        text: JSON, or plain text for a dtype of text.
        dtype: of the input.
        shape: of the input; axes that are negative have any length.

    Returns:
        The value as JSON.

    Raises:
        InvalidModel: the text is not JSON, or its value does not have that dtype and shape.
    """
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        if dtype != _TEXT:
            raise InvalidModel(f"{shown(text)} is not a value.", hint=_EXAMPLES) from None
        value = text
    for item in _items(value):
        if not _is_of(item, dtype):
            raise InvalidModel(f"{shown(item)} is not a value of {dtype}.", hint=_EXAMPLES)
    axes = _axes(value)
    if not _fits(axes, shape):
        raise InvalidModel(
            f"{shown(text)} has the shape {list(axes)}, which is not that of the input: "
            f"{list(shape)}.",
            hint="A single value fills an input whose axes all have a fixed length.",
        )
    return msgspec.json.encode(value).decode()


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _items(item)
    else:
        yield value


def _is_of(item: Any, dtype: str) -> bool:
    if dtype == _TEXT:
        return isinstance(item, str)
    if dtype == "bool":
        return isinstance(item, bool)
    if isinstance(item, bool):
        return False
    if dtype.startswith(("float", "bfloat", "complex")):
        return isinstance(item, int | float)
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    low, high = (0, 1 << bits) if dtype.startswith("u") else (-(1 << bits - 1), 1 << bits - 1)
    return isinstance(item, int) and low <= item < high


def _axes(value: Any) -> tuple[int, ...]:
    """The lengths of nested lists.

    Raises:
        InvalidModel: rows differ in their lengths.
    """
    if not isinstance(value, list):
        return ()
    inner = {_axes(item) for item in value}
    if len(inner) > 1:
        raise InvalidModel("The rows of a value have different lengths.")
    return (len(value), *(inner.pop() if inner else ()))


def _fits(axes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if shape == (-2,):  # of any shape
        return True
    if not axes:
        return min(shape, default=0) >= 0
    return len(axes) == len(shape) and all(
        wanted in (-1, given) for given, wanted in zip(axes, shape, strict=True)
    )
