"""The inputs of an ONNX graph: what each takes, and how a request's data is passed to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from sire.errors import InvalidInput
from sire.spec import ANY_SHAPE, MAP, SEQUENCE, TensorSpec

_DTYPES = {"float": "float32", "double": "float64"}
_TENSOR, _SEQUENCE_OF, _OPTIONAL = "tensor(", "seq(", "optional("


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input.

    Attributes:
        spec: its name, dtype and shape. Graphs state no shape both for scalars and for inputs of
            any shape; ONNX Runtime checks neither.
        takes_none: whether it gets None if a request leaves it out, instead of its default.
    """

    spec: TensorSpec
    takes_none: bool = False


def inputs_of(session: onnxruntime.InferenceSession) -> tuple[GraphInput, ...]:
    """The inputs of a graph, then those that have a default in the file (initializers)."""
    given = [
        GraphInput(describe(value), value.type.startswith(_OPTIONAL))
        for value in session.get_inputs()
    ]
    defaults = [
        GraphInput(_optional(describe(value))) for value in session.get_overridable_initializers()
    ]
    return (*given, *defaults)


def describe(value: Any) -> TensorSpec:
    """An input or output of a session; symbolic and unknown axes are -1."""
    kind = value.type
    if kind.startswith(_OPTIONAL):
        inner = kind.removeprefix(_OPTIONAL).removesuffix(")")
        return _optional(TensorSpec(value.name, _dtype(inner), _shape(inner, value.shape)))
    return TensorSpec(value.name, _dtype(kind), _shape(kind, value.shape))


def _optional(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, spec.shape, optional=True)


def _dtype(kind: str) -> str:
    """A type of ONNX Runtime as a dtype: ``tensor(float)``, ``seq(tensor(float))``."""
    if kind.startswith(_SEQUENCE_OF):
        return f"{SEQUENCE}{_dtype(kind.removeprefix(_SEQUENCE_OF).removesuffix(')'))})"
    if kind.startswith(MAP):
        return kind
    element = kind.removeprefix(_TENSOR).removesuffix(")")
    return _DTYPES.get(element, element)


def _shape(kind: str, axes: Sequence[Any] | None) -> tuple[int, ...]:
    if not kind.startswith(_TENSOR) or not axes:
        return ANY_SHAPE
    return tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in axes)


def feed(inputs: Sequence[GraphInput], data: Any) -> dict[str, Any]:
    """The values that a session is run with.

    Args:
        inputs: of the graph.
        data: an array for the only input that is not optional, a dict by name, or a tuple in order.

    Raises:
        InvalidInput: names or number do not match.
    """
    if not inputs:
        if data is None or (isinstance(data, dict | list | tuple) and not data):
            return {}
        if isinstance(data, np.ndarray) and not data.size:
            return {}
        raise InvalidInput("The model takes no input.", hint="Send an empty object: {}")
    required = [one.spec.name for one in inputs if one.spec.required]
    names = required or [one.spec.name for one in inputs]
    if isinstance(data, dict) and not _is_map(inputs, data):
        given = data
    elif isinstance(data, tuple) or (isinstance(data, list) and len(names) > 1):
        given = dict(zip(names, data, strict=False))
    else:
        given = {names[0]: data}
    known = {one.spec.name: one for one in inputs}
    if not known.keys() >= given.keys() >= set(required):
        listed = ", ".join(map(str, given)) or "none"
        raise InvalidInput(f"The model's inputs are {', '.join(known)}; given were {listed}.")
    missing: dict[str, Any] = {
        one.spec.name: None for one in inputs if one.takes_none and one.spec.name not in given
    }
    return missing | {name: _value(known[name].spec, value) for name, value in given.items()}


def _is_map(inputs: Sequence[GraphInput], data: dict[Any, Any]) -> bool:
    """Whether a dict is the value of the only input, and not inputs by name."""
    only = inputs[0].spec
    return len(inputs) == 1 and only.dtype.startswith(MAP) and only.name not in data


def _value(spec: TensorSpec, value: Any) -> Any:
    if value is None or spec.dtype.startswith(MAP):
        return value
    if spec.dtype.startswith(SEQUENCE):
        return [np.asarray(item) for item in value]
    return np.asarray(value)
