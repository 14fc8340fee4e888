"""Python data with arrays in it, as frames of bytes: for the Python client and the workers.

One array, or a flat dict of arrays, travels as TENSORS. Anything else is a TREE: a msgpack
document in which arrays and tuples stand as extension types, and the arrays in further frames.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from sired.errors import InvalidInput
from sired.protocol.content import TENSORS, TREE, Buffer, Payload
from sired.spec import TensorSpec

_ARRAY, _TUPLE = 1, 2
_PLAIN = (str, int, float, bool, bytes, type(None))
_DEEPEST = 64
_ITEM = msgspec.msgpack.Encoder()
_INDEX = 4


def pack(value: Any) -> Payload:
    """Turn data into frames; contiguous arrays are not copied.

    Args:
        value: arrays, torch tensors, dicts, lists, tuples, strings, bytes, numbers, None.

    Raises:
        InvalidInput: something in it is none of these; the message says what, and where.
    """
    if (array := as_array(value)) is not None:
        return _tensors([("", array)])
    if isinstance(value, dict) and value and all(isinstance(key, str) and key for key in value):
        arrays = [(name, as_array(item)) for name, item in value.items()]
        if all(array is not None for _, array in arrays):
            return _tensors(arrays)
    found: list[np.ndarray[Any, Any]] = []
    tree = _ITEM.encode(_flatten(value, found, "data", _DEEPEST))
    packed = [_pack(array, "") for array in found]
    return Payload(TREE, (tree, *(f for _, f in packed)), tuple(s for s, _ in packed))


def unpack(payload: Payload) -> Any:
    """Turn frames back into data; arrays are read-only views of the frames.

    Raises:
        InvalidInput: the frames are not what their descriptions say.
    """
    if payload.content_type == TREE:
        if not payload.frames:
            raise InvalidInput("A tree came without its first frame.")
        arrays = _arrays(payload.tensors, payload.frames[1:])
        return _restore(memoryview(payload.frames[0]), [array for _, array in arrays], _DEEPEST)
    arrays = _arrays(payload.tensors, payload.frames)
    if len(arrays) == 1 and not arrays[0][0]:
        return arrays[0][1]
    return dict(arrays)


def as_array(value: Any) -> "np.ndarray[Any, Any] | None":
    """The array that a value is, or None: numpy's, or a torch tensor of any device."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):
        return np.asarray(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        # numpy knows no bfloat16; float32 holds every value of it.
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
    return None


def _tensors(arrays: Sequence[tuple[str, Any]]) -> Payload:
    packed = [_pack(array, name) for name, array in arrays]
    return Payload(TENSORS, tuple(f for _, f in packed), tuple(s for s, _ in packed))


def _pack(array: "np.ndarray[Any, Any]", name: str) -> tuple[TensorSpec, Buffer]:
    if array.dtype.kind not in "biufc":
        raise InvalidInput(
            f"An array of dtype {array.dtype} cannot be sent.",
            hint="Send numbers or booleans as arrays, and strings as lists.",
        )
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    frame: Buffer = plain.reshape(-1).view(np.uint8).data if plain.size else b""
    return TensorSpec(name, plain.dtype.name, plain.shape), frame


def _arrays(
    tensors: Sequence[TensorSpec], frames: Sequence[Buffer]
) -> "list[tuple[str, np.ndarray[Any, Any]]]":
    if len(tensors) != len(frames):
        raise InvalidInput(f"{len(tensors)} arrays were announced and {len(frames)} frames came.")
    return [(spec.name, _array(spec, frame)) for spec, frame in zip(tensors, frames, strict=True)]


def _array(spec: TensorSpec, frame: Buffer) -> "np.ndarray[Any, Any]":
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    size = memoryview(frame).nbytes
    if dtype.kind not in "biufc":
        raise InvalidInput(f"{spec.dtype!r} is no dtype of numbers.")
    count = 1
    for axis in spec.shape:
        count *= axis
    if min(spec.shape, default=0) < 0 or count * dtype.itemsize != size:
        raise InvalidInput(
            f"{spec.dtype}{list(spec.shape)} takes {count * dtype.itemsize} bytes; {size} came."
        )
    return np.frombuffer(frame, dtype).reshape(spec.shape)


def _flatten(value: Any, found: list[Any], where: str, depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {_DEEPEST} levels.")
    if isinstance(value, _PLAIN):
        return value
    if (array := as_array(value)) is not None:
        found.append(array)
        return msgspec.msgpack.Ext(_ARRAY, (len(found) - 1).to_bytes(_INDEX, "little"))
    if isinstance(value, dict):
        return {
            key: _flatten(item, found, f"{where}[{key!r}]", depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [
            _flatten(item, found, f"{where}[{number}]", depth - 1)
            for number, item in enumerate(value)
        ]
        return (
            msgspec.msgpack.Ext(_TUPLE, _ITEM.encode(items)) if isinstance(value, tuple) else items
        )
    raise InvalidInput(
        f"{where} is a {type(value).__name__}, which cannot be sent.",
        hint="Send arrays, tensors, numbers, strings, and dicts, lists and tuples of them.",
    )


def _restore(tree: memoryview, arrays: list[Any], depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {_DEEPEST} levels.")

    def extension(code: int, data: memoryview) -> Any:
        if code == _TUPLE:
            return tuple(_restore(data, arrays, depth - 1))
        index = int.from_bytes(data, "little")
        if code != _ARRAY or index >= len(arrays):
            raise InvalidInput(f"The tree points at array {index} of {len(arrays)}.")
        return arrays[index]

    try:
        return msgspec.msgpack.decode(tree, ext_hook=extension)
    except (msgspec.DecodeError, RecursionError, TypeError) as problem:
        raise InvalidInput(f"The tree cannot be read: {problem}.") from None
