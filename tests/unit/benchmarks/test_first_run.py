"""The first run on a GPU, where there is none."""

import subprocess
import sys

import pytest
import torch


def first_run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.first_run", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_checks_nothing() -> None:
    done = first_run()
    assert done.returncode == 3
    assert done.stdout.startswith("There is no NVIDIA GPU here: nothing was checked.")
    assert done.stderr == ""


@pytest.mark.slow
def test_what_needs_no_gpu_is_tried_on_a_cpu() -> None:
    done = first_run("--device", "cpu")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert done.returncode == 0
    assert sum(line.startswith("ok") for line in lines) == 6
    assert sum(line.startswith("needs a GPU") for line in lines) == 5
