"""What tensors a safetensors file holds, by its own header."""

import struct
from pathlib import Path
from typing import NamedTuple

import msgspec

from sired.errors import InvalidModel

_LONGEST_HEADER = 100 << 20
_LENGTH = struct.Struct("<Q")


class Tensor(NamedTuple):
    """One tensor: its dtype as the file calls it (``F32``, ``BF16``, …), and its bytes."""

    dtype: str
    size: int


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
