"""Trying a model on zeros after it was loaded: what the first request would wait for is done then.

Kernels are chosen, buffers made and code compiled at the first run, and again for shapes of another
kind. A free axis is tried at several lengths: compilers make code for any length only once they
have seen two, and one of its own for a single row. What comes out tells the shapes of the answers.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sire.errors import LoadFailed
from sire.spec import Signature, TensorSpec
from sire.tensors import TEXT_DTYPES, dtype_for

# Lengths of the first axis where it is free, and of all others that are. A single row comes last:
# the first two are compared.
_LENGTHS = ((2, 32), (3, 48), (1, 32))
# Numbers in an input; beyond, trying would cost more than it saves.
_MOST_NUMBERS = 1 << 24

log = logging.getLogger("sired.worker")


def warm_up(predict: Callable[[Any], Any], signature: Signature) -> tuple[TensorSpec, ...]:
    """Run a model on zeros of every kind of shape that it takes.

    What it cannot answer is passed over: not every model takes zeros.

    Args:
        predict: one run; it gets what ``codecs.decode`` returns.
        signature: what the model takes.

    Returns:
        What it gives, as far as that can be seen: -1 for axes that follow those of the inputs.

    Raises:
        LoadFailed: it will answer nothing, ever.
    """
    answers = []
    for first, others in _LENGTHS if _is_free(signature) else _LENGTHS[:1]:
        data = _zeros(signature, first, others)
        if data is None:
            return ()
        try:
            answers.append(predict(data))
        except LoadFailed:
            raise
        except Exception as problem:
            said = " ".join(str(problem).split())[:300]
            log.info("not warmed up: on zeros it said %s: %s", type(problem).__name__, said)
            return ()
    return _outputs(answers[0], answers[min(1, len(answers) - 1)])


def _is_free(signature: Signature) -> bool:
    return any(axis < 0 for tensor in signature.inputs for axis in tensor.shape)


def _zeros(signature: Signature, first: int, others: int) -> Any:
    """Zeros, and empty texts, as the model takes them; None where it does not say, or too much."""
    arrays = {}
    for spec in signature.inputs:
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
    """What two answers have in common; nothing if they are not all arrays of as many axes."""
    names, others = list(_named(one)), _named(other)
    found = [_output(name, _named(one)[name], others.get(name)) for name in names]
    told = tuple(spec for spec in found if spec is not None)
    return told if len(told) == len(found) else ()


def _output(name: Any, one: Any, other: Any) -> TensorSpec | None:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return None
    if one.ndim != other.ndim:
        return None
    shape = tuple(n if n == m else -1 for n, m in zip(one.shape, other.shape, strict=True))
    dtype = "string" if one.dtype == object else one.dtype.name
    return TensorSpec(name if isinstance(name, str) else "", dtype, shape)


def _named(answer: Any) -> Mapping[Any, Any]:
    """The parts of an answer by name, or by place where they have none."""
    if isinstance(answer, dict):
        return answer
    return dict(enumerate(answer if isinstance(answer, tuple | list) else (answer,)))
