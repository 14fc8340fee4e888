"""What a user declares as a model's memory is the limit of PyTorch's allocator on a GPU."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sired.runtimes.discovery import find_runtime
from sired.runtimes.pytorch.gpu_limit import limit_allocations

GIB = 1 << 30
CUDA = torch.device("cuda")


@pytest.fixture
def fractions(monkeypatch: pytest.MonkeyPatch) -> Sequence[float]:
    """The fractions that PyTorch is told, on a GPU of 16 GiB."""
    told: list[float] = []

    def described(_: Any) -> SimpleNamespace:
        return SimpleNamespace(total_memory=16 * GIB)

    monkeypatch.setattr(torch.cuda, "get_device_properties", described)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, _: told.append(fraction)
    )
    return told


def test_the_limit_is_a_fraction_of_the_gpu(fractions: Sequence[float]) -> None:
    limit_allocations(CUDA, 4 * GIB)
    limit_allocations(CUDA, 20 * GIB)
    assert fractions == [0.25, 1.0]


def test_without_a_declaration_or_on_a_cpu_there_is_none(fractions: Sequence[float]) -> None:
    limit_allocations(CUDA, None)
    limit_allocations(torch.device("cpu"), GIB)
    assert fractions == []


@pytest.mark.parametrize("name", ["pytorch", "huggingface"])
def test_a_load_is_limited_before_it_allocates(
    name: str, fractions: Sequence[float], tmp_path: Path
) -> None:
    runtime = find_runtime(name)
    runtime.memory_limit = 8 * GIB
    with pytest.raises(Exception):  # noqa: B017 (there is nothing to load)
        runtime.load(str(tmp_path / "none"), device="cuda")
    assert fractions == [0.5]
