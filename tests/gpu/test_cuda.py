"""The main job on a real GPU; skipped where there is none."""

import json

import pytest
import torch
from safetensors.torch import save_file

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

GIB = 1 << 30


def test_a_model_answers_from_the_gpu_and_its_memory_is_charged_there(home, register):
    register("m", 2, "Scale", "--device", "cuda:0")
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[1, 2, 3, 4]")
    assert json.loads(answer.stdout) == [2, 4, 6, 8]
    (instance,) = home.json("ps")
    assert instance["device"] == "cuda:0"
    devices = {device["name"]: device for device in home.json("devices")["devices"]}
    # A CUDA context alone takes hundreds of MB: what is charged is what the driver says.
    assert devices["cuda:0"]["used_bytes"] > 100 << 20


def test_models_that_do_not_fit_together_take_turns_on_a_gpu(home, tmp_path):
    home.configure('[devices."cuda:0"]\nmemory = "4GiB"\n')
    (tmp_path / "big.py").write_text(
        "import torch\n"
        "class Big(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Parameter(torch.empty(1, 268435456))\n"
        "    def forward(self, x):\n"
        "        return x + self.table[:, 0]\n"
    )
    for number in range(3):
        table = torch.full((1, 268_435_456), float(number))
        save_file({"table": table}, tmp_path / f"{number}.safetensors")
        weights, kind = tmp_path / f"{number}.safetensors", f"{tmp_path}/big.py:Big"
        home.sire("register", f"m{number}", weights, "--class", kind, "--device", "cuda:0")
    for number in (0, 1, 2, 0, 2, 1):
        answer = home.sire("predict", f"m{number}", "-i", "-", stdin=b"[1]")
        assert json.loads(answer.stdout) == [number + 1]
    totals = home.json("stats")["totals"]
    assert totals["evictions"] > 0
    assert totals["errors"] == 0
