"""Ten models of about 150 MB each take turns on a device that holds 600 MB."""

import os
import random
import signal

import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.own_daemon

CLASS = """
import torch


class Big(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.empty(37, 1_000_000))
        self.register_buffer("number", torch.zeros(1))

    def forward(self, x):
        return x + self.number + self.table[:, ::100_000].sum()
"""
MODELS = 10
REQUESTS = 40


@pytest.fixture(scope="module")
def big_models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("big")
    (directory / "big.py").write_text(CLASS)
    table = torch.zeros(37, 1_000_000)
    for number in range(MODELS):
        content = {"table": table, "number": torch.tensor([float(number)])}
        save_file(content, directory / f"{number}.safetensors")
    return directory


def test_ten_models_that_do_not_fit_together_answer_in_random_order_without_a_failure(
    home, big_models
):
    home.configure('[devices.small]\nkind = "cpu"\nmemory = "600MB"\n')
    for number in range(MODELS):
        weights = big_models / f"{number}.safetensors"
        home.register(f"m{number}", weights, "--class", f"{big_models}/big.py:Big")
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    order = random.Random(seed).choices(range(MODELS), k=REQUESTS)
    for number in order:
        answer = home.sire("predict", f"m{number}", "-i", "-", "--from", "json", stdin=b"[1.0]")
        assert answer.stdout == f"[{number + 1}.0]\n".encode()
    stats = home.json("stats")
    assert stats["totals"]["inference_count"] == REQUESTS
    assert stats["totals"]["errors"] == 0
    assert stats["totals"]["crashes"] == 0
    assert stats["totals"]["evictions"] > 0
    (device,) = home.json("devices")["devices"]
    assert device["capacity_bytes"] == 600_000_000
    assert device["used_bytes"] <= 600_000_000

    os.kill(home.pid(), signal.SIGKILL)
    for number in range(MODELS):
        answer = home.sire("predict", f"m{number}", "-i", "-", "--from", "json", stdin=b"[1.0]")
        assert answer.stdout == f"[{number + 1}.0]\n".encode()
