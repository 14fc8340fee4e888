"""Models that keep state between requests are reported, and others are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sired.runtimes.base import InferenceRuntime
from sired.runtimes.support.state import changed, marks_of
from sired.workers.child.state_watch import StateWatch


class Runtime(InferenceRuntime):
    """Runs objects that are functions."""

    def load(self, model_path: str, **kwargs: Any) -> Any:
        raise NotImplementedError

    def get_memory_footprint(self, model: Any) -> int:
        return 0

    def predict(self, model: Any, data: Any) -> Any:
        return model(data)

    def state(self, model: Any) -> Any:
        return marks_of(model)


class Module(torch.nn.Module):
    """Calls a function with itself."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)
        self.register_buffer("total", torch.zeros(2))
        self.function = function
        self.last: Any = None
        self.seen: list[int] = []
        self.table = np.zeros(2)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def _add(module: Any, x: Any) -> Any:
    module.total += x
    return module.total.clone()


def _remember(module: Any, x: Any) -> Any:
    module.last = x.clone()
    return module.last


def _append(module: Any, x: Any) -> Any:
    module.seen.append(1)
    return x


def _count(module: Any, x: Any) -> Any:
    module.table[0] += 1
    return x


def _keep_in_place(module: Any, x: Any) -> Any:
    if module.last is None:
        module.last = torch.zeros(2)  # in inference mode, which counts no versions
    module.last += x
    return x


def _fill_a_cache(module: Any, x: Any) -> Any:
    if module.last is None:
        module.last = torch.arange(2)
    return module.inner(x) + module.last


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (_add, "total"),
        (_remember, "last"),
        (_append, "seen"),
        (_count, "table"),
        (_keep_in_place, "last"),
        (_fill_a_cache, ""),
        (lambda module, x: module.inner(x), ""),
    ],
)
def test_what_changes_with_every_pass_is_reported_once(
    function: Callable[[Any, Any], Any], name: str
) -> None:
    runtime, module = Runtime(), Module(function).eval()
    watch = StateWatch(runtime, module)
    passes = 0
    with torch.inference_mode():
        while watch.active:
            runtime.predict(module, torch.ones(2))
            watch.after_pass()
            passes += 1
    assert passes <= 3
    note = watch.take_note()
    assert ("keeps state between requests" in note) == bool(name)
    assert name in note
    assert watch.take_note() == ""


def test_a_model_of_which_nothing_is_known_is_not_watched() -> None:
    watch = StateWatch(Runtime(), 3)
    watch.after_pass()
    assert not watch.active
    assert watch.take_note() == ""


def test_a_script_states_what_it_sets(tmp_path: Path) -> None:
    from sired.runtimes.discovery import find_runtime
    from tests.contract.scripts import Adder, Pure, Remembers

    runtime = find_runtime("pytorch")
    for module, said in ((Remembers(), "state"), (Adder(), "total"), (Pure(), "")):
        script: Any = torch.jit.script(module)
        script.save(str(tmp_path / "m.pt"))
        made = runtime.load(str(tmp_path / "m.pt"), format="torchscript", trusted=True)
        watch = StateWatch(runtime, made)
        while watch.active:
            runtime.predict(made, np.ones(2, np.float32))
            watch.after_pass()
        note = watch.take_note()
        assert bool(note) == bool(said)
        assert f"({said})" in note or not said


def test_what_others_keep_of_themselves_is_not_looked_at() -> None:
    class Model:
        def __init__(self) -> None:
            self.other = Path("/a")
            self.names = {"a": 1}

    model = Model()
    before = marks_of(model)
    assert before is not None
    assert before.keys() == {"other", "names", "names.a"}
    model.names["b"] = 2
    now = marks_of(model)
    assert now is not None
    assert changed(before, now) == ["names", "names.b"]
