"""Inputs whose dtypes are not declared reach a model as its own process would give them to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sire.errors import InferenceError, InvalidInput
from sired.runtimes.discovery import find_runtime

CLASSES = """
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
    def forward(self, x, mask=None):
        return self.layer(x) if mask is None else self.layer(x) * mask

class Mean(Linear):
    def forward(self, x):
        return self.layer(x - x.mean())

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 2)
        self.layer = nn.Linear(3, 2)
    def forward(self, ids, x):
        return self.embed(ids) + self.layer(x)

class Picky(Linear):
    def forward(self, x):
        raise RuntimeError("expected scalar type Float but found whatever")

class Sides(Linear):
    def forward(self, batch):
        return self.layer(batch["left"]) + self.layer(batch["right"])

class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.factor = nn.Parameter(torch.ones(2, dtype=torch.float16))
    def forward(self, x):
        return self.layer(x) * self.factor
"""
scope: dict[str, Any] = {"__name__": "nets"}
exec(CLASSES, scope)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Load a class with weights that its own process has as well; returns both, to be called."""
    (tmp_path / "nets.py").write_text(CLASSES)
    runtime = find_runtime("pytorch")

    def _load(name: Any) -> Any:
        torch.manual_seed(0)
        net = scope[name]().eval()
        save_file(net.state_dict(), tmp_path / "m")
        given = {"format": "safetensors", "model_class": f"{tmp_path}/nets.py:{name}"}
        model = runtime.load(str(tmp_path / "m"), **given)
        return lambda data: runtime.predict(model, data), net

    return _load


WHOLE = np.array([[1, 2, 3]])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64, np.float32])
@pytest.mark.parametrize("name", ["Linear", "Mean", "Mixed"])
def test_numbers_have_the_dtype_that_the_model_computes_in(
    load: Callable[..., Any], name: str, dtype: type[np.generic]
) -> None:
    predict, net = load(name)
    with torch.inference_mode():
        expected = net(torch.tensor([[1.0, 2, 3]])).numpy()
    for _ in range(2):
        np.testing.assert_array_equal(predict(WHOLE.astype(dtype)), expected)


def test_only_the_inputs_that_have_to_be_are_converted(load: Callable[..., Any]) -> None:
    predict, net = load("Both")
    with torch.inference_mode():
        expected = net(torch.tensor([7]), torch.tensor([[1.0, 2, 3]])).numpy()
    for data in ({"ids": np.array([7]), "x": WHOLE}, (np.array([7]), WHOLE)):
        for _ in range(2):
            np.testing.assert_array_equal(predict(data), expected)


def test_what_a_model_takes_is_found_out_once(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, _ = load("Linear")
    calls = []
    forward = nn.Linear.forward

    def counted(layer: Any, x: Any) -> Any:
        calls.append(1)
        return forward(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", counted)
    predict(WHOLE)
    assert len(calls) == 2
    predict(WHOLE)
    assert len(calls) == 3


def test_a_whole_number_that_would_be_rounded_is_refused_by_name(load: Callable[..., Any]) -> None:
    predict, _ = load("Linear")
    with pytest.raises(InvalidInput, match="16777217 is not exact in float32"):
        predict(np.array([[1, 2, 16777217]]))


def test_a_model_that_rejects_its_input_anyway_is_answered_with_what_it_was_given(
    load: Callable[..., Any],
) -> None:
    predict, _ = load("Picky")
    with pytest.raises(InferenceError, match="found whatever") as caught:
        predict(WHOLE)
    assert "int64[1,3]" in caught.value.hint
    assert "--input" in caught.value.hint
    predict, _ = load("Both")
    with pytest.raises(InferenceError) as caught:
        predict({"ids": np.array([7.5]), "x": WHOLE})
    assert "ids:float32[1], x:int64[1,3]" in caught.value.hint


def test_a_misspelt_input_is_named(load: Callable[..., Any]) -> None:
    predict, _ = load("Linear")
    with pytest.raises(InvalidInput, match="no input 'msk': it takes x, mask") as caught:
        predict({"x": np.float32(WHOLE), "msk": np.ones((1, 2), np.float32)})
    assert "Did you mean mask?" in caught.value.hint
    with pytest.raises(InvalidInput, match="None of the names y is a parameter"):
        predict({"y": np.float32(WHOLE)})


def test_a_model_may_take_one_object_with_names_of_its_own(load: Callable[..., Any]) -> None:
    predict, net = load("Sides")
    sides = {"left": np.float32(WHOLE), "right": np.float32(WHOLE) * 2}
    with torch.inference_mode():
        expected = net({k: torch.from_numpy(v) for k, v in sides.items()}).numpy()
    np.testing.assert_array_equal(predict(sides), expected)
