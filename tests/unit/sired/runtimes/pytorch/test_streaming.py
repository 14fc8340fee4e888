"""Weights that are streamed to a device: the path to a GPU, walked here to the CPU."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sire.errors import InvalidModel
from sired.runtimes.pytorch.streaming import is_streamed, stream_safetensors
from sired.runtimes.reading import PIECE_BYTES, THREAD_THRESHOLD_BYTES, ReadProgress

CPU = torch.device("cpu")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """Tensors of many kinds; the largest takes several pieces and ends within one."""
    torch.manual_seed(0)
    return {
        "large": torch.randn(5 * PIECE_BYTES // 8 + 3, 2),
        "half": torch.randn(1000, 77).half(),
        "brain": torch.randn(13).bfloat16(),
        "eighth": torch.randn(31).to(torch.float8_e4m3fn),
        "numbers": torch.arange(1001),
        "bytes": torch.arange(255).to(torch.uint8),
        "flags": torch.arange(7) > 3,
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.empty(0, 3),
        **{f"small{n}": torch.full((3,), float(n)) for n in range(200)},
    }


def test_what_is_streamed_is_what_the_file_holds(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights, path, {"format": "pt"})
    told = []
    streamed = stream_safetensors(str(path), CPU, ReadProgress(lambda *report: told.append(report)))
    expected = load_file(path)
    assert streamed.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (streamed[name].dtype, streamed[name].shape) == (tensor.dtype, tensor.shape)
        raw = [t.reshape(-1).view(torch.uint8) for t in (streamed[name], tensor)]
        assert torch.equal(*raw), name
    done, total = told[-1]
    assert done == total == sum(tensor.nbytes for tensor in weights.values())


def test_a_file_of_nothing_but_empty_tensors_is_streamed_too(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"empty": torch.empty(0, 3)}, path)
    assert stream_safetensors(str(path), CPU, ReadProgress())["empty"].shape == (0, 3)


def test_a_file_cut_short_is_an_error(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises((SafetensorError, InvalidModel)):
        stream_safetensors(str(path), CPU, ReadProgress())


def test_large_files_are_streamed_and_to_gpus_only(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(100))
    with large.open("wb") as file:
        file.truncate(THREAD_THRESHOLD_BYTES)
    gpu = torch.device("cuda:0")
    assert is_streamed(str(large), gpu)
    assert not is_streamed(str(large), CPU)
    assert not is_streamed(str(small), gpu)
    assert not is_streamed(str(tmp_path / "missing"), gpu)
