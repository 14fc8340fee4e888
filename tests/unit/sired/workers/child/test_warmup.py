"""Trying a model on zeros: it is warm for any length then, and its answers have been seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sire.errors import LoadFailed
from sire.spec import Signature, TensorSpec
from sired.workers.child.warmup import warm_up


def taking(*specs: Any) -> Signature:
    return Signature(tuple(TensorSpec(*spec) for spec in specs))


def test_free_axes_are_tried_at_several_lengths_one_row_included() -> None:
    seen = []

    def predict(data: Any) -> Any:
        seen.append((data.shape, data.dtype, data.any()))
        return data.sum(axis=2)

    (output,) = warm_up(predict, taking(("x", "float32", (-1, 3, -1))))
    assert sorted(shape[0] for shape, _, _ in seen) == [1, 2, 3]
    assert len({shape[2] for shape, _, _ in seen}) > 1
    assert {(shape[1], dtype.name, any_) for shape, dtype, any_ in seen} == {(3, "float32", False)}
    assert (output.dtype, output.shape) == ("float32", (-1, 3))


def test_without_free_axes_it_is_tried_once() -> None:
    seen = []

    def compute(data: Any) -> Any:
        seen.append(1)
        return data

    outputs = warm_up(compute, taking(("", "int64", (2, 2))))
    assert len(seen) == 1
    assert outputs == (TensorSpec("", "int64", (2, 2)),)


def test_several_inputs_and_outputs_go_by_name() -> None:
    def predict(data: Any) -> Any:
        return {"sum": data["a"] + 1, "length": np.float32(len(data["text"])).reshape(1)}

    specs = (("a", "float16", (-1, 2)), ("text", "string", (-1,)))
    outputs = warm_up(predict, taking(*specs))
    assert outputs == (TensorSpec("sum", "float16", (-1, 2)), TensorSpec("length", "float32", (1,)))


def fails(error: Any) -> Callable[..., Any]:
    def predict(data: Any) -> None:
        raise error

    return predict


@pytest.mark.parametrize(
    "predict",
    [fails(ValueError("no zeros, please")), lambda data: "text", lambda data: [data, None]],
    ids=["error", "text", "list"],
)
def test_a_model_that_takes_no_zeros_or_gives_no_arrays_is_loaded_all_the_same(
    predict: Any,
) -> None:
    assert warm_up(predict, taking(("", "float32", (-1,)))) == ()


def test_one_that_will_never_answer_is_not() -> None:
    with pytest.raises(LoadFailed):
        warm_up(fails(LoadFailed("no compiler")), taking(("", "float32", (-1,))))


def test_what_would_take_too_much_memory_is_not_tried() -> None:
    def predict(data: Any) -> None:
        raise AssertionError("tried")

    assert warm_up(predict, taking(("", "float32", (-1, 1 << 30)))) == ()
