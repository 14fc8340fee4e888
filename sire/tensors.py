"""Encoding Python data that contains arrays as frames of bytes, for client and workers.

One array, or a flat dict of arrays, is encoded as TENSORS. Other data is a TREE: a msgpack document
in which extension types stand for tuples and arrays; the arrays follow in further frames.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from sire.errors import InvalidInput, error_text, shown
from sire.protocol.content import TENSORS, TREE, Buffer, Payload
from sire.spec import ANY_SHAPE, SEQUENCE, TensorSpec

_LONGEST_EMPTY = 1 << 20
# More levels of nesting than any data has; without a limit they could exhaust the stack.
DEEPEST = 64
# Every dtype that can be sent, by its name in a TensorSpec.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
# A lookup; numpy builds the name of a dtype each time, which is slow for small arrays.
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The names of text dtypes in a signature.
TEXT_DTYPES = frozenset({"str", "string"})
# The dtype of inputs that are texts, pictures or objects, as the model's runtime reads them.
ANYTHING = "object"
# The names of inputs and parameters for a sampling rate.
RATE_NAMES = frozenset({"sampling_rate", "sample_rate", "samplerate", "rate", "sr", "fs"})
_ARRAY, _TUPLE = 1, 2
_PLAIN = {str, int, float, bool, bytes, type(None)}
# Kinds of arrays of Python objects or strings, which are sent as lists.
_OBJECTS = "OU"
# dtypes of torch that numpy lacks; float32 represents each of their values.
ONLY_TORCH = ("bfloat16", "float8")
_ITEM = msgspec.msgpack.Encoder()
_INDEX = 4


class Samples(np.ndarray[Any, Any]):
    """Audio: an array of samples that knows its sampling rate, in Hz.

    What is computed from it element by element has the same rate.

    Attributes:
        sampling_rate: in Hz.
        wanted: whether it is the rate that the model was registered with.
    """

    sampling_rate: int
    wanted: bool

    def __array_finalize__(self, source: Any) -> None:
        self.sampling_rate = getattr(source, "sampling_rate", 0)
        self.wanted = getattr(source, "wanted", False)


def samples_at(rate: int, samples: "np.ndarray[Any, Any]", *, wanted: bool = False) -> Samples:
    """Samples with their sampling rate in Hz; not a copy."""
    made = samples.view(Samples)
    made.sampling_rate, made.wanted = rate, wanted
    return made


def unknown_rate(rate: int) -> InvalidInput:
    """The error of a recording for a model of which no sampling rate is known."""
    return InvalidInput(
        f"The recording has {rate} Hz, but it is not known at which rate the model takes it.",
        hint="Register the model with its rate, like --audio-rate 16000: recordings of other rates "
        "are resampled then. Or send the samples as npy.",
    )


def pack(value: Any) -> Payload:
    """Encode data as frames; contiguous arrays are not copied.

    Args:
        value: arrays, torch tensors, dicts, lists, tuples, strings, bytes, numbers, None. Arrays
            of strings or other objects are decoded as lists.

    Raises:
        InvalidInput: it contains another type; the message names the type and its place.
    """
    if (array := as_array(value)) is not None and array.dtype.kind not in _OBJECTS:
        return _tensors([_pack(array, "", "data")])
    if isinstance(value, dict) and value and all(isinstance(key, str) and key for key in value):
        named = [(name, as_array(item)) for name, item in value.items()]
        arrays = [(name, a) for name, a in named if a is not None and a.dtype.kind not in _OBJECTS]
        if len(arrays) == len(named):
            return _tensors([_pack(array, name, f"data[{name!r}]") for name, array in arrays])
    found: list[tuple[TensorSpec, Buffer]] = []
    try:
        tree = _ITEM.encode(_flatten(value, found, "data", DEEPEST))
    except (TypeError, ValueError, OverflowError) as problem:
        raise InvalidInput(f"The data cannot be sent: {problem}.") from None
    return Payload(TREE, (tree, *(f for _, f in found)), tuple(s for s, _ in found))


def unpack(payload: Payload) -> Any:
    """Decode frames; arrays are read-only views of the frames.

    Raises:
        InvalidInput: the frames do not match their descriptions.
    """
    if payload.content_type == TREE:
        if not payload.frames:
            raise InvalidInput("The payload is a tree without its first frame.")
        arrays = _arrays(payload.tensors, payload.frames[1:])
        return _restore(memoryview(payload.frames[0]), [array for _, array in arrays], DEEPEST)
    arrays = _arrays(payload.tensors, payload.frames)
    if len(arrays) == 1 and not arrays[0][0]:
        return arrays[0][1]
    named = dict(arrays)
    if len(named) < len(arrays):
        raise InvalidInput("Two arrays have the same name.")
    return named


def as_array(value: Any) -> "np.ndarray[Any, Any] | None":
    """The value as an array: of numpy, or a torch tensor on any device; None for other types.

    Raises:
        InvalidInput: the tensor cannot be an array, for example because it is sparse, or values
            of the array are masked.
    """
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray and np.any(getattr(value, "mask", False)):
            raise InvalidInput(
                "An array with masked values cannot be sent.",
                hint="Replace them first, by a value that the model takes: array.filled(value)",
            )
        return value.view(np.ndarray) if isinstance(value, Samples) else value
    if isinstance(value, np.generic):
        return np.asarray(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        if str(tensor.dtype).removeprefix("torch.").startswith(ONLY_TORCH):
            tensor = tensor.float()
        try:
            return np.asarray(tensor.resolve_conj().resolve_neg())
        except (TypeError, RuntimeError) as problem:
            raise InvalidInput(f"A tensor cannot be sent: {problem}") from None
    return None


def dtype_for(name: str) -> "np.dtype[Any]":
    """The numpy dtype for inputs that a signature calls ``name``; float32 for those numpy lacks.

    Raises:
        InvalidInput: the dtype is unknown.
    """
    if name.startswith(ONLY_TORCH):
        return DTYPES["float32"]
    if name not in DTYPES:
        raise _unknown_dtype(name)
    return DTYPES[name]


def item_of(spec: TensorSpec) -> TensorSpec:
    """The description of each array of an input that is a list of arrays."""
    return TensorSpec(spec.name, spec.dtype.removeprefix(SEQUENCE).removesuffix(")"), ANY_SHAPE)


def _unknown_dtype(name: str) -> InvalidInput:
    return InvalidInput(
        f"{shown(name)} is not a numeric dtype.", hint=f"Dtypes are: {', '.join(DTYPES)}."
    )


def holds_text(array: "np.ndarray[Any, Any]") -> bool:
    """Whether an array contains strings: numpy's, or Python's as ONNX Runtime returns them."""
    if array.dtype.kind == "O":
        return array.size > 0 and all(isinstance(item, str) for item in array.ravel())
    return bool(array.dtype.kind == "U")


def _tensors(packed: Sequence[tuple[TensorSpec, Buffer]]) -> Payload:
    return Payload(TENSORS, tuple(f for _, f in packed), tuple(s for s, _ in packed))


def _pack(array: "np.ndarray[Any, Any]", name: str, where: str) -> tuple[TensorSpec, Buffer]:
    dtype_name = _NAMES.get(array.dtype) or array.dtype.name
    if (dtype := DTYPES.get(dtype_name)) is None:
        raise InvalidInput(
            f"{where} is an array of {array.dtype}, which cannot be sent.",
            hint="Send arrays of numbers, booleans or strings.",
        )
    plain = np.asarray(array, dtype, order="C")
    frame: Buffer = plain.reshape(-1).view(np.uint8).data if plain.size else b""
    return TensorSpec(name, dtype_name, plain.shape), frame


def _arrays(
    tensors: Sequence[TensorSpec], frames: Sequence[Buffer]
) -> "list[tuple[str, np.ndarray[Any, Any]]]":
    if len(tensors) != len(frames):
        raise InvalidInput(
            f"The header describes {len(tensors)} arrays, but there are {len(frames)} frames."
        )
    return [(spec.name, _array(spec, frame)) for spec, frame in zip(tensors, frames, strict=True)]


def _array(spec: TensorSpec, frame: Buffer) -> "np.ndarray[Any, Any]":
    if spec.dtype not in DTYPES:
        raise _unknown_dtype(spec.dtype)
    return view(frame, DTYPES[spec.dtype], spec.shape, spec.dtype)


def view(
    frame: Buffer, dtype: "np.dtype[Any]", shape: tuple[int, ...], what: str
) -> "np.ndarray[Any, Any]":
    """The bytes of a frame as an array, without a copy.

    Args:
        frame: the elements in C order.
        dtype: of the elements.
        shape: the length of each axis.
        what: the beginning of an error message.

    Raises:
        InvalidInput: the shape is not valid, or does not match the number of bytes.
    """
    size = memoryview(frame).nbytes
    if min(shape, default=0) < 0:
        raise InvalidInput(f"{what}{shown(list(shape))} has an axis of negative length.")
    if (wanted := math.prod(shape) * dtype.itemsize) != size:
        raise InvalidInput(
            f"{what}{shown(list(shape))} needs {wanted} bytes, but the frame has {size}."
        )
    # As text, an array without elements is as long as its other axes.
    if not size and math.prod(filter(None, shape)) > _LONGEST_EMPTY:
        raise InvalidInput(f"{what}{shown(list(shape))} is an empty array with too many rows.")
    try:
        return np.frombuffer(frame, dtype).reshape(shape)
    except ValueError as problem:  # 65 axes
        raise InvalidInput(f"The shape is not valid: {problem}.") from None


def _flatten(value: Any, found: list[tuple[TensorSpec, Buffer]], where: str, depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {DEEPEST} levels.")
    if type(value) in _PLAIN:
        return value
    if (array := as_array(value)) is not None:
        if array.dtype.kind in _OBJECTS:
            return _flatten(array.tolist(), found, where, depth)
        found.append(_pack(array, "", where))
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
    if isinstance(value, str | int | float | bytes):
        return value
    raise InvalidInput(
        f"{where} is a {type(value).__name__}, which cannot be sent.",
        hint="Send arrays, tensors, numbers, strings, and dicts, lists and tuples of them.",
    )


def _restore(tree: memoryview, arrays: list[Any], depth: int) -> Any:
    if depth == 0:
        raise InvalidInput(f"The data is nested deeper than {DEEPEST} levels.")

    def extension(code: int, data: memoryview) -> Any:
        if code == _TUPLE:
            return tuple(_restore(data, arrays, depth - 1))
        index = int.from_bytes(data, "little")
        if code != _ARRAY or index >= len(arrays):
            raise InvalidInput(f"The tree refers to array {index} of {len(arrays)}.")
        return arrays[index]

    try:
        return msgspec.msgpack.decode(tree, ext_hook=extension)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as problem:
        raise InvalidInput(f"The tree cannot be decoded: {error_text(problem)}.") from None
