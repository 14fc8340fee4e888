"""What forks or takes long is asked in the first moment of a daemon, and keeps its processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import House
from tests.waiting import wait_until

PROGRAM = Path(__file__).parents[1] / "contract/program.py"

GATED = f"""
import pathlib, runpy, sys, time
here = pathlib.Path(__file__).parent
(here / "started").touch()
while not (here / "gate").exists():
    time.sleep(0.02)
sys.argv[0] = {str(PROGRAM)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""

LOADER = """
import torch
from torch.utils.data import DataLoader, TensorDataset

class Sums:
    def load(self, path=None):
        rows = TensorDataset(torch.arange(64.0))
        self.loader = DataLoader(rows, batch_size=8, num_workers=2, persistent_workers=True)
        self.at_load = sum(float(rows.sum()) for (rows,) in self.loader)

    def predict(self, data):
        return [self.at_load, sum(float(rows.sum()) for (rows,) in self.loader)]
"""


@pytest.fixture
def asked(house: House) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Predictions that tests start; ended with the test."""
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def test_a_program_that_takes_long_to_start_is_waited_for_from_the_first_second_on(
    house: House, tmp_path: Path, asked: list[subprocess.Popen[bytes]]
) -> None:
    program = tmp_path / "gated.py"
    program.write_text(GATED)
    command = f"{sys.executable} {program} {{port}}"
    house.sire("register", "slow", "--cmd", command, "--health", "/health", "--trust")
    house.sire("daemon", "restart")
    (tmp_path / "input.json").write_text("[[1, 2, 3, 4]]")
    predict = [
        sys.executable,
        "-m",
        "sire_cli",
        "predict",
        "slow",
        "-i",
        str(tmp_path / "input.json"),
    ]
    asked.append(subprocess.Popen(predict, env=house.environment, stdout=subprocess.PIPE))
    wait_until((tmp_path / "started").exists)
    house.register_faulty()  # another load, while the program starts
    first = house.predict(do="pid")
    assert asked[0].poll() is None
    (tmp_path / "gate").touch()
    answer, _ = asked[0].communicate(timeout=90)
    assert asked[0].returncode == 0
    assert json.loads(answer) == [[2, 4, 6, 8]]
    assert house.predict(do="pid") == first


def test_a_class_that_reads_by_workers_of_a_data_loader_is_answered_at_once_and_again(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "sums.py").write_text(LOADER)
    (tmp_path / "model.bin").write_bytes(b"x")
    house.sire(
        *("register", "sums", tmp_path / "model.bin", "--runtime", "python"),
        *("--class", f"{tmp_path / 'sums.py'}:Sums"),
    )
    house.sire("daemon", "restart")
    expected = [2016.0, 2016.0]
    for _ in range(2):
        answer = house.sire("predict", "sums", "-i", "-", stdin=b"[1]").stdout
        assert json.loads(answer) == expected
    (instance,) = house.json("ps")
    assert instance["requests"] == 2
