"""Recognises model files by their content, not by their suffix. Reads headers only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sire.errors import InvalidModel, ModelNotFound
from sire.spec import Signature
from sired.store.aoti_metadata import compiled_for
from sired.store.diffusers import (
    component_bytes,
    component_files,
    component_weights,
    is_diffusers,
    pipeline_fingerprint,
)
from sired.store.exported_signature import exported_signature
from sired.store.fingerprint import fingerprint
from sired.store.huggingface import (
    directory_fingerprint,
    is_huggingface,
    loaded_bytes,
    read_weights,
    weight_files,
)
from sired.store.onnx_file import onnx_files, onnx_weight_bytes
from sired.store.onnx_signature import onnx_signature
from sired.store.other_files import recognise_other
from sired.store.safetensors_file import bytes_in, read_tensors
from sired.store.torch_file import LEGACY_MAGIC, legacy_kind, zipped_kind
from sired.store.torchscript_signature import torchscript_parameters

SAFETENSORS, ONNX, TRANSFORMERS = "safetensors", "onnx", "transformers"
DIFFUSERS = "diffusers"

RECOGNISED = (
    "Recognised formats are safetensors, PyTorch state_dicts and modules (torch.save), "
    "torch.export programs, AOTInductor packages, TorchScript, ONNX, and directories in Hugging "
    "Face's layout or of diffusers. "
    "For any other: --runtime python --class file.py:Class"
)

NO_SIGNATURE = Signature()


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """The format that a file was recognised as.

    Attributes:
        name: safetensors, state_dict, pickle, exported, aoti, torchscript, onnx, transformers or
            diffusers.
        weight_bytes: bytes of the weights, as the file states them.
        signature: the inputs and outputs that the file states; empty if it states none.
        notes: sentences about what else it states.
        only_on: the kind of device that it was compiled for; "" if it runs on any.
    """

    name: str
    weight_bytes: int
    signature: Signature = NO_SIGNATURE
    notes: tuple[str, ...] = ()
    only_on: str = ""


def recognise(path: Path) -> ModelFormat:
    """Recognise the format of a file or directory.

    Raises:
        ModelNotFound: the file does not exist.
        InvalidModel: it is empty, damaged, or of no supported format.
        OSError: it cannot be read.
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
        return ModelFormat(SAFETENSORS, weights)
    if LEGACY_MAGIC in head[:32]:
        return ModelFormat(*legacy_kind(path))
    if (other := recognise_other(path)) is not None:
        raise InvalidModel(f"{path} is {other[0]}.", hint=other[1])
    if (onnx_weights := onnx_weight_bytes(path)) is not None:
        return ModelFormat(ONNX, onnx_weights, onnx_signature(path))
    raise InvalidModel(f"{path} ({size} bytes) is not a recognised model file.", hint=RECOGNISED)


def memory_of_weights(found: ModelFormat, path: Path, arguments: Mapping[str, Any]) -> int:
    """Bytes of the weights in the dtype that they are loaded in.

    Args:
        found: what the file was recognised as.
        path: of the file or directory.
        arguments: the model's; ``dtype`` is what counts.
    """
    if found.name == TRANSFORMERS:
        return loaded_bytes(path, arguments)
    if found.name == DIFFUSERS:
        return component_bytes(path, arguments)
    if found.name == SAFETENSORS:
        return bytes_in(read_tensors(path), str(arguments.get("dtype")))
    return found.weight_bytes


def content_fingerprint(format_name: str, path: Path, arguments: Mapping[str, Any]) -> str:
    """A digest of a model's content as 32 hexadecimal digits; "" for an unrecognised directory."""
    if format_name == TRANSFORMERS:
        return directory_fingerprint(path, arguments)
    if format_name == DIFFUSERS:
        return pipeline_fingerprint(path, arguments)
    return fingerprint(path) if path.is_file() else ""


def files_of(format_name: str, path: Path, arguments: Mapping[str, Any]) -> list[Path]:
    """The files that a model of a format is read from, in order; empty if they are not known.

    Args:
        format_name: as ``recognise`` reports it.
        path: of the file or directory.
        arguments: the model's; ``base`` is where an adapter's base lies.

    Raises:
        InvalidModel: files are missing or damaged.
        OSError: a file cannot be read.
    """
    if format_name == TRANSFORMERS:
        return weight_files(path, arguments)
    if format_name == DIFFUSERS:
        return component_files(path)
    if format_name == ONNX:
        return onnx_files(path)
    return [path] if path.is_file() else []


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelNotFound(f"The file {path} does not exist.", path=str(path)) from None
    except OSError as problem:
        raise InvalidModel(f"{path} cannot be read: {problem.strerror}.") from None
    if size == 0:
        raise InvalidModel(f"{path} is empty.")
    return size


def _directory(path: Path) -> ModelFormat:
    if is_diffusers(path):
        return ModelFormat(DIFFUSERS, sum(tensor.size for tensor in component_weights(path)))
    if not is_huggingface(path):
        raise InvalidModel(
            f"{path} is a directory without the config.json of a Hugging Face model.",
            hint=f"Specify the model file in it. {RECOGNISED}",
        )
    weights = sum(tensor.size for tensor in read_weights(path))
    return ModelFormat(TRANSFORMERS, weights)


def _zipped(path: Path) -> ModelFormat:
    found = zipped_kind(path)
    if found is None:
        raise InvalidModel(f"{path} is a zip file, but not a recognised model.", hint=RECOGNISED)
    notes: tuple[str, ...] = ()
    only_on = ""
    if found[0] == "torchscript" and (parameters := torchscript_parameters(path)):
        notes = (f"Its function takes {parameters}.",)
    if found[0] == "aoti" and (kind := compiled_for(path)):
        notes, only_on = (f"It was compiled for {kind}.",), kind.partition(" ")[0]
    signature = exported_signature(path) if found[0] == "exported" else NO_SIGNATURE
    return ModelFormat(*found, signature, notes, only_on)
