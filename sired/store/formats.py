"""Recognising a model file by its content, not by its ending. Reads headers only."""

from dataclasses import dataclass
from pathlib import Path

from sire.errors import InvalidModel, ModelNotFound
from sired.store.huggingface import is_huggingface, read_weights
from sired.store.onnx_file import onnx_weight_bytes
from sired.store.safetensors_file import read_tensors
from sired.store.torch_file import LEGACY_MAGIC, legacy_kind, zipped_kind

UNDERSTOOD = (
    "Understood are safetensors, PyTorch state_dicts and modules (torch.save), torch.export "
    "programs, AOTInductor packages, TorchScript, ONNX, and directories in Hugging Face's layout. "
    "For any other: --runtime python --class file.py:Class"
)


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """What a file was recognised as.

    Attributes:
        runtime: which runtime loads it.
        name: safetensors, state_dict, pickle, exported, aoti, torchscript, onnx or transformers.
        weight_bytes: bytes of the weights, as the file states them.
        needs_class: it holds weights only.
        brings_code: it is a program, and loading it runs what is in it: it has to be trusted. A
            ``pickle`` has to be as well, but for what of it turns out to be weights.
    """

    runtime: str
    name: str
    weight_bytes: int
    needs_class: bool = False
    brings_code: bool = False


def recognise(path: Path) -> ModelFormat:
    """Tell what kind of model a file is.

    Raises:
        ModelNotFound: there is no such file.
        InvalidModel: it is empty, damaged, or nothing that is understood.
    """
    if path.is_dir():
        return _directory(path)
    size = _size(path)
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    if head[8:9] == b"{":
        weights = sum(tensor.size for tensor in read_tensors(path))
        return ModelFormat("pytorch", "safetensors", weights, True)
    if LEGACY_MAGIC in head[:32]:
        kind, weights = legacy_kind(path)
        return ModelFormat("pytorch", kind, weights, kind == "state_dict")
    if (onnx_weights := onnx_weight_bytes(path)) is not None:
        return ModelFormat("onnx", "onnx", onnx_weights)
    raise InvalidModel(f"{path} ({size} bytes) is no model file that is known.", hint=UNDERSTOOD)


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelNotFound(f"There is no file {path}.", path=str(path)) from None
    except OSError as problem:
        raise InvalidModel(f"{path} cannot be read: {problem.strerror}.") from None
    if size == 0:
        raise InvalidModel(f"{path} is empty.")
    return size


def _directory(path: Path) -> ModelFormat:
    if not is_huggingface(path):
        raise InvalidModel(
            f"{path} is a directory, without the config.json of a Hugging Face model.",
            hint=f"Name the model file in it. {UNDERSTOOD}",
        )
    weights = sum(tensor.size for tensor in read_weights(path))
    return ModelFormat("huggingface", "transformers", weights)


def _zipped(path: Path) -> ModelFormat:
    found = zipped_kind(path)
    if found is None:
        raise InvalidModel(f"{path} is a zip file, but of no kind that is known.", hint=UNDERSTOOD)
    kind, weights = found
    is_program = kind in {"exported", "aoti", "torchscript"}
    return ModelFormat("pytorch", kind, weights, kind == "state_dict", is_program)
