"""What tensors a safetensors file holds, by its own header."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from sired.errors import InvalidModel

_LONGEST_HEADER = 100 << 20
_LENGTH = struct.Struct("<Q")


_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# What one number takes in memory. Weights of eight bits are made from those of 32, all at once.
_BYTES = {
    "fp32": 4,
    "float32": 4,
    "int8": 4,
    "fp16": 2,
    "float16": 2,
    "bf16": 2,
    "bfloat16": 2,
}


class Tensor(NamedTuple):
    """One tensor: its dtype as the file calls it (``F32``, ``BF16``, …), and its bytes."""

    dtype: str
    size: int


def bytes_in(tensors: Iterable[Tensor], dtype: str) -> int:
    """Bytes of tensors once their floats are of a dtype; as they are if it is not known."""
    target = _BYTES.get(dtype)
    return sum(
        tensor.size * target // _FLOATS[tensor.dtype]
        if target and tensor.dtype in _FLOATS
        else tensor.size
        for tensor in tensors
    )


def read_tensors(path: Path) -> list[Tensor]:
    """The tensors of a file, whose header is held against the file's size.

    Raises:
        InvalidModel: the header is damaged, or the file was cut short.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else size
        if length > min(size - _LENGTH.size, _LONGEST_HEADER):
            raise InvalidModel(f"{path}: its header claims {length} bytes; the file has {size}.")
        raw = file.read(length)
    try:
        header = msgspec.json.decode(raw, type=dict[str, dict[str, object]])
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        spans = [_span(entry) for entry in entries]
        tensors = [
            Tensor(str(entry.get("dtype")), end - start)
            for entry, (start, end) in zip(entries, spans, strict=True)
        ]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as problem:
        raise InvalidModel(f"{path} has a damaged safetensors header: {problem}.") from None
    weights = max((end for _, end in spans), default=0)
    if _LENGTH.size + length + weights != size:
        raise InvalidModel(
            f"{path} should have {_LENGTH.size + length + weights} bytes by its header and has "
            f"{size}: it is damaged or was cut short."
        )
    return tensors


def _span(entry: dict[str, object]) -> tuple[int, int]:
    start, end = msgspec.convert(entry["data_offsets"], tuple[int, int])
    if not 0 <= start <= end:
        raise ValueError(f"offsets {start}..{end}")
    return start, end
