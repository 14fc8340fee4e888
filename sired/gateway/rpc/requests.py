"""A request of gRPC as one of the protocol, with the bytes of its tensors."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from sire.errors import InvalidInput, shown
from sire.protocol.content import Buffer
from sire.tensors import DTYPES
from sired.gateway.oip.datatypes import BYTES, dtype_of, join_bytes, unrepresentable
from sired.gateway.oip.inference import (
    InferInput,
    InferOutput,
    InferRequest,
    check_supported,
    where,
)

# The field of each datatype in InferTensorContents, and the dtype of its elements.
_FIELDS = {
    "BOOL": ("bool_contents", "bool"),
    "INT8": ("int_contents", "int32"),
    "INT16": ("int_contents", "int32"),
    "INT32": ("int_contents", "int32"),
    "INT64": ("int64_contents", "int64"),
    "UINT8": ("uint_contents", "uint32"),
    "UINT16": ("uint_contents", "uint32"),
    "UINT32": ("uint_contents", "uint32"),
    "UINT64": ("uint64_contents", "uint64"),
    "FP32": ("fp32_contents", "float32"),
    "FP64": ("fp64_contents", "float64"),
    "BYTES": ("bytes_contents", ""),
}


class Parameter(Protocol):
    """An InferParameter."""

    def WhichOneof(self, oneof_group: Literal["parameter_choice"], /) -> str | None:  # noqa: N802
        """Which of its fields is set."""


class InputTensor(Protocol):
    """An InferInputTensor."""

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: Mapping[str, Parameter]
    contents: object

    def HasField(self, field_name: Literal["contents"], /) -> bool:  # noqa: N802
        """Whether it has typed contents."""


class RequestedOutput(Protocol):
    """An InferRequestedOutputTensor."""

    name: str
    parameters: Mapping[str, Parameter]


class InferMessage(Protocol):
    """A ModelInferRequest."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    inputs: Sequence[InputTensor]
    outputs: Sequence[RequestedOutput]
    raw_input_contents: Sequence[bytes]


def read_request(message: InferMessage) -> tuple[InferRequest, Sequence[Buffer]]:
    """A request, and the bytes of each input's elements.

    Raises:
        InvalidInput: it asks for what is not supported, or an input is not as it says.
    """
    request = InferRequest(
        tuple(
            InferInput(one.name, tuple(one.shape), one.datatype, _values(one.parameters))
            for one in message.inputs
        ),
        message.id,
        _values(message.parameters),
        tuple(InferOutput(one.name, _values(one.parameters)) for one in message.outputs),
    )
    check_supported(request)
    raw = message.raw_input_contents
    if not raw:
        typed = zip(request.inputs, message.inputs, strict=True)
        return request, [_typed(one, tensor) for one, tensor in typed]
    if len(raw) != len(request.inputs) or any(one.HasField("contents") for one in message.inputs):
        raise InvalidInput(
            f"The request has {len(request.inputs)} inputs and {len(raw)} raw_input_contents.",
            hint="Give raw contents for all inputs, or typed contents for all.",
        )
    return request, raw


def _values(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {
        name: getattr(one, field)
        for name, one in parameters.items()
        if (field := one.WhichOneof("parameter_choice"))
    }


def _typed(one: InferInput, tensor: InputTensor) -> bytes:
    """The elements of typed contents as bytes.

    Raises:
        InvalidInput: the datatype has no typed contents, they are in another field, or it cannot
            represent one.
    """
    if one.datatype not in _FIELDS:
        dtype_of(one.datatype)  # raises if the protocol has no such datatype
        raise InvalidInput(f"{where(one)} is {one.datatype}, which needs raw_input_contents.")
    field, dtype = _FIELDS[one.datatype]
    others = {other for other, _ in _FIELDS.values()} - {field}
    if wrong := next((other for other in others if getattr(tensor.contents, other)), None):
        raise InvalidInput(f"{where(one)} is {one.datatype} and has {shown(wrong)}.")
    values = getattr(tensor.contents, field)
    if one.datatype == BYTES:
        return join_bytes(values)
    given = np.fromiter(values, DTYPES[dtype], len(values))
    cast = given.astype(DTYPES[dtype_of(one.datatype)])
    if (differs := cast != given).any() and given.dtype.kind in "iu":
        raise unrepresentable(given[differs][0], one.datatype, where(one))
    return cast.tobytes()
