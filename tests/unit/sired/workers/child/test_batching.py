"""Inputs run together where that gives the answers they get alone, and only there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sired.runtimes.support.comparison import alike
from sired.workers.child.batching import Batches


class Model:
    """Counts how it is called; doubles what it is given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, data: Any) -> Any:
        self.calls.append(len(data))
        return data * 2


def answers(batches: Batches, inputs: list[Any]) -> list[Any]:
    outcomes = dict(batches.run(inputs))
    assert sorted(outcomes) == list(range(len(inputs)))
    return [outcomes[place].answer for place in range(len(inputs))]


def rows(*values: int) -> NDArray[Any]:
    return np.array([[value] for value in values], np.float32)


def tried(model: Model, size: int) -> Batches:
    """Batches of a model that has passed its trial; the calls so far are forgotten."""
    batches = Batches(model, size)
    list(batches.run([rows(1), rows(2)]))
    model.calls.clear()
    return batches


def test_what_fits_runs_in_one_pass_and_each_gets_its_own_rows() -> None:
    model = Model()
    found = answers(tried(model, 8), [rows(1), rows(2, 3), rows(4)])
    assert [answer.tolist() for answer in found] == [[[2]], [[4], [6]], [[8]]]
    assert model.calls == [4]


def test_the_first_batch_runs_both_ways_again_and_among_rows_of_another_scale() -> None:
    model = Model()
    batches = Batches(model, 8)
    answers(batches, [rows(1), rows(2)])
    assert model.calls == [1, 1, 1, 2, 1, 3]


def test_the_trial_has_no_more_rows_than_allowed_either() -> None:
    model = Model()
    answers(Batches(model, 2), [rows(1), rows(2)])
    assert max(model.calls) == 2


def test_no_pass_has_more_rows_than_allowed() -> None:
    model = Model()
    answers(tried(model, 3), [rows(1), rows(2), rows(3), rows(4), rows(5, 6, 7, 8)])
    assert sorted(model.calls) == [1, 3, 4]  # the last one is too large by itself


@pytest.mark.parametrize(
    "other",
    [np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float64), np.float32(1), "text"],
    ids=["shape", "dtype", "no-rows", "text"],
)
def test_what_does_not_fit_runs_alone_beside_what_does(other: Any) -> None:
    model = Model()
    model.__class__ = type("Any", (Model,), {"__call__": lambda self, data: data})
    found = answers(tried(model, 8), [rows(1), other, rows(2)])
    assert found[0].tolist() == [[1]]
    assert found[2].tolist() == [[2]]
    assert np.array_equal(found[1], other)


def test_inputs_by_name_are_joined_by_name() -> None:
    batches = Batches(lambda data: {"sum": data["a"] + data["b"]}, 8)
    inputs = [{"a": rows(1), "b": rows(10)}, {"b": rows(20), "a": rows(2)}]
    for _ in range(2):  # on trial, and after
        assert [a["sum"].tolist() for a in answers(batches, inputs)] == [[[11]], [[22]]]


def test_one_bad_input_fails_alone() -> None:
    def model(data: Any) -> Any:
        if (data < 0).any():
            raise ValueError("below zero")
        return data

    batches = tried_with(model)
    outcomes = dict(batches.run([rows(1), rows(-1), rows(3)]))
    assert isinstance(outcomes[1].error, ValueError)
    assert [outcomes[place].answer.tolist() for place in (0, 2)] == [[[1]], [[3]]]
    assert dict(batches.run([rows(1), rows(2)]))[0].error is None


def tried_with(model: Callable[[Any], Any]) -> Batches:
    batches = Batches(model, 8)
    list(batches.run([rows(1), rows(2)]))
    return batches


@pytest.mark.parametrize(
    "model",
    [
        lambda data: data - data.mean(axis=0),
        lambda data: data.sum(),
        lambda data: {"rows": len(data)},
        lambda data: data[:1],
    ],
    ids=["mixes-rows", "one-number", "counts", "too-few"],
)
def test_a_model_that_answers_otherwise_in_a_batch_is_never_batched(
    model: Callable[[Any], Any],
) -> None:
    calls = []

    def watched(data: Any) -> Any:
        calls.append(len(data))
        return model(data)

    batches = Batches(watched, 8)
    for _ in range(2):
        calls.clear()
        outcomes = dict(batches.run([rows(1), rows(2)]))
        assert [outcomes[n].answer for n in (0, 1)] == [model(rows(1)), model(rows(2))]
    assert calls == [1, 1]


def test_answers_in_a_batch_may_differ_by_rounding() -> None:
    def model(data: Any) -> Any:
        return data * np.float32(1 + 1e-6 * len(data))

    model_calls = []

    def watched(data: Any) -> Any:
        model_calls.append(len(data))
        return model(data)

    batches = Batches(watched, 8)
    answers(batches, [rows(1), rows(2)])
    model_calls.clear()
    answers(batches, [rows(1), rows(2)])
    assert model_calls == [2]


def test_answers_are_held_against_each_other_as_exactly_as_they_were_computed() -> None:
    one, other = np.array([1, 2], np.float32), np.array([1.004, 2], np.float32)
    assert not alike(one, other)
    assert alike(one, other, precision=2)
    assert not alike(one, np.array([1.1, 2], np.float32), precision=2)
    assert alike({"a": [one]}, {"a": [other]}, precision=2)


