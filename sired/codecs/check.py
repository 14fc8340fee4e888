"""Checks data against a model's signature, and converts it where that is lossless."""

from typing import Any

import msgspec
import numpy as np

from sire.errors import InvalidInput
from sire.spec import ANY_SHAPE, MAP, SEQUENCE, Signature, TensorSpec
from sire.tensors import (
    ANYTHING,
    TEXT_DTYPES,
    as_array,
    dtype_for,
    holds_text,
    item_of,
)
from sired.codecs.numbers import narrow

Array = np.ndarray[Any, Any]
_KINDS: dict[type, str] = {
    type(None): "null",
    str: "text",
    bytes: "bytes that are not decoded",
    dict: "an object",
    list: "a list",
    tuple: "a tuple",
}


def check(data: Any, signature: Signature) -> Any:
    """Return the data in the dtypes and shapes that the model takes.

    If the model's first axis is a batch (-1 or 1) and the data has one axis less, the axis is
    added. Numbers are rounded to the model's precision, and no further: 3 may become 3.0, but 3.5
    does not become 3. Inputs that the data does not have get the constants that are declared.

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
    if len(inputs) == 1 and inputs[0].dtype == ANYTHING:
        return _items(data) if inputs[0].shape == (-1,) else data
    given = by_name(data, signature)
    if len(inputs) == 1:
        return _fit(given[inputs[0].name], inputs[0])
    return {
        spec.name: _fit(given[spec.name], spec) if spec.name in given else constant(spec)
        for spec in inputs
        if spec.name in given or spec.constant
    }


def _items(data: Any) -> Array:
    """The items of a request in one axis: those of a list, or else all of the data as one."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "OU":
        return np.asarray(data, object).reshape(-1)
    items = data if isinstance(data, list | tuple) else [data]
    found = np.empty(len(items), object)
    found[:] = items
    return found


def by_name(data: Any, signature: Signature) -> dict[Any, Any]:
    """The inputs in the data by their names.

    Data that is not a dict is the only input that the model requires, or has its inputs in order.

    Raises:
        InvalidInput: the names or the number of the inputs are not those of the model.
    """
    inputs, required = signature.inputs, signature.required()
    if isinstance(data, dict):
        names = {spec.name for spec in inputs}
        if names >= data.keys() >= {spec.name for spec in inputs if spec.required}:
            absent = [spec.name for spec in inputs if spec.optional and data.get(spec.name) is None]
            return {name: item for name, item in data.items() if name not in absent}
        called = f"called {', '.join(map(str, data))}" if data else "none"
        raise InvalidInput(
            f"The inputs are {called}; the model takes {_listed(inputs)}.",
            hint="Give each that has no default. Files: -i NAME=FILE",
        )
    if len(required) == 1 and not (isinstance(data, tuple) and len(data) > 1):
        return {required[0].name: _unwrapped(data, required[0])}
    specs = signature.in_order(len(data)) if isinstance(data, list | tuple) else ()
    # A list of numbers could as well be meant as one input.
    bare = isinstance(data, list) and any(
        np.ndim(item) == 0 and len(spec.shape)
        for item, spec in zip(data, specs, strict=False)
        if not isinstance(item, str | list | tuple) and spec.shape != ANY_SHAPE
    )
    if bare or not specs:
        raise InvalidInput(
            f"The model takes {len(required)} inputs: {_listed(inputs)}.",
            hint="Give them by name, as an object, or each as a list in order. Files: -i NAME=FILE",
        )
    return {spec.name: item for spec, item in zip(specs, data, strict=True)}


def _unwrapped(data: Any, spec: TensorSpec) -> Any:
    """The input in a tuple of one, or in a list of one array as npz files without names have it."""
    if not isinstance(data, list | tuple) or len(data) != 1:
        return data
    only = data[0]
    is_array = isinstance(only, np.ndarray) and not spec.dtype.startswith(SEQUENCE)
    return only if is_array or isinstance(data, tuple) else data


def constant(spec: TensorSpec) -> Any:
    """A new array with the value that is declared for an input."""
    value = msgspec.json.decode(spec.constant)
    if not isinstance(value, list) and spec.shape and spec.shape != ANY_SHAPE:
        value = np.full(spec.shape, value, object if spec.dtype in TEXT_DTYPES else None)
    return _fit(value, spec)


def _listed(inputs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name or 'one'} {describe(spec.dtype, spec.shape)}" for spec in inputs)


def _fit(value: Any, spec: TensorSpec) -> Any:
    """One input in its dtype and shape."""
    if spec.dtype.startswith(SEQUENCE):
        return _fit_sequence(value, spec)
    if spec.dtype == ANYTHING or spec.dtype.startswith(MAP):
        return value
    is_text = spec.dtype in TEXT_DTYPES
    array = _as_text(value, spec) if is_text else as_array(value)
    if array is None:
        array = _as_numbers(value, spec)
    array = _in_shape(array, spec)
    return array if is_text else _cast(array, spec)


def _fit_sequence(value: Any, spec: TensorSpec) -> list[Any]:
    """A list of arrays, of any shapes."""
    if isinstance(value, np.ndarray) and value.ndim:
        value = list(value)
    if not isinstance(value, list | tuple):
        raise InvalidInput(
            f"{_name(spec)}is {_KINDS.get(type(value), type(value).__name__)}; the model takes a "
            "list of arrays.",
            hint="In JSON: a list of lists of numbers. In npz: arrays without names.",
        )
    return [_fit(one, item_of(spec)) for one in value]


def _in_shape(array: Array, spec: TensorSpec) -> Array:
    """The array with the axes of length 1 that the input has besides.

    A missing first axis is added. Texts are rows: the axes of a single text, and axes of length 1
    behind several, are added as well.
    """
    shape = spec.shape
    if shape == ANY_SHAPE:
        return array
    if array.ndim == len(shape) - 1 and shape[0] in {-1, 1}:
        wider = array[np.newaxis]
        if spec.dtype not in TEXT_DTYPES or _axes_fit(wider.shape, shape):
            array = wider
    if spec.dtype in TEXT_DTYPES and array.ndim < len(shape):
        added = shape if not array.ndim else shape[array.ndim :]
        if all(axis in {-1, 1} for axis in added):
            array = array.reshape(array.shape + (1,) * len(added))
    if not _axes_fit(array.shape, shape):
        raise _unfit(array, spec)
    return array


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
    if shape == ANY_SHAPE:
        return f"{dtype}[...]"
    return f"{dtype}[{', '.join('N' if axis < 0 else str(axis) for axis in shape)}]"
