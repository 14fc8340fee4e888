"""Recognising a model file by its content, not by its ending. Reads headers only."""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from sired.errors import InvalidModel, ModelNotFound

UNDERSTOOD = (
    "Understood are safetensors, PyTorch state_dicts and modules (torch.save), torch.export "
    "programs, AOTInductor packages, TorchScript, and ONNX."
)
_LONGEST_SAFETENSORS_HEADER = 100 << 20
_LENGTH = struct.Struct("<Q")
# torch.save's format before zip files opens with this number, pickled.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# ONNX's ModelProto: field numbers and wire types its top level can begin with.
_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_ONNX_GRAPH = 7
_LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """What a file was recognised as.

    Attributes:
        runtime: which runtime loads it.
        name: safetensors, state_dict, pickle, exported, aoti, torchscript or onnx.
        weight_bytes: bytes of the weights, as the file states them.
        needs_class: it holds weights only.
        brings_code: it is a program, and loading it runs what is in it: it has to be trusted.
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
    if _LEGACY_MAGIC in head[:32] or head[:1] == b"\x80":
        return ModelFormat("pytorch", "pickle", size, True)
    if _is_onnx(path, size):
        return ModelFormat("onnx", "onnx", size + _external_bytes(path))
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
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as problem:
        raise InvalidModel(f"{path} is a damaged zip file, perhaps cut short: {problem}.") from None
    # Everything lies in one folder, whose name is of no matter.
    inner = {name.partition("/")[2]: size for name, size in entries.items()}
    weights = sum(size for name, size in inner.items() if name.startswith("data/"))
    if any(name.startswith("data/aotinductor/") for name in inner):
        return ModelFormat("pytorch", "aoti", sum(inner.values()), brings_code=True)
    if "archive_format" in inner or "serialized_exported_program.json" in entries:
        weights = weights or sum(entries.values())
        return ModelFormat("pytorch", "exported", weights, brings_code=True)
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return ModelFormat("pytorch", "torchscript", weights, brings_code=True)
    if "data.pkl" in inner:
        return ModelFormat("pytorch", "state_dict", weights, True)
    raise InvalidModel(f"{path} is a zip file, but of no kind that is known.", hint=UNDERSTOOD)


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


def _is_onnx(path: Path, size: int) -> bool:
    """Whether the file is a protobuf message with a graph where ONNX has it.

    Only the fields of the top level are walked over; their contents are skipped.
    """
    with path.open("rb") as file:
        while file.tell() < size:
            key = _varint(file)
            number, wire = key >> 3, key & 7
            if _ONNX_FIELDS.get(number) != wire:
                return False
            value = _varint(file)
            if wire == _LENGTH_DELIMITED:
                if file.tell() + value > size:
                    return False
                if number == _ONNX_GRAPH:
                    return value > 0
                file.seek(value, 1)
    return False


def _varint(file: BinaryIO) -> int:
    """Protobuf's integers: seven bits a byte, the lowest first; -1 for what is none."""
    value = 0
    for position in range(10):
        byte = file.read(1)
        if not byte:
            return -1
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    return -1


def _external_bytes(path: Path) -> int:
    """Bytes of the weights that lie beside an ONNX file, by the names exporters give them."""
    beside = (path.with_name(path.name + suffix) for suffix in (".data", "_data"))
    return sum(file.stat().st_size for file in beside if file.is_file())
