"""Checks data against a model's signature, and converts it where that is lossless."""

from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sire.tensors import TEXT_DTYPES, as_array, dtype_for, holds_text
from sired.codecs.numbers import narrow

Array = np.ndarray[Any, Any]
_KINDS: dict[type, str] = {
    type(None): "null",
    str: "text",
    dict: "an object",
    list: "a list",
    tuple: "a tuple",
}


def check(data: Any, signature: Signature) -> Any:
    """Return the data in the dtypes and shapes that the model takes.

    If the model's first axis is a batch (-1 or 1) and the data has one axis less, the axis is
    added. Numbers are rounded to the model's precision, and no further: 3 may become 3.0, but 3.5
    does not become 3.

    Args:
        data: decoded by a codec.
        signature: of the model; without inputs, data is returned unchanged.

    Returns:
        One array for a model with one input, a dict of arrays by name for several.

    Raises:
        InvalidInput: names, number, shapes or dtypes do not match; the message states the
            expected ones.
    """
    inputs = signature.inputs
    if not inputs:
        return data
    if len(inputs) == 1:
        if isinstance(data, dict):
            data = _fit_names(data, inputs)[inputs[0].name]
        elif isinstance(data, list | tuple) and len(data) == 1:
            data = data[0]
        return _fit(data, inputs[0])
    return _fit_several(data, inputs)


def _fit_several(data: Any, inputs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    names = [spec.name for spec in inputs]
    if isinstance(data, list | tuple) and len(data) == len(inputs):
        data = dict(zip(names, data, strict=True))
    if not isinstance(data, dict):
        raise InvalidInput(f"The model takes {len(inputs)} inputs: {_listed(inputs)}.")
    data = _fit_names(data, inputs)
    return {spec.name: _fit(data[spec.name], spec) for spec in inputs}


def _fit_names(data: dict[Any, Any], inputs: tuple[TensorSpec, ...]) -> dict[Any, Any]:
    if set(data) == {spec.name for spec in inputs}:
        return data
    called = f"called {', '.join(map(str, data))}" if data else "none"
    raise InvalidInput(f"The inputs are {called}; the model takes {_listed(inputs)}.")


def _listed(inputs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name or 'one'} {describe(spec.dtype, spec.shape)}" for spec in inputs)


def _fit(value: Any, spec: TensorSpec) -> Any:
    array = _as_text(value, spec) if spec.dtype in TEXT_DTYPES else as_array(value)
    if array is None:
        array = _as_numbers(value, spec)
    if array.ndim == len(spec.shape) - 1 and spec.shape[0] in {-1, 1}:
        array = array[np.newaxis]
    if not _axes_fit(array.shape, spec.shape):
        raise _unfit(array, spec)
    return array if spec.dtype in TEXT_DTYPES else _cast(array, spec)


def _axes_fit(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(given) == len(wanted) and all(map(_axis_fits, given, wanted))


def _axis_fits(given: int, wanted: int) -> bool:
    return wanted in (-1, given)


def _as_text(value: Any, spec: TensorSpec) -> Array:
    """An object array of strings."""
    array = as_array(value)
    if array is None and isinstance(value, str | list | tuple):
        array = np.array(value, object)
    if array is not None and holds_text(array):
        return array.astype(object)
    given = _KINDS.get(type(value), type(value).__name__)
    if array is not None and array.dtype != object:
        given = describe(array.dtype.name, array.shape)
    raise InvalidInput(
        f"{_name(spec)}is {given}; the model takes {describe(spec.dtype, spec.shape)}."
    )


def _as_numbers(value: Any, spec: TensorSpec) -> Array:
    if isinstance(value, int | float | list):
        try:
            return np.asarray(value)
        except ValueError:
            pass
    raise InvalidInput(
        f"{_name(spec)}is {_KINDS.get(type(value), type(value).__name__)}; the model takes "
        f"{describe(spec.dtype, spec.shape)}."
    )


def _cast(array: Array, spec: TensorSpec) -> Array:
    wanted = dtype_for(spec.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "biufc" or (array.dtype.kind == "c" and wanted.kind != "c"):
        raise _unfit(array, spec)
    if wanted.kind in "fc" and array.dtype.kind != "b":
        return narrow(array, wanted, _name(spec).strip())
    if np.can_cast(array.dtype, wanted, "safe"):
        return array.astype(wanted)
    limits = (0, 1)
    if wanted.kind != "b":
        limits = (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
    _check_whole(array, limits, spec)
    return array.astype(wanted)


def _check_whole(array: Array, limits: tuple[int, int], spec: TensorSpec) -> None:
    """Ensure that all numbers are whole, and in the range of the model's dtype."""
    if not array.size:
        return
    if array.dtype.kind == "f":
        fractions = array[~(np.isfinite(array) & (np.trunc(array) == array))]
        if fractions.size:
            raise _bad_number(fractions.flat[0], "is not a whole number", spec)
    low, high = limits
    for number in (int(array.min()), int(array.max())):
        if not low <= number <= high:
            raise _bad_number(number, f"is not in the range of {low} to {high}", spec)


def _bad_number(number: Any, why: str, spec: TensorSpec) -> InvalidInput:
    wanted = describe(spec.dtype, spec.shape)
    return InvalidInput(
        f"{_name(spec)}has {number}, which {why}; the model takes {wanted}.",
        expected=wanted,
        given=str(number),
    )


def _unfit(array: Array, spec: TensorSpec) -> InvalidInput:
    return InvalidInput(
        f"{_name(spec)}is {describe(array.dtype.name, array.shape)}; the model takes "
        f"{describe(spec.dtype, spec.shape)}.",
        expected=describe(spec.dtype, spec.shape),
        given=describe(array.dtype.name, array.shape),
    )


def _name(spec: TensorSpec) -> str:
    return f"The input {spec.name!r} " if spec.name else "The input "


def describe(dtype: str, shape: tuple[int, ...]) -> str:
    """A dtype and shape in messages: ``float32[N, 64]``, with N for an axis of any length."""
    return f"{dtype}[{', '.join('N' if axis < 0 else str(axis) for axis in shape)}]"
