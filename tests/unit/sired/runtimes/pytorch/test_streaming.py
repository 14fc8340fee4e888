"""Weights that are streamed to a device: the path to a GPU, walked here to the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sire.errors import InvalidModel
from sired.runtimes.pytorch import weights as loading
from sired.runtimes.pytorch.runtime import PyTorchRuntime
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


@pytest.mark.parametrize("wanted", [torch.float16, torch.bfloat16, torch.float32])
def test_floats_are_converted_while_they_are_streamed(
    wanted: torch.dtype, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights, path)
    streamed = stream_safetensors(str(path), CPU, ReadProgress(), wanted)
    for name, tensor in load_file(path).items():
        converts = tensor.is_floating_point() and tensor.itemsize > 1
        expected = tensor.to(wanted) if converts else tensor
        assert streamed[name].dtype == expected.dtype, name
        raw = [t.reshape(-1).view(torch.uint8) for t in (streamed[name], expected)]
        assert torch.equal(*raw), name


def test_numbers_that_pieces_would_cut_in_two_are_converted_whole(tmp_path: Path) -> None:
    # Bytes before the floats move them off the multiples of their size.
    path, floats = tmp_path / "w.safetensors", torch.randn(PIECE_BYTES // 2 + 1)
    header = (
        f'{{"odd":{{"dtype":"U8","shape":[3],"data_offsets":[0,3]}},"floats":{{"dtype":"F32",'
        f'"shape":[{len(floats)}],"data_offsets":[3,{3 + floats.nbytes}]}}}}'
    ).encode()
    path.write_bytes(
        len(header).to_bytes(8, "little") + header + bytes((1, 2, 3)) + floats.numpy().tobytes()
    )
    for wanted in (None, torch.float16):
        streamed = stream_safetensors(str(path), CPU, ReadProgress(), wanted)
        assert streamed["odd"].tolist() == [1, 2, 3]
        assert torch.equal(streamed["floats"], floats.to(wanted or torch.float32))


def test_a_model_in_another_dtype_never_holds_its_weights_in_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Parameter(torch.empty(1 << 18))\n"
        "    def forward(self, x):\n"
        "        return x * self.table[:4]\n"
    )
    table = torch.randn(1 << 18)
    save_file({"table": table}, tmp_path / "w.safetensors")
    streamed: list[dict[str, torch.Tensor]] = []

    def stream(*arguments: Any) -> dict[str, torch.Tensor]:
        streamed.append(stream_safetensors(*arguments))
        return streamed[-1]

    monkeypatch.setattr(loading, "is_streamed", lambda *_: True)
    monkeypatch.setattr(loading, "stream_safetensors", stream)
    model = PyTorchRuntime().load(
        str(tmp_path / "w.safetensors"),
        format="safetensors",
        model_class=f"{tmp_path}/net.py:Net",
        dtype="fp16",
    )
    assert isinstance(model.call, torch.nn.Module)
    (loaded,) = model.call.parameters()
    assert torch.equal(loaded, table.half())
    # It is the very memory that was streamed into: nothing was converted afterwards.
    assert loaded.data_ptr() == streamed[0]["table"].data_ptr()


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
