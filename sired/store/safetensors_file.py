"""What tensors a safetensors file holds, by its own header."""

import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from sire.errors import InvalidModel, error_text, shown

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


# Of a number, by what the format calls it; of kinds that are new, the size is not known here.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]

    @property
    def size(self) -> int:
        return self.data_offsets[1] - self.data_offsets[0]


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
        msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
        entries = msgspec.convert(header, dict[str, _Entry]).values()
        weights = _check(entries)
    except (ValueError, RecursionError) as problem:
        raise InvalidModel(
            f"{path} has a damaged safetensors header: {error_text(problem)}."
        ) from None
    if _LENGTH.size + length + weights != size:
        raise InvalidModel(
            f"{path} should have {_LENGTH.size + length + weights} bytes by its header and has "
            f"{size}: it is damaged or was cut short."
        )
    return [Tensor(entry.dtype, entry.size) for entry in entries]


def _check(entries: Iterable[_Entry]) -> int:
    """The bytes of all tensors, which lie one behind the other.

    Raises:
        ValueError: they do not, or one has not the bytes that its shape takes.
    """
    place = 0
    for entry in sorted(entries, key=lambda entry: entry.data_offsets):
        start, end = entry.data_offsets
        if start != place or end < start:
            raise ValueError(f"a tensor is from {start} to {end} where {place} is next")
        bits = _BITS.get(entry.dtype, 0)
        fits = not bits or math.prod(entry.shape) * bits == 8 * entry.size
        if min(entry.shape, default=0) < 0 or not fits:
            raise ValueError(f"{entry.dtype}{shown(entry.shape)} in {entry.size} bytes")
        place = end
    return place
