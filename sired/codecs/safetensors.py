"""Arrays by name in a safetensors file."""

from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from sired.errors import InvalidInput
from sired.protocol.content import SAFETENSORS, Payload
from sired.spec import ImageOptions, Signature
from sired.tensors import as_array


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read a dict of arrays."""
    try:
        return safetensors.numpy.load(bytes(payload.frames[0]))
    except (SafetensorError, ValueError, KeyError) as problem:
        raise InvalidInput(f"The input cannot be read as safetensors: {problem}.") from None


def encode(value: Any, accept: str) -> Payload:  # noqa: ARG001
    """Write arrays by name."""
    named = value if isinstance(value, dict) else {"output": value}
    arrays = {str(name): as_array(item) for name, item in named.items()}
    if any(array is None for array in arrays.values()):
        raise InvalidInput("The answer does not consist of arrays.", hint="Ask for json: --to json")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return Payload(SAFETENSORS, (safetensors.numpy.save(contiguous),))
