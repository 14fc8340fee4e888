"""What the ledger charges for a model after its first load is what the model really takes."""

from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load, Predict
from tests.home import Home

CLASSES = """
import torch

class Mapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.empty(1 << 24))

    def forward(self, x):
        return x + self.table.sum()

class Copied(Mapped):
    def load_state_dict(self, weights, *args, **kwargs):
        copies = {name: weight.clone() for name, weight in weights.items()}
        return super().load_state_dict(copies, *args, **kwargs)
"""


@pytest.mark.parametrize("kind", ["Mapped", "Copied"])
def test_after_its_first_load_a_model_is_charged_what_it_takes_within_a_tenth(
    home: Home, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "classes.py").write_text(CLASSES)
    save_file({"table": torch.ones(1 << 24)}, tmp_path / "m.safetensors")
    weights, classes = tmp_path / "m.safetensors", f"{tmp_path}/classes.py:{kind}"
    home.register("m", weights, "--class", classes)
    with home.connect() as connection:
        instance = connection.expect(InstanceInfo, Load(name="m"))
        connection.ask(Predict(model="m"), [b"[0]"])
    # By now it has touched all of its weights.
    truth = psutil.Process(instance.pid).memory_full_info().uss
    assert instance.memory_bytes == pytest.approx(truth, rel=0.1)
    assert home.json("show", "m")["footprint_bytes"] == pytest.approx(truth, rel=0.1)
