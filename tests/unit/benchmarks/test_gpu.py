"""What is measured on a GPU, rehearsed without one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.gpu.files import write_blocks
from benchmarks.models import Blocks


def measure(*options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_exits_as_sire_does_for_an_unknown_device() -> None:
    done = measure()
    assert done.returncode == 3
    assert "no NVIDIA GPU" in done.stderr


@pytest.mark.slow
def test_models_that_would_fill_the_disk_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    done = measure("--device", "cpu", "--switch", "4000TB", "--directory", tmp_path)
    assert done.returncode == 1
    assert "Use another --directory" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_everything_is_measured_and_no_request_fails(tmp_path: Path) -> None:
    few = "--sizes 2MB --switch 2MB --crowd 2MB --models 3 --requests 5 --rounds 1".split()
    done = measure("--device", "cpu", *few, "--directory", tmp_path, "--json", tmp_path / "figures")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "figures").read_text())
    figures = {figure["name"]: figure for figure in record["figures"]}
    assert figures["3 models of 2MB, 5 requests: failed"]["met"]
    assert figures["2MB: disk to cpu, p50"]["ratio"] > 0
    assert figures["copy from pinned memory to cpu"]["value"] > 0
    assert figures["3 KB: sire on cpu, p50"]["value"] > 0
    assert [file.name for file in tmp_path.iterdir()] == ["figures"]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_made_file_holds_the_weights_of_its_class(tmp_path: Path, sparse: bool) -> None:
    made = write_blocks(tmp_path / "model.safetensors", 130_000_001, sparse=sparse)
    model = Blocks(made.blocks, made.length)
    model.load_state_dict(load_file(made.file), assign=True)
    assert model(torch.zeros(1)).tolist() == [made.total]
    assert made.total == (0 if sparse else 2)
    assert (made.file.stat().st_blocks * 512 < made.bytes // 2) == sparse
