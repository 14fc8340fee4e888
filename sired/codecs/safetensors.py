"""Safetensors files: arrays by name."""

from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, deserialize

from sire.errors import InvalidInput
from sire.protocol.content import SAFETENSORS, Payload
from sire.spec import Signature
from sire.tensors import DTYPES, as_array, view
from sired.codecs.media import Media

_BFLOAT16 = "BF16"
_DTYPES = {
    "BOOL": "bool",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode a dict of arrays; bfloat16 becomes float32.

    Raises:
        InvalidInput: the file is damaged, or has a dtype that is not supported.
    """
    try:
        entries = deserialize(bytes(payload.frames[0]))  # type: ignore[no-untyped-call]
    except SafetensorError as problem:
        raise InvalidInput(f"The input cannot be read as safetensors: {problem}.") from None
    return {name: _array(name, **entry) for name, entry in entries}


def _array(name: str, dtype: str, shape: list[int], data: Any) -> Any:
    if dtype == _BFLOAT16:
        # The upper half of a float32.
        halves = view(data, np.dtype("<u2"), tuple(shape), dtype)
        return (halves.astype(np.uint32) << 16).view(np.float32)
    if dtype not in _DTYPES:
        raise InvalidInput(
            f"{name!r} in the safetensors input is {dtype}, which is not supported.",
            hint=f"Supported are: {', '.join((*_DTYPES, _BFLOAT16))}.",
        )
    return view(data, DTYPES[_DTYPES[dtype]], tuple(shape), dtype)


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Encode arrays by name; a single array is named ``output``.

    Raises:
        InvalidInput: the output does not consist of arrays of supported dtypes.
    """
    named = value if isinstance(value, dict) else {"output": value}
    arrays = {str(name): as_array(item) for name, item in named.items()}
    if any(array is None for array in arrays.values()):
        raise InvalidInput("The output does not consist of arrays.", hint="Request json: --to json")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        return Payload(SAFETENSORS, (safetensors.numpy.save(contiguous),))
    except SafetensorError as problem:
        raise InvalidInput(
            f"The output cannot be encoded as safetensors: {problem}.",
            hint="Request json or npz: --to json",
        ) from None
