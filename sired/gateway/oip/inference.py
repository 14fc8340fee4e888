"""``infer``: a request of the protocol as a prediction, and the answer as a response."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec

from sire.errors import InvalidInput, error_text, shown
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


_decoder = msgspec.json.Decoder(InferRequest)


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, memoryview]:
    """The JSON of a request, and the tensors that follow it.

    Args:
        body: of the request.
        header_length: the header Inference-Header-Content-Length; None if all is JSON.

    Raises:
        InvalidInput: it is not a request of the protocol, or asks for what is not supported.
    """
    length = len(body)
    if header_length is not None:
        if not (header_length.isdecimal() and int(header_length[:20]) <= length):
            raise InvalidInput(
                f"Inference-Header-Content-Length is {shown(header_length)}; the body has "
                f"{length} bytes."
            )
        length = int(header_length)
    try:
        request = _decoder.decode(memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(f"The request is not valid: {error_text(problem)}.") from None
    _check_supported(request)
    return request, memoryview(body)[length:]


def _check_supported(request: InferRequest) -> None:
    of_tensors = [one.parameters for one in request.inputs]
    of_tensors += [one.parameters for one in request.outputs]
    for name in chain(request.parameters, *of_tensors):
        if name in _REFUSED:
            raise InvalidInput(_REFUSED[name])


def prediction(
    model: str, request: InferRequest, tensors: memoryview, signature: Signature
) -> tuple[Predict, tuple[Buffer, ...]]:
    """The prediction that a request asks for, and its payload.

    Raises:
        InvalidInput: an input is not as it says, or is given twice.
    """
    if not request.inputs:
        raise InvalidInput("The request has no inputs.")
    names = _names(request.inputs, signature)
    contents = list(_contents(request.inputs, tensors))
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
    if unknown := next((name for name in given if known and name not in known), None):
        raise InvalidInput(
            f"The model has no input {shown(unknown)}.", hint=f"Inputs are: {', '.join(known)}."
        )
    if not known:
        return [""] if len(given) == 1 else given
    return [signature.inputs[known.index(name)].name for name in given]


def _contents(inputs: tuple[InferInput, ...], tensors: memoryview) -> Iterator[memoryview | None]:
    """The elements of each input that follow the JSON; None for one whose ``data`` is in it."""
    place = 0
    for one in inputs:
        size = one.parameters.get("binary_data_size")
        if (size is None) == (one.data is None):
            raise InvalidInput(f"{_where(one)} needs either data or binary_data_size.")
        if len(one.shape) > _MOST_AXES or not all(0 <= axis < _LARGEST_AXIS for axis in one.shape):
            raise InvalidInput(f"{_where(one)} has a shape that is not valid: {shown(one.shape)}.")
        if size is None:
            yield None
            continue
        if not isinstance(size, int) or not 0 <= size <= len(tensors) - place:
            raise InvalidInput(
                f"{_where(one)} has a binary_data_size of {shown(size)}; {len(tensors) - place} "
                "bytes are left."
            )
        yield tensors[place : place + size]
        place += size
    if place != len(tensors):
        raise InvalidInput(f"{len(tensors) - place} bytes follow the last tensor.")


def _raw(
    inputs: tuple[InferInput, ...], names: list[str], contents: list[memoryview | None]
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
    inputs: tuple[InferInput, ...], names: list[str], contents: list[memoryview | None]
) -> Payload:
    """The inputs, decoded: arrays, and lists of texts."""
    values = {
        name: _decoded(one, content)
        for one, name, content in zip(inputs, names, contents, strict=True)
    }
    return pack(values[""] if list(values) == [""] else values)


def _decoded(one: InferInput, content: memoryview | None) -> Any:
    import numpy as np  # noqa: PLC0415 (most requests need no numbers)

    if one.datatype == BYTES:
        elements = _flat(one.data) if content is None else split_bytes(content, _where(one))
        if not all(isinstance(element, str | bytes) for element in elements):
            raise InvalidInput(f"{_where(one)} has elements that are not BYTES.")
        array = np.empty(len(elements), object)
        array[:] = elements
    elif content is None:
        array = array_of(one.data, one.datatype, _where(one)).reshape(-1)
    elif one.datatype == BF16:
        if len(content) % 2:
            raise InvalidInput(f"{_where(one)} has {len(content)} bytes, which is odd.")
        array = from_bf16(content)
    else:
        dtype = np.dtype(dtype_of(one.datatype)).newbyteorder("<")
        if len(content) % dtype.itemsize:
            raise InvalidInput(f"{_where(one)} ends within an element.")
        array = np.frombuffer(content, dtype)
    if array.size != math.prod(one.shape):
        raise InvalidInput(
            f"{_where(one)} has {array.size} elements; its shape {list(one.shape)} needs "
            f"{math.prod(one.shape)}."
        )
    return array.reshape(one.shape)


def _flat(values: Any) -> list[Any]:
    """The elements of nested lists, in order."""
    if not isinstance(values, list):
        return [values]
    return [element for value in values for element in _flat(value)]


def _where(one: InferInput) -> str:
    return f"The input {shown(one.name)}"
