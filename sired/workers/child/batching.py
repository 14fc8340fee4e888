"""One forward pass for several requests.

1. Inputs whose arrays agree in names, dtypes and shapes, but for the first axis, go together: up to
   ``size`` rows, in their order.
2. Their arrays are joined along the first axis, the model runs once, and its answer is cut at the
   same places.
3. If that fails, in whatever way, each of them runs alone: what is wrong with one harms no other.
   If nothing is wrong with any, the model takes no batches, or has not the memory: there are none
   from then on.
4. The first batch runs both ways. If the answers differ by more than rounding does, the model mixes
   its rows or counts them: there are no batches from then on, either.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

log = logging.getLogger("sired.worker")

# How far answers may lie apart, relative to the largest number among them: sums are added up in
# another order, and half precision keeps three digits.
_ROUNDING = {2: 2e-2, 4: 1e-4, 8: 1e-8}

Predict = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one input: an answer or an error, and the seconds its pass took."""

    answer: Any
    error: BaseException | None
    seconds: float


class Batches:
    """Runs inputs together where they fit together and the model allows it.

    Args:
        predict: one forward pass.
        size: rows of one pass at most.
        precision: bytes of the numbers that the model computes in.
    """

    def __init__(self, predict: Predict, size: int, precision: int = 8) -> None:
        self._precision = precision
        self._predict = predict
        self._size = size
        self._tried = False

    def run(self, inputs: Sequence[Any]) -> Iterator[tuple[int, BatchResult]]:
        """Answer every input; yields its place among them and its outcome as they come."""
        for places in self._parts(inputs):
            outcomes = self._run_part([inputs[place] for place in places])
            yield from zip(places, outcomes, strict=True)

    def _parts(self, inputs: Sequence[Any]) -> list[list[int]]:
        """The places of the inputs that run together, in the order of the first of each."""
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
            return [self._alone(inputs[0])]
        together = self._together(inputs)
        if together is not None and self._tried:
            return together
        alone = [self._alone(data) for data in inputs]
        if not any(outcome.error for outcome in alone):
            self._judge(alone, together)
        return alone

    def _judge(self, alone: list[BatchResult], together: list[BatchResult] | None) -> None:
        """Nothing is wrong with these inputs: does the model answer them in a batch as well?"""
        self._tried = together is not None and all(
            alike(one.answer, other.answer, self._precision)
            for one, other in zip(alone, together, strict=True)
        )
        if not self._tried:
            log.warning("it does not answer in a batch what it answers alone: no more batches")
            self._size = 1

    def _alone(self, data: Any) -> BatchResult:
        began = time.perf_counter()
        try:
            answer, error = self._predict(data), None
        except BaseException as problem:
            answer, error = None, problem
        return BatchResult(answer, error, time.perf_counter() - began)

    def _together(self, inputs: list[Any]) -> list[BatchResult] | None:
        """All of them in one pass; None when that did not work out."""
        counts = [_rows(data) for data in inputs]
        began = time.perf_counter()
        try:
            answers = _cut(self._predict(_joined(inputs)), counts)
        except Exception as problem:
            log.warning("a batch of %d failed and each runs alone: %s", len(inputs), problem)
            return None
        seconds = time.perf_counter() - began
        return [BatchResult(answer, None, seconds) for answer in answers]


def _kind(data: Any) -> Any:
    """What inputs that fit together have in common; None for one that fits with none."""
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


def _cut(answer: Any, counts: list[int]) -> list[Any]:
    """The rows of an answer that are each input's.

    Raises:
        ValueError: it has not one row for each that went in.
    """
    if isinstance(answer, np.ndarray) and answer.ndim and len(answer) == sum(counts):
        return np.split(answer, np.cumsum(counts)[:-1])
    if isinstance(answer, dict) and answer:
        columns = [_cut(item, counts) for item in answer.values()]
        return [dict(zip(answer, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(answer, tuple | list) and answer:
        items = [_cut(item, counts) for item in answer]
        return [type(answer)(row) for row in zip(*items, strict=True)]
    raise ValueError("its answer has not one row for each that went in")


def alike(one: Any, other: Any, precision: int = 8) -> bool:
    """Whether two answers are the same but for rounding.

    Args:
        one: an answer.
        other: another.
        precision: bytes of the numbers they were computed in; they may be given in more.
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
