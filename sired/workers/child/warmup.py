"""Runs a loaded model on zeros, to do the work that would delay the first requests.

Kernels are selected, buffers allocated and code compiled in the first run, and again for shapes of
another kind. Axes of any length are run with several lengths: compilers generate code for any
length only once they have seen two, and separate code for a single row. The outputs show the shapes
that the model returns.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sire.errors import LoadFailed
from sire.spec import ANY_SHAPE, Signature, TensorSpec
from sire.tensors import ANYTHING, TEXT_DTYPES, dtype_for
from sired.codecs.check import constant

# Lengths of the first axis, if it is of any length, and of other such axes. The outputs of the
# first two runs are compared; a single row comes last.
_LENGTHS = ((2, 32), (3, 48), (1, 32))
# Maximum numbers in an input; running larger ones would cost more than it saves.
_MOST_NUMBERS = 1 << 24

log = logging.getLogger("sired.worker")


def warm_up(predict: Callable[[Any], Any], signature: Signature) -> tuple[TensorSpec, ...]:
    """Run a model on zeros of every kind of shape that it takes.

    Errors are ignored, because not every model takes zeros.

    Args:
        predict: runs the model on the result of ``codecs.decode``.
        signature: of the model.

    Returns:
        The outputs, as far as they can be determined: -1 for axes that depend on the inputs.

    Raises:
        LoadFailed: the model cannot run at all.
    """
    outputs = []
    for first, others in _LENGTHS if _has_variable_axes(signature) else _LENGTHS[:1]:
        data = _zeros(signature, first, others)
        if data is None:
            return ()
        try:
            outputs.append(predict(data))
        except LoadFailed:
            raise
        except Exception as problem:
            reason = " ".join(str(problem).split())[:300]
            log.info("not warmed up: it failed on zeros: %s: %s", type(problem).__name__, reason)
            return ()
    return _outputs(outputs[0], outputs[min(1, len(outputs) - 1)])


def _has_variable_axes(signature: Signature) -> bool:
    return any(axis < 0 for tensor in signature.inputs for axis in tensor.shape)


def _zeros(signature: Signature, first: int, others: int) -> Any:
    """Zeros and empty strings in the shapes of the inputs, and the declared constants.

    None if they are too large, or if an input is not an array of a known number of axes.
    """
    arrays = {}
    for spec in signature.inputs:
        if spec.constant:
            arrays[spec.name] = constant(spec)
            continue
        if spec.optional:
            continue
        if spec.shape == ANY_SHAPE or spec.dtype == ANYTHING:
            return None
        lengths = [first, *[others] * len(spec.shape)]
        pairs = zip(spec.shape, lengths, strict=False)
        shape = [axis if axis >= 0 else length for axis, length in pairs]
        if math.prod(shape) > _MOST_NUMBERS:
            return None
        if spec.dtype in TEXT_DTYPES:
            arrays[spec.name] = np.full(shape, "", object)
        else:
            arrays[spec.name] = np.zeros(shape, dtype_for(spec.dtype))
    return next(iter(arrays.values())) if len(signature.inputs) == 1 else arrays


def _outputs(one: Any, other: Any) -> tuple[TensorSpec, ...]:
    """The common signature of two outputs; empty unless all are arrays with the same rank."""
    names, others = list(_named(one)), _named(other)
    found = [_output(name, _named(one)[name], others.get(name)) for name in names]
    specs = tuple(spec for spec in found if spec is not None)
    return specs if len(specs) == len(found) else ()


def _output(name: Any, one: Any, other: Any) -> TensorSpec | None:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return None
    if one.ndim != other.ndim:
        return None
    shape = tuple(n if n == m else -1 for n, m in zip(one.shape, other.shape, strict=True))
    dtype = "string" if one.dtype == object else one.dtype.name
    return TensorSpec(name if isinstance(name, str) else "", dtype, shape)


def _named(answer: Any) -> Mapping[Any, Any]:
    """The parts of an output by name, or by index if they have none."""
    if isinstance(answer, dict):
        return answer
    return dict(enumerate(answer if isinstance(answer, tuple | list) else (answer,)))
