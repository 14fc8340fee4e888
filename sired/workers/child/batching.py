"""Runs several requests in one forward pass.

1. Inputs whose arrays have the same names, dtypes and shapes, except for the first axis, form a
   batch of up to ``size`` rows, in order.
2. Their arrays are concatenated along the first axis, the model runs once, and its output is split
   at the same rows.
3. If that fails, each input runs alone, so that an invalid one does not affect the others. If all
   succeed alone, the model cannot run batches, or lacks the memory, and batching is disabled.
4. The first batch is run both ways. If the outputs differ by more than rounding, the model's rows
   influence each other, and batching is disabled.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

log = logging.getLogger("sired.worker")

# Tolerance by bytes of precision, relative to the largest number: sums are computed in another
# order, and half precision has three digits.
_ROUNDING = {2: 2e-2, 4: 1e-4, 8: 1e-8}

Predict = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one input: an output or an error, and the seconds that its pass took."""

    answer: Any
    error: BaseException | None
    seconds: float


class Batches:
    """Runs inputs in batches if they match and the model supports it.

    Args:
        predict: one forward pass.
        size: maximum number of rows of a pass.
        precision: bytes of the numbers that the model computes in.
    """

    def __init__(self, predict: Predict, size: int, precision: int = 8) -> None:
        self._precision = precision
        self._predict = predict
        self._size = size
        self._verified = False

    def run(self, inputs: Sequence[Any]) -> Iterator[tuple[int, BatchResult]]:
        """Run every input; yields its index and its result as they are available."""
        for places in self._parts(inputs):
            outcomes = self._run_part([inputs[place] for place in places])
            yield from zip(places, outcomes, strict=True)

    def _parts(self, inputs: Sequence[Any]) -> list[list[int]]:
        """The indices of the inputs of each batch, in the order of the first input of each."""
        parts: list[list[int]] = []
        filling: dict[Any, tuple[list[int], int]] = {}
        for place, data in enumerate(inputs):
            kind = _kind(data) if self._size > 1 else None
            rows = _rows(data) if kind is not None else self._size
            part, filled = filling.get(kind, ([], self._size))
            if kind is None or filled + rows > self._size:
                part, filled = [], 0
                parts.append(part)
            part.append(place)
            filling[kind] = part, filled + rows
        return parts

    def _run_part(self, inputs: list[Any]) -> list[BatchResult]:
        if len(inputs) == 1:
            return [self._run_single(inputs[0])]
        together = self._run_batch(inputs)
        if together is not None and self._verified:
            return together
        alone = [self._run_single(data) for data in inputs]
        if not any(outcome.error for outcome in alone):
            self._verify(alone, together)
        return alone

    def _verify(self, alone: list[BatchResult], together: list[BatchResult] | None) -> None:
        """Compare results alone and in a batch; disable batching if they differ."""
        self._verified = together is not None and all(
            alike(one.answer, other.answer, self._precision)
            for one, other in zip(alone, together, strict=True)
        )
        if not self._verified:
            log.warning("outputs differ between a batch and single inputs: batching is disabled")
            self._size = 1

    def _run_single(self, data: Any) -> BatchResult:
        began = time.perf_counter()
        try:
            answer, error = self._predict(data), None
        except BaseException as problem:
            answer, error = None, problem
        return BatchResult(answer, error, time.perf_counter() - began)

    def _run_batch(self, inputs: list[Any]) -> list[BatchResult] | None:
        """Run all inputs in one pass; None if it fails."""
        counts = [_rows(data) for data in inputs]
        began = time.perf_counter()
        try:
            answers = _split(self._predict(_joined(inputs)), counts)
        except Exception as problem:
            log.warning("a batch of %d failed, so each input runs alone: %s", len(inputs), problem)
            return None
        seconds = time.perf_counter() - began
        return [BatchResult(answer, None, seconds) for answer in answers]


def _kind(data: Any) -> Any:
    """The key that inputs of one batch share; None for inputs that cannot be batched."""
    arrays = data if isinstance(data, dict) else {"": data}
    if not arrays or not all(isinstance(a, np.ndarray) and a.ndim for a in arrays.values()):
        return None
    if len({len(array) for array in arrays.values()}) > 1:
        return None
    return tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(arrays.items()))


def _rows(data: Any) -> int:
    return len(next(iter(data.values())) if isinstance(data, dict) else data)


def _joined(inputs: list[Any]) -> Any:
    if isinstance(inputs[0], dict):
        return {name: np.concatenate([data[name] for data in inputs]) for name in inputs[0]}
    return np.concatenate(inputs)


def _split(answer: Any, counts: list[int]) -> list[Any]:
    """Split an output into the rows of each input.

    Raises:
        ValueError: the number of its rows is not that of the inputs.
    """
    if isinstance(answer, np.ndarray) and answer.ndim and len(answer) == sum(counts):
        return np.split(answer, np.cumsum(counts)[:-1])
    if isinstance(answer, dict) and answer:
        columns = [_split(item, counts) for item in answer.values()]
        return [dict(zip(answer, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(answer, tuple | list) and answer:
        items = [_split(item, counts) for item in answer]
        return [type(answer)(row) for row in zip(*items, strict=True)]
    raise ValueError("the output does not have one row for each row of the inputs")


def alike(one: Any, other: Any, precision: int = 8) -> bool:
    """Whether two outputs are equal except for rounding.

    Args:
        one: an output.
        other: another output.
        precision: bytes of the numbers that they were computed in; their dtype may be wider.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        same_keys = one.keys() == other.keys()
        return same_keys and all(alike(one[key], other[key], precision) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(alike(a, b, precision) for a, b in pairs)
    a, b = np.asarray(one), np.asarray(other)
    if a.dtype == b.dtype == object and a.shape == b.shape and a.ndim:
        return alike(a.tolist(), b.tolist(), precision)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc" or not a.size:
        return np.array_equal(a, b)
    largest = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
    rounding = _ROUNDING.get(min(precision, a.real.dtype.itemsize), 1e-8)
    return np.allclose(a, b, rtol=0, atol=float(largest) * rounding, equal_nan=True)
