"""Models from Python, through a daemon and through a private one."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire import ModelManager
from sire.errors import InvalidInput, InvalidModel, ModelNotFound


@pytest.fixture(params=["daemon", "embedded"])
def manager(request: pytest.FixtureRequest) -> Iterator[ModelManager]:
    if request.param == "embedded":
        manager = ModelManager(embedded=True)
    else:
        manager = ModelManager(home=request.getfixturevalue("home").path)
    with manager:
        yield manager


def test_a_model_is_registered_loaded_run_counted_and_unloaded(
    manager: ModelManager, zoo: Path, new_name: str
) -> None:
    path, kind = zoo / "x2.safetensors", f"{zoo}/classes.py:Scale"
    manager.register_model(new_name, path, "pytorch", model_class=kind)
    manager.load_model(new_name, device="auto")
    data = np.arange(4, dtype=np.float32)
    assert np.array_equal(manager.predict(new_name, data), 2 * data)
    assert np.array_equal(manager.predict(new_name, torch.ones(4)), np.full(4, 2.0))
    assert manager.predict(new_name, [1.0, 2.0, 3.0, 4.0]) is not None
    stats = manager.get_model_stats(new_name)
    assert stats["inference_count"] == 3
    assert 0 < stats["average_latency"] < 10
    assert stats["memory_usage"] > 1_000_000
    manager.unload_model(new_name)
    assert manager.get_model_stats(new_name)["memory_usage"] == 0


def test_errors_have_the_same_names_in_python(manager: ModelManager, zoo: Path) -> None:
    with pytest.raises(ModelNotFound):
        manager.predict("nobody", [1])
    kind = f"{zoo}/classes.py:Scale"
    inputs = ["float32[-1,4]"]
    manager.register_model("m", zoo / "x2.safetensors", model_class=kind, inputs=inputs)
    with pytest.raises(InvalidInput):
        manager.predict("m", np.zeros((2, 5), np.float32))


def test_a_misspelled_option_is_rejected_with_the_nearest(manager: ModelManager) -> None:
    with pytest.raises(InvalidModel, match="batchsize") as caught:
        manager.register_model("m", None, cmd="serve {port}", batchsize=8)
    assert "Did you mean batch_size?" in caught.value.hint


def test_a_class_defined_in_the_calling_script_travels_with_it(tmp_path: Path) -> None:
    save_file({"weight": torch.full((4,), 5.0)}, tmp_path / "w.safetensors")
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            from sire import ModelManager

            FACTOR = 10

            class Mine(torch.nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.weight = torch.nn.Parameter(torch.ones(width))

                def forward(self, x):
                    return {"y": x * self.weight * FACTOR, "pair": (x, x + 1)}

            with ModelManager(embedded=True) as manager:
                manager.register_model("m", sys.argv[1], "pytorch", model_class=Mine, width=4)
                answer = manager.predict("m", torch.ones(4))
                assert answer["y"].tolist() == [50.0] * 4, answer
                assert isinstance(answer["pair"], tuple), answer
                print("fine")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script, tmp_path / "w.safetensors"], capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr
