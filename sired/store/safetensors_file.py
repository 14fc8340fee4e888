"""Reads the headers of safetensors files."""

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
# Bytes per number in memory. Weights are quantized to eight bits from float32, all at once.
_BYTES = {
    "fp32": 4,
    "float32": 4,
    "int8": 4,
    "fp16": 2,
    "float16": 2,
    "bf16": 2,
    "bfloat16": 2,
}


# Bits per number by the format's name of the dtype; newer dtypes may be missing.
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
    """One tensor: its dtype as the file names it (``F32``, ``BF16``, …), and its size in bytes."""

    dtype: str
    size: int


def bytes_in(tensors: Iterable[Tensor], dtype: str) -> int:
    """Bytes of tensors once their floats are converted to a dtype; unknown dtypes do nothing."""
    target = _BYTES.get(dtype)
    return sum(
        tensor.size * target // _FLOATS[tensor.dtype]
        if target and tensor.dtype in _FLOATS
        else tensor.size
        for tensor in tensors
    )


def read_tensors(path: Path) -> list[Tensor]:
    """The tensors of a file, after checking the header against the file's size.

    Raises:
        InvalidModel: the header is damaged, or the file is truncated.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else size
        if length > min(size - _LENGTH.size, _LONGEST_HEADER):
            raise InvalidModel(f"{path}: its header states {length} bytes; the file has {size}.")
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
            f"{path} should have {_LENGTH.size + length + weights} bytes by its header, but has "
            f"{size}: it is damaged or truncated."
        )
    return [Tensor(entry.dtype, entry.size) for entry in entries]


def _check(entries: Iterable[_Entry]) -> int:
    """The bytes of all tensors, which have to be contiguous.

    Raises:
        ValueError: they are not, or the size of one does not match its shape.
    """
    offset = 0
    for entry in sorted(entries, key=lambda entry: entry.data_offsets):
        start, end = entry.data_offsets
        if start != offset or end < start:
            raise ValueError(f"a tensor is at {start} to {end}, but the next offset is {offset}")
        bits = _BITS.get(entry.dtype, 0)
        fits = not bits or math.prod(entry.shape) * bits == 8 * entry.size
        if min(entry.shape, default=0) < 0 or not fits:
            raise ValueError(f"{entry.dtype}{shown(entry.shape)} in {entry.size} bytes")
        offset = end
    return offset
