"""Numpy arrays into tensors, and whatever a model answers back into arrays."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sired.errors import InvalidInput

# Inputs are views of the request's bytes, marked read-only. A model that writes to its input all
# the same writes to a copy that nobody else has.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def to_tensors(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Turn every array in ``value`` into a tensor on ``device``, without a copy where possible.

    Args:
        value: arrays, and dicts, lists and tuples of them; anything else stays as it is.
        device: where the tensors are to be.
        dtype: what floating point numbers become; None leaves them. Numpy has no bfloat16, and
            its own numbers are float64, so a caller can hardly give what the weights are.

    Raises:
        InvalidInput: an array is not of numbers.
    """
    if isinstance(value, np.ndarray | np.generic):
        return _to_tensor(np.asarray(value), device, dtype)
    if isinstance(value, dict):
        return {key: to_tensors(item, device, dtype) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_tensors(item, device, dtype) for item in value)
    return value


def _to_tensor(
    array: np.ndarray[Any, Any], device: torch.device, dtype: torch.dtype | None
) -> torch.Tensor:
    if array.dtype.kind not in "biufc":
        raise InvalidInput(f"An array of {array.dtype} cannot become a tensor: it has no numbers.")
    # Tensors know neither foreign byte orders nor negative strides.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    tensor = torch.from_numpy(array)
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def to_arrays(value: Any) -> Any:
    """Turn every tensor in a model's answer into an array.

    Mappings, dataclasses and named tuples become dicts of what they hold; bfloat16 becomes
    float32, which holds every value of it. What is none of these stays as it is.
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
        return [*map(to_arrays, value)] if isinstance(value, list) else (*map(to_arrays, value),)
    return to_arrays(value.to_tuple()) if hasattr(value, "to_tuple") else value


def _to_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: np.ndarray[Any, Any] = tensor.contiguous().numpy()
    return array
