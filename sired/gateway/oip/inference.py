"""``infer``: a request of the protocol as a prediction, and the answer as a response."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from sire.errors import InvalidInput, shown
from sire.protocol.content import TENSORS, Buffer, Payload
from sire.protocol.requests import Predict
from sire.spec import Signature, TensorSpec
from sire.tensors import pack
from sired.gateway.oip.datatypes import BF16, BYTES, array_of, dtype_of, from_bf16, split_bytes

# The lengths of shapes are multiplied in Python, which has no largest integer.
_MOST_AXES = 64
_LARGEST_AXIS = 1 << 48
_REFUSED = {
    "sequence_id": "The sequence extension is not supported: each request stands alone.",
    "sequence_start": "The sequence extension is not supported: each request stands alone.",
    "sequence_end": "The sequence extension is not supported: each request stands alone.",
    "classification": "The classification extension is not supported: request the output itself.",
    "shared_memory_region": "The shared memory extensions are not supported: send the tensor.",
    "priority": "Priorities of requests are not supported: register the model with one.",
}
_MICROSECONDS = 1e6


class InferInput(msgspec.Struct, frozen=True):
    """One input; its elements are ``data``, or follow the JSON."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class InferOutput(msgspec.Struct, frozen=True):
    """One output that is wanted."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request."""

    inputs: tuple[InferInput, ...]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: tuple[InferOutput, ...] = ()

    @property
    def timeout(self) -> float | None:
        """Seconds; the parameter is in microseconds."""
        given = self.parameters.get("timeout")
        return given / _MICROSECONDS if isinstance(given, int) and given > 0 else None


def check_supported(request: InferRequest) -> None:
    """Refuse extensions of the protocol that are not supported.

    Raises:
        InvalidInput: the request asks for one.
    """
    of_tensors = [one.parameters for one in request.inputs]
    of_tensors += [one.parameters for one in request.outputs]
    for name in chain(request.parameters, *of_tensors):
        if name in _REFUSED:
            raise InvalidInput(_REFUSED[name])


def prediction(
    model: str, request: InferRequest, contents: Sequence[Buffer | None], signature: Signature
) -> tuple[Predict, tuple[Buffer, ...]]:
    """The prediction that a request asks for, and its payload.

    Args:
        model: its name.
        request: what was asked.
        contents: the bytes of each input's elements; None for one that has ``data``.
        signature: the model's inputs and outputs.

    Raises:
        InvalidInput: an input is not as it says, or is given twice.
    """
    if not request.inputs:
        raise InvalidInput("The request has no inputs.")
    names = _names(request.inputs, signature)
    for one in request.inputs:
        _check_shape(one)
    payload = _raw(request.inputs, names, contents) or _mixed(request.inputs, names, contents)
    predict = Predict(
        model=model,
        content_type=payload.content_type,
        tensors=payload.tensors,
        accept=TENSORS,
        timeout=request.timeout,
    )
    return predict, payload.frames


def input_names(signature: Signature) -> tuple[str, ...]:
    """The names of a model's inputs; one without a name is called input_0."""
    return tuple(spec.name or f"input_{place}" for place, spec in enumerate(signature.inputs))


def _names(inputs: tuple[InferInput, ...], signature: Signature) -> list[str]:
    """The name of each input for the model: "" for the only one of a model that has no names."""
    given = [one.name for one in inputs]
    if len(set(given)) < len(given):
        raise InvalidInput("Two inputs have the same name.")
    known = input_names(signature)
    unknown = next((name for name in given if known and name not in known), None)
    if unknown is not None:  # "" is a name, too
        raise InvalidInput(
            f"The model has no input {shown(unknown)}.", hint=f"Inputs are: {', '.join(known)}."
        )
    if not known:
        return [""] if len(given) == 1 else given
    return [signature.inputs[known.index(name)].name for name in given]


def _check_shape(one: InferInput) -> None:
    if len(one.shape) > _MOST_AXES or not all(0 <= axis < _LARGEST_AXIS for axis in one.shape):
        raise InvalidInput(f"{where(one)} has a shape that is not valid: {shown(one.shape)}.")


def _raw(
    inputs: tuple[InferInput, ...], names: list[str], contents: Sequence[Buffer | None]
) -> Payload | None:
    """The inputs as they came, if their bytes are those that the daemon takes; else None."""
    specs, frames = [], []
    for one, name, content in zip(inputs, names, contents, strict=True):
        if content is None or one.datatype in {BYTES, BF16}:
            return None
        specs.append(TensorSpec(name, dtype_of(one.datatype), one.shape))
        frames.append(content)
    return Payload(TENSORS, tuple(frames), tuple(specs))


def _mixed(
    inputs: tuple[InferInput, ...], names: list[str], contents: Sequence[Buffer | None]
) -> Payload:
    """The inputs, decoded: arrays, and lists of texts."""
    values = {
        name: _decoded(one, content)
        for one, name, content in zip(inputs, names, contents, strict=True)
    }
    return pack(values[""] if list(values) == [""] else values)


def _decoded(one: InferInput, content: Buffer | None) -> Any:
    import numpy as np  # noqa: PLC0415 (most requests need no numbers)

    if one.datatype == BYTES:
        elements = (
            _flat(one.data) if content is None else split_bytes(memoryview(content), where(one))
        )
        if not all(isinstance(element, str | bytes) for element in elements):
            raise InvalidInput(f"{where(one)} has elements that are not BYTES.")
        array = np.empty(len(elements), object)
        array[:] = elements
    elif content is None:
        array = array_of(one.data, one.datatype, where(one)).reshape(-1)
    elif one.datatype == BF16:
        if len(content) % 2:
            raise InvalidInput(f"{where(one)} has {len(content)} bytes, which is odd.")
        array = from_bf16(content)
    else:
        dtype = np.dtype(dtype_of(one.datatype)).newbyteorder("<")
        if len(content) % dtype.itemsize:
            raise InvalidInput(f"{where(one)} ends within an element.")
        array = np.frombuffer(content, dtype)
    if array.size != math.prod(one.shape):
        raise InvalidInput(
            f"{where(one)} has {array.size} elements; its shape {list(one.shape)} needs "
            f"{math.prod(one.shape)}."
        )
    return array.reshape(one.shape)


def _flat(values: Any) -> list[Any]:
    """The elements of nested lists, in order."""
    if not isinstance(values, list):
        return [values]
    return [element for value in values for element in _flat(value)]


def where(one: InferInput) -> str:
    """How errors call an input."""
    return f"The input {shown(one.name)}"
