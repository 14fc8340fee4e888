"""The outputs of a prediction as tensors of the protocol."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from sire.errors import InferenceError, InvalidInput, shown
from sire.protocol.content import TENSORS, Buffer, Payload
from sire.spec import Signature
from sire.tensors import DTYPES, as_array, unpack
from sired.gateway.oip.datatypes import (
    BF16,
    BYTES,
    datatype_of,
    join_bytes,
    to_bf16,
)
from sired.gateway.oip.inference import InferRequest


@dataclass(slots=True)
class OutputTensor:
    """One output: its elements in C order, as bytes, or as texts of a BYTES tensor."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: Buffer
    texts: list[str | bytes] | None = None

    @property
    def binary(self) -> Buffer:
        """Its elements as bytes, those of a BYTES tensor each after its length."""
        return self.content if self.texts is None else join_bytes(self.texts)


def output_names(signature: Signature, count: int) -> tuple[str, ...]:
    """The names of a model's outputs; one without a name is called output_0."""
    names = [spec.name for spec in signature.outputs]
    names += [""] * (count - len(names))
    return tuple(name or f"output_{place}" for place, name in enumerate(names))


def outputs_of(payload: Payload, signature: Signature) -> list[OutputTensor]:
    """The outputs in an answer of the daemon.

    Raises:
        InferenceError: the protocol has no datatype for one.
    """
    if payload.content_type == TENSORS:
        found = [
            _array_output(spec.name, spec.dtype, spec.shape, frame)
            for spec, frame in zip(payload.tensors, payload.frames, strict=True)
        ]
    else:
        data = unpack(payload)
        named = data if isinstance(data, dict) and _is_outputs(data) else {"": data}
        found = [_any_output(name, value) for name, value in named.items()]
    names = output_names(signature, len(found))
    for place, output in enumerate(found):
        output.name = output.name or names[place]
        stated = signature.outputs[place].dtype if place < len(signature.outputs) else ""
        if stated == "bfloat16" and output.datatype == "FP32":
            output.datatype, output.content = BF16, to_bf16(output.content)
    return found


def _is_outputs(data: dict[Any, Any]) -> bool:
    """Whether a dict has an array or a list of texts for every output."""
    return bool(data) and all(
        isinstance(name, str) and name and (isinstance(value, list) or as_array(value) is not None)
        for name, value in data.items()
    )


def _array_output(name: str, dtype: str, shape: tuple[int, ...], content: Buffer) -> OutputTensor:
    datatype = datatype_of(dtype)
    if datatype == BYTES:
        raise InferenceError(f"The output {shown(name)} is {dtype}, which the protocol lacks.")
    return OutputTensor(name, datatype, shape, content)


def _any_output(name: str, value: Any) -> OutputTensor:
    """An array of numbers; or texts, where what is neither text nor bytes is JSON."""
    array = as_array(value)
    if array is None and not isinstance(value, str | bytes | dict | None):
        array = np.asarray(value) if _is_numbers(value) else None
    if array is not None and array.dtype.kind in "biuf":
        plain = np.asarray(array, DTYPES[array.dtype.name], order="C")
        return _array_output(name, array.dtype.name, plain.shape, plain.tobytes())
    items = value if isinstance(value, list | tuple) else [value]
    shape: tuple[int, ...] = (len(items),)
    if items and all(isinstance(row, list) and len(row) == len(items[0]) for row in items):
        shape = (len(items), len(items[0]))
        items = [item for row in items for item in row]
    texts = [item if isinstance(item, str | bytes) else _json(item) for item in items]
    return OutputTensor(name, BYTES, shape, b"", texts)


def _is_numbers(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:
        return False


def _json(item: Any) -> str:
    return orjson.dumps(item, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain).decode()


def _plain(item: Any) -> Any:
    array = as_array(item)
    return array.tolist() if array is not None else str(item)


def wanted_outputs(request: InferRequest, outputs: list[OutputTensor]) -> list[OutputTensor]:
    """The outputs that were requested, in that order; all if none was named.

    Raises:
        InvalidInput: the model has no output of a requested name.
    """
    if not request.outputs:
        return outputs
    by_name = {output.name: output for output in outputs}
    if unknown := next((one.name for one in request.outputs if one.name not in by_name), None):
        raise InvalidInput(
            f"The model has no output {shown(unknown)}.", hint=f"Outputs are: {', '.join(by_name)}."
        )
    return [by_name[one.name] for one in request.outputs]
