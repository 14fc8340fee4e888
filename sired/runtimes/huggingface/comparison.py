"""Compares answers of single rows with answers of the same rows in one forward pass."""

from typing import Any

import numpy as np
import torch

# Tolerance by bytes of precision, relative to the largest number of an answer.
_ROUNDING = {2: 2e-2, 4: 1e-4}


def alike(one: Any, other: Any, precision: int = 4) -> bool:
    """Whether two answers are equal except for rounding.

    Args:
        one: numbers, strings, arrays, tensors, images, and lists, tuples and dicts of them.
        other: another answer.
        precision: bytes of the numbers that both were computed in.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        same = one.keys() == other.keys()
        return same and all(alike(one[name], other[name], precision) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(alike(a, b, precision) for a, b in pairs)
    a, b = _array(one), _array(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "fc" or b.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    largest = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return np.allclose(a, b, rtol=0, atol=largest * _ROUNDING[min(precision, 4)], equal_nan=True)


def _array(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)
