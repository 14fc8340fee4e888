"""Compares outputs of a model that were computed in different passes."""

from typing import Any

import numpy as np

from sire.tensors import as_array

# Tolerance by bytes of precision, relative to the largest number: sums are computed in another
# order, and half precision has three digits. Products in TensorFloat-32 have as few, and their sums
# more.
_ROUNDING = {2: 2e-2, 3: 3e-3, 4: 1e-4, 8: 1e-8}


def alike(one: Any, other: Any, precision: int = 8) -> bool:
    """Whether two outputs are equal except for rounding.

    Args:
        one: an output: arrays, tensors, numbers, strings, and dicts, lists and tuples of them.
        other: another output.
        precision: bytes of the numbers that they were computed in; their dtype may be wider. 3 is
            TensorFloat-32, in which GPUs multiply float32.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        same_keys = one.keys() == other.keys()
        return same_keys and all(alike(one[key], other[key], precision) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(alike(a, b, precision) for a, b in pairs)
    a, b = _array(one), _array(other)
    if a.dtype == b.dtype == object and a.shape == b.shape and a.ndim:
        return alike(a.tolist(), b.tolist(), precision)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc" or not a.size:
        return np.array_equal(a, b)
    largest = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
    rounding = _ROUNDING.get(min(precision, a.real.dtype.itemsize), 1e-8)
    return np.allclose(a, b, rtol=0, atol=float(largest) * rounding, equal_nan=True)


def _array(value: Any) -> Any:
    array = as_array(value)
    return np.asarray(value) if array is None else array
