"""Recognising a model file by its content, not by its ending. Reads headers only."""

import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sired.errors import InvalidModel, ModelNotFound
from sired.store.onnx_file import onnx_weight_bytes
from sired.store.torch_file import LEGACY_MAGIC, legacy_kind, zipped_kind

UNDERSTOOD = (
    "Understood are safetensors, PyTorch state_dicts and modules (torch.save), torch.export "
    "programs, AOTInductor packages, TorchScript, and ONNX."
)
_LONGEST_SAFETENSORS_HEADER = 100 << 20
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """What a file was recognised as.

    Attributes:
        runtime: which runtime loads it.
        name: safetensors, state_dict, pickle, exported, aoti, torchscript or onnx.
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
        InvalidModel: it is a directory, empty, damaged, or nothing that is understood.
    """
    size = _size(path)
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    if head[8:9] == b"{":
        return ModelFormat("pytorch", "safetensors", _safetensors_bytes(path, size), True)
    if LEGACY_MAGIC in head[:32]:
        kind, weights = legacy_kind(path)
        return ModelFormat("pytorch", kind, weights, kind == "state_dict")
    if (onnx_weights := onnx_weight_bytes(path)) is not None:
        return ModelFormat("onnx", "onnx", onnx_weights)
    raise InvalidModel(f"{path} ({size} bytes) is no model file that is known.", hint=UNDERSTOOD)


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            raise InvalidModel(
                f"{path} is a directory.", hint=f"Name the model file in it. {UNDERSTOOD}"
            )
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelNotFound(f"There is no file {path}.", path=str(path)) from None
    except OSError as problem:
        raise InvalidModel(f"{path} cannot be read: {problem.strerror}.") from None
    if size == 0:
        raise InvalidModel(f"{path} is empty.")
    return size


def _zipped(path: Path) -> ModelFormat:
    found = zipped_kind(path)
    if found is None:
        raise InvalidModel(f"{path} is a zip file, but of no kind that is known.", hint=UNDERSTOOD)
    kind, weights = found
    is_program = kind in {"exported", "aoti", "torchscript"}
    return ModelFormat("pytorch", kind, weights, kind == "state_dict", is_program)


def _safetensors_bytes(path: Path, size: int) -> int:
    """Bytes of all tensors, by the file's own header, which is held against the file's size."""
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if length > min(size - _LENGTH.size, _LONGEST_SAFETENSORS_HEADER):
            raise InvalidModel(f"{path}: its header claims {length} bytes; the file has {size}.")
        raw = file.read(length)
    try:
        header = msgspec.json.decode(raw, type=dict[str, dict[str, object]])
        ends = [_end(entry) for name, entry in header.items() if name != "__metadata__"]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as problem:
        raise InvalidModel(f"{path} has a damaged safetensors header: {problem}.") from None
    weights = max(ends, default=0)
    if _LENGTH.size + length + weights != size:
        raise InvalidModel(
            f"{path} should have {_LENGTH.size + length + weights} bytes by its header and has "
            f"{size}: it is damaged or was cut short."
        )
    return weights


def _end(entry: dict[str, object]) -> int:
    start, end = msgspec.convert(entry["data_offsets"], tuple[int, int])
    if not 0 <= start <= end:
        raise ValueError(f"offsets {start}..{end}")
    return end