class Quantised:
    """Rounds to 256 steps of the range of all rows, as dynamic quantisation does."""

    def __call__(self, data: Any) -> Any:
        step = np.float32((np.abs(data).max() or 1) / 127)
        return np.round(data / step) * step


class Threshold:
    """Changes what it does when any row of a batch is large, which is seldom."""

    def __call__(self, data: Any) -> Any:
        return data * 2 if np.abs(data).max() < 1000 else data * 3


def unit_variance(data: Any) -> Any:
    return data / (data.std(axis=0) + 1) if len(data) > 1 else data


@pytest.mark.parametrize(
    "model",
    [
        lambda data: data - data.mean(axis=0) + 7,
        lambda data: data - data.max(),
        unit_variance,
        Quantised(),
        lambda data: np.cumsum(data, axis=0),
        lambda data: data[np.argsort(data[:, 0])],
        lambda data: data + np.arange(len(data), dtype=np.float32)[:, None],
        lambda data: data[:, : max(1, int((data != 0).sum(axis=1).max()))],
    ],
    ids=["mean", "max", "variance", "quantised", "sum", "sorted", "place", "trimmed"],
)
def test_equal_rows_show_nothing_so_a_model_that_mixes_rows_is_found_with_them_too(
    model: Callable[[Any], Any],
) -> None:
    batches = Batches(model, 8, 4)
    one, other, third = (np.array([row], np.float32) for row in ([1, 2], [5, 0], [50, 60]))
    for _ in range(3):
        answers(batches, [one, one, one])
    inputs = [one, other, third]
    found = answers(batches, inputs)
    assert [one.tolist() for one in found] == [model(data).tolist() for data in inputs]
    assert batches.alone


@pytest.mark.parametrize(
    "equal", [np.array([[3]]), np.array([3]), rows(0)], ids=["integer", "flat", "zeros"]
)
def test_rows_that_cannot_be_told_apart_run_alone_until_others_come(equal: Any) -> None:
    model = Model()
    batches = Batches(model, 8)
    for _ in range(4):
        answers(batches, [equal, equal])
    model.calls.clear()
    answers(batches, [equal, equal])
    assert set(model.calls) == {1}  # the trial is repeated ever less often
    for _ in range(8):
        answers(batches, [equal, equal + 1])
    model.calls.clear()
    answers(batches, [equal, equal + 1])
    assert model.calls == [2]
    assert not batches.alone


@pytest.mark.parametrize("kind", ["state", "random"])
def test_a_model_that_answers_the_same_input_differently_runs_alone(kind: str) -> None:
    generator = np.random.default_rng(0)
    seen = []

    def model(data: Any) -> Any:
        seen.append(1)
        return data + (len(seen) if kind == "state" else generator.random(dtype=np.float32))

    batches = Batches(model, 8, 4)
    answers(batches, [rows(1), rows(2)])
    assert "same input differently" in batches.alone


def test_a_dependence_that_the_trial_cannot_find_is_found_later_and_nobody_gets_its_answers() -> (
    None
):
    model = Threshold()
    batches = Batches(model, 8, 4)
    for number in range(50):
        answers(batches, [rows(number), rows(2)])
    assert not batches.alone
    batches._batch_seconds = 1e6  # a check is due, whichever input it is of
    inputs = [rows(1), rows(5000), rows(3)]
    for _ in range(50):
        found = answers(batches, inputs)
        if batches.alone:
            break
    assert "other rows" in batches.alone
    assert [one.tolist() for one in found] == [model(data).tolist() for data in inputs]


def test_the_first_batch_of_each_shape_is_checked_and_others_within_a_hundredth_of_the_time() -> (
    None
):
    model = Model()
    batches = tried(model, 8)
    wide = [np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)]
    answers(batches, wide)
    assert model.calls == [2, 1]
    model.calls.clear()
    batches._check_seconds = 1.0
    for _ in range(20):
        answers(batches, wide)
    assert model.calls == [2] * 20


def test_a_batch_that_exhausts_memory_makes_batches_smaller() -> None:
    def model(data: Any) -> Any:
        if len(data) > 4:
            raise MemoryError("too many")
        return data * 2

    batches = tried_with(model)
    inputs = [rows(n) for n in range(8)]
    assert [one.tolist() for one in answers(batches, inputs)] == [[[2 * n]] for n in range(8)]
    assert not batches.alone
    passes = []

    def watched(data: Any) -> Any:
        passes.append(len(data))
        return model(data)

    batches._predict = watched
    answers(batches, inputs)
    assert passes == [4, 4]


def test_checks_leave_the_generators_of_models_alone() -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    batches = tried(Model(), 8)
    batches._batch_seconds = 1e6
    answers(batches, [rows(1), rows(2)])
    assert random.random() == expected


def test_pictures_of_any_size_and_objects_run_together() -> None:
    def items(*given: Any) -> Any:
        made = np.empty(len(given), object)
        made[:] = given
        return made

    def predict(data: Any) -> Any:
        return np.array([float(np.mean(item["x"])) for item in data])

    pictures = [np.full((side, 2, 3), side, np.uint8) for side in (2, 3, 4)]
    batches = Batches(predict, 8)
    for _ in range(2):
        inputs = [items({"x": picture}) for picture in pictures]
        outcomes = dict(batches.run(inputs))
        assert [outcomes[place].answer.tolist() for place in range(3)] == [[2.0], [3.0], [4.0]]
    assert batches.alone == ""
