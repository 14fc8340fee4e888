"""Runs several requests in one forward pass, where it is shown that they do not affect each other.

1. Inputs whose arrays have the same names, dtypes and shapes, except for the first axis, form a
   batch of up to ``size`` rows, in order.
2. Their arrays are concatenated along the first axis, the model runs once, and its output is split
   at the same rows.
3. If that fails, each input runs alone, so that an invalid one does not affect the others. If all
   succeed alone, the model cannot run batches, and from then on each request runs alone. If memory
   was exhausted, batches become smaller.
4. Inputs are answered from a batch only after a trial (``_try``), which shows that the model
   answers an input as it does alone: when it runs again, among other inputs, beside a row of
   another scale, and beside one that ends in zeros. Rows that are all equal show nothing: they run
   alone, and the trial is repeated.
5. After the trial, one input of a batch is also run alone now and then, within a hundredth of the
   time: the first batch of each shape, and others at random.
6. If answers differ by more than rounding, the reason is reported, the answers are those of the
   inputs alone, and each request runs alone from then on.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.comparison import alike

log = logging.getLogger("sired.worker")

# The share of the time of batches that is spent on running inputs of them alone.
_CHECKED_SHARE = 0.01
# Shapes of which the first batch is checked.
_MOST_SHAPES = 4096
# Rows are made smaller in the trial, never larger: numbers can also stand for sizes and indices.
_SMALLER = 1 / 64
_SMALLER_BITS = 4

UNREPEATABLE = (
    "it answers the same input differently, because it draws random numbers or keeps state "
    "between requests"
)
DEPENDENT = "answers depend on the other rows of a batch"

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

    Attributes:
        alone: why requests run alone from now on; "" if they need not.
    """

    def __init__(self, predict: Predict, size: int, precision: int = 8) -> None:
        self.alone = ""
        self._precision = precision
        self._predict = predict
        self._size = size
        # Names, dtypes and ranks of inputs of which the trial has shown that they can run together,
        # and how often it was due for others.
        self._shown: set[Any] = set()
        self._due: Counter[Any] = Counter()
        self._shapes: set[Any] = set()
        self._batch_seconds = self._check_seconds = 0.0
        # Not the module's generator, which belongs to the model.
        self._random = random.Random()  # noqa: S311 (nothing secret)

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
        family = _family(inputs[0])
        if family not in self._shown:
            return self._try(inputs, family)
        together = self._run_batch(inputs)
        if isinstance(together, Exception):
            return self._run_each(inputs, together)
        self._batch_seconds += together[0].seconds
        return self._check(inputs, together) if self._is_check_due(inputs[0]) else together

    def _run_each(self, inputs: list[Any], failure: Exception) -> list[BatchResult]:
        """Run the inputs of a batch that failed."""
        alone = [self._run_single(data) for data in inputs]
        if any(outcome.error for outcome in alone):
            return alone
        if is_out_of_memory(failure):
            self._size = max(1, sum(map(_rows, inputs)) // 2)
            log.warning("out of memory: batches have at most %d rows from now on", self._size)
        else:
            self._run_alone(f"a batch fails where each input succeeds alone: {failure}")
        return alone

    # Showing that rows do not affect each other

    def _try(self, inputs: list[Any], family: Any) -> list[BatchResult]:
        """Run every input alone, and find out whether they can run together from now on."""
        alone = [self._run_single(data) for data in inputs]
        if any(outcome.error for outcome in alone):
            return alone
        self._due[family] += 1
        if self._due[family] & (self._due[family] - 1):  # no power of two
            return alone
        began = time.perf_counter()
        if self._is_independent(inputs, [outcome.answer for outcome in alone]):
            self._shown.add(family)
            self._shapes.add(_kind(inputs[0]))
        self._check_seconds += time.perf_counter() - began
        return alone

    def _is_independent(self, inputs: list[Any], answers: list[Any]) -> bool:
        """Whether it is shown that the inputs do not affect each other in a batch.

        If it is shown that they do, requests run alone from now on.
        """
        again = self._run_single(inputs[0])
        if again.error or not alike(answers[0], again.answer, self._precision):
            self._run_alone(UNREPEATABLE)
            return False
        if not self._is_same_together(inputs, answers):
            return False
        differ = not _all_equal(inputs)
        for companion in _companions(inputs[0]):
            outcome = self._run_single(companion)
            if outcome.error is None:
                mixed = self._mixed(companion, outcome.answer, inputs, answers)
                if not self._is_same_together(*mixed):
                    return False
                differ = True
        return differ

    def _mixed(
        self, companion: Any, answer: Any, inputs: list[Any], answers: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """A row among as many of the inputs as fit into a batch with it, and their answers."""
        given, expected, rows = [], [], 1
        for place in sorted(range(len(inputs)), key=lambda place: _rows(inputs[place])):
            rows += _rows(inputs[place])
            if rows > self._size:
                break
            given.append(inputs[place])
            expected.append(answers[place])
        given.insert(1, companion)
        expected.insert(1, answer)
        return given, expected

    def _is_same_together(self, inputs: list[Any], answers: list[Any]) -> bool:
        """Whether a batch gives these answers; if not, requests run alone from now on."""
        together = self._run_batch(inputs)
        if isinstance(together, Exception):
            self._run_alone(f"a batch fails where each input succeeds alone: {together}")
            return False
        for one, other in zip(answers, together, strict=True):
            if not alike(one, other.answer, self._precision):
                self._run_alone(DEPENDENT)
                return False
        return True

    def _is_check_due(self, data: Any) -> bool:
        kind = _kind(data)
        if kind not in self._shapes and len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(kind)
            return True
        return self._check_seconds < self._batch_seconds * _CHECKED_SHARE

    def _check(self, inputs: list[Any], together: list[BatchResult]) -> list[BatchResult]:
        """Run one input of a batch alone; if its answer differs, all of them."""
        place = self._random.randrange(len(inputs))
        checked = self._run_single(inputs[place])
        self._check_seconds += checked.seconds
        if not checked.error and alike(checked.answer, together[place].answer, self._precision):
            return together
        self._run_alone(DEPENDENT)
        return [
            checked if number == place else self._run_single(data)
            for number, data in enumerate(inputs)
        ]

    def _run_alone(self, reason: str) -> None:
        self.alone = " ".join(reason.split())
        self._size = 1
        log.warning("requests run alone from now on: %s", self.alone)

    # Passes

    def _run_single(self, data: Any) -> BatchResult:
        began = time.perf_counter()
        try:
            answer, error = self._predict(data), None
        except BaseException as problem:
            answer, error = None, problem
        return BatchResult(answer, error, time.perf_counter() - began)

    def _run_batch(self, inputs: list[Any]) -> list[BatchResult] | Exception:
        """Run all inputs in one pass; returns the error if it fails."""
        counts = [_rows(data) for data in inputs]
        began = time.perf_counter()
        try:
            answers = _split(self._predict(_joined(inputs)), counts)
        except Exception as problem:
            log.warning("a batch of %d failed, so each input runs alone: %s", len(inputs), problem)
            return problem
        seconds = time.perf_counter() - began
        return [BatchResult(answer, None, seconds) for answer in answers]


def _arrays(data: Any) -> dict[Any, Any]:
    return data if isinstance(data, dict) else {"": data}


def _kind(data: Any) -> Any:
    """The key that inputs of one batch share; None for inputs that cannot be batched."""
    arrays = _arrays(data)
    if not arrays or not all(isinstance(a, np.ndarray) and a.ndim for a in arrays.values()):
        return None
    if len({len(array) for array in arrays.values()}) > 1:
        return None
    return tuple((name, a.dtype.str, a.shape[1:]) for name, a in sorted(arrays.items()))


def _family(data: Any) -> Any:
    """The key that inputs share whose shapes differ in length only."""
    return tuple((name, a.dtype.str, a.ndim) for name, a in sorted(_arrays(data).items()))


def _rows(data: Any) -> int:
    return len(next(iter(data.values())) if isinstance(data, dict) else data)


def _all_equal(inputs: list[Any]) -> bool:
    """Whether all rows of all inputs are equal."""
    joined = _arrays(_joined(inputs))
    return all(all(_equal(row, array[0]) for row in array) for array in joined.values())


def _equal(one: Any, other: Any) -> bool:
    """Whether two rows are equal: arrays, or any objects such as texts and pictures."""
    plain = isinstance(one, np.ndarray) and one.dtype != object
    return bool(np.array_equal(one, other)) if plain else alike(one, other)


def _companions(data: Any) -> Iterator[Any]:
    """Rows like the first one of an input: of another scale, and with zeros at the end.

    Zeros are what sequences are padded with. Rows that equal the first one are left out.
    """
    first = {name: array[:1] for name, array in _arrays(data).items()}
    for change in (_scaled, _padded):
        made = {name: change(array) for name, array in first.items()}
        unchanged = (
            made[name] is array or _equal(made[name], array) for name, array in first.items()
        )
        if not all(unchanged):
            yield made if isinstance(data, dict) else made[""]


def _padded(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    if array.dtype.kind not in "fciub" or array.shape[-1] < 2:
        return array
    padded = array.copy()
    padded[..., array.shape[-1] // 2 :] = 0
    return padded


def _scaled(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    scaled = array
    if array.dtype.kind in "fc":
        scaled = np.multiply(array, array.dtype.type(_SMALLER), dtype=array.dtype)
    elif array.dtype == np.uint8:  # pixels
        scaled = np.right_shift(array, _SMALLER_BITS)
    return scaled


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
