"""Ten models of about 150 MB each take turns on a device that holds 600 MB."""

import json
import os
import random
import signal
import struct
from pathlib import Path

import pytest

from sire.protocol.requests import Predict
from tests.home import Home

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


def write_mostly_zeros(path: Path, number: int) -> None:
    """A file of 148 MB that takes no time to write: all of its table is a hole."""
    size = 37 * 1_000_000 * 4
    header = json.dumps(
        {
            "number": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "table": {"dtype": "F32", "shape": [37, 1_000_000], "data_offsets": [4, 4 + size]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", number))
    os.truncate(path, 8 + len(header) + 4 + size)


@pytest.fixture(scope="module")
def big_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("big")
    (directory / "big.py").write_text(CLASS)
    for number in range(MODELS):
        write_mostly_zeros(directory / f"{number}.safetensors", number)
    return directory


def answer(home: Home, number: int) -> list[float]:
    with home.connect() as connection:
        _, frames = connection.ask(Predict(model=f"m{number}", timeout=90.0), [b"[1.0]"])
    numbers: list[float] = json.loads(bytes(frames[0]))
    return numbers


def test_ten_models_that_do_not_fit_together_answer_in_random_order_without_a_failure(
    home: Home, big_models: Path
) -> None:
    home.configure('[devices.small]\nkind = "cpu"\nmemory = "600MB"\n')
    for number in range(MODELS):
        weights = big_models / f"{number}.safetensors"
        home.register(f"m{number}", weights, "--class", f"{big_models}/big.py:Big")
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    order = random.Random(seed).choices(range(MODELS), k=REQUESTS)
    for number in order:
        assert answer(home, number) == [number + 1]
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
        assert answer(home, number) == [number + 1]
