"""Converts arrays to tensors, and outputs of any structure to arrays."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from sire.errors import InvalidInput

# Inputs are read-only views of the request's bytes. A model that writes to its input nevertheless
# writes to memory that nothing else uses.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

# numpy does not have these; float32 represents all of their values.
_ONLY_TORCH = ("torch.bfloat16", "torch.float8")
# The dtypes of numpy with the range of torch's; bfloat16 has that of float32.
_NARROW: dict[torch.dtype, np.dtype[Any]] = {
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(np.float32),
    torch.float32: np.dtype(np.float32),
}
# Batch, channels, height and width.
_IMAGE_AXES = 4


def to_tensors(
    value: Any, device: torch.device, precision: torch.dtype | None, *, pinned: bool = False
) -> Any:
    """Move every array in the data to a device, at any depth.

    Args:
        value: arrays, or dicts, lists and tuples of them; anything else is returned unchanged.
        device: of the model.
        precision: dtype that floats are converted to; None to keep theirs.
        pinned: copy to pinned memory first, and from there to a GPU asynchronously.
    """
    if isinstance(value, np.ndarray | np.generic):
        tensor = _to_tensor(np.asarray(value), precision)
        if pinned:
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)
    if isinstance(value, dict):
        return {k: to_tensors(item, device, precision, pinned=pinned) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_tensors(item, device, precision, pinned=pinned) for item in value)
    return value


def replace_all(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """The data with every object of one type in it replaced, at any depth."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, dict):
        return {key: replace_all(item, kind, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replace_all(item, kind, replace) for item in value)
    return value


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """A 4-dimensional tensor with channels last in memory; any other tensor unchanged."""
    if tensor.ndim != _IMAGE_AXES:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def widened(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """A float16 array as float32; any other array unchanged."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in the result of ``to_tensors``."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def _to_tensor(array: "np.ndarray[Any, Any]", precision: torch.dtype | None) -> torch.Tensor:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    if precision is not None and array.dtype.kind == "f":
        # Converting before the copy halves the bytes to transfer.
        return torch.from_numpy(_narrow(array, precision)).to(precision)
    return torch.from_numpy(array)


def _narrow(array: "np.ndarray[Any, Any]", precision: torch.dtype) -> "np.ndarray[Any, Any]":
    """Convert floats to the dtype of numpy that has the range of the model's.

    Raises:
        InvalidInput: a number exceeds the range of the model's dtype.
    """
    wanted = _NARROW.get(precision)
    if wanted is None or array.dtype.itemsize <= wanted.itemsize:
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(wanted)
    except FloatingPointError:
        largest = np.finfo(wanted).max
        raise InvalidInput(
            f"The input has a number beyond ±{largest:.3g}, the largest {wanted.name}, in which "
            "the model computes."
        ) from None


def to_arrays(value: Any) -> Any:
    """Convert every tensor in an output to an array; bfloat16 and float8 become float32.

    Returns:
        A dict for mappings, dataclasses and named tuples; a tuple for objects with ``to_tuple``.
    """
    if isinstance(value, torch.Tensor):
        return _to_array(value)
    if isinstance(value, Mapping):
        return {key: to_arrays(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_arrays(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: to_arrays(item) for key, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        plain = list if isinstance(value, list) else tuple
        return plain(to_arrays(item) for item in value)
    if hasattr(value, "to_tuple"):
        return to_arrays(value.to_tuple())
    return value


def _to_array(tensor: torch.Tensor) -> "np.ndarray[Any, Any]":
    if str(tensor.dtype).startswith(_ONLY_TORCH):
        tensor = tensor.float()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    array: np.ndarray[Any, Any] = plain.numpy()
    return array
