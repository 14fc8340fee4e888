"""Datatypes of the protocol, and how their elements are encoded."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from sire.errors import InvalidInput, shown
from sire.nearest import did_you_mean
from sire.protocol.content import Buffer
from sire.tensors import DTYPES, TEXT_DTYPES

Array = np.ndarray[Any, Any]

BYTES, BF16 = "BYTES", "BF16"
# The dtype of each datatype with elements of a fixed size that numpy has.
_DTYPES = {
    "BOOL": "bool",
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
_NAMES = {dtype: datatype for datatype, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<I")
_BF16_SHIFT = 16


def datatype_of(dtype: str) -> str:
    """The datatype of a dtype in a signature; BYTES for texts, pictures and objects."""
    if dtype == "bfloat16":
        return BF16
    return BYTES if dtype in TEXT_DTYPES else _NAMES.get(dtype, BYTES)


def dtype_of(datatype: str) -> str:
    """The dtype of a datatype with elements of a fixed size; float32 for BF16.

    Raises:
        InvalidInput: the protocol has no such datatype.
    """
    if datatype == BF16:
        return "float32"
    if (dtype := _DTYPES.get(datatype)) is None:
        known = [*_DTYPES, BF16, BYTES]
        raise InvalidInput(
            f"{shown(datatype)} is not a datatype.",
            hint=f"{did_you_mean(datatype, known)}Datatypes are: {', '.join(known)}.",
        )
    return dtype


def from_bf16(content: Buffer) -> Array:
    """The values of BF16 elements, as float32, in one axis."""
    halves = np.frombuffer(content, "<u2").astype(np.uint32)
    return (halves << _BF16_SHIFT).view(np.float32)


def to_bf16(content: Buffer) -> bytes:
    """BF16 elements of float32 values that were BF16; others are truncated."""
    words = np.frombuffer(content, "<u4")
    return (words >> _BF16_SHIFT).astype("<u2").tobytes()


def split_bytes(content: memoryview, where: str) -> list[str | bytes]:
    """The elements of a BYTES tensor, each after its length; texts where they are UTF-8.

    Raises:
        InvalidInput: a length exceeds what is left.
    """
    elements: list[str | bytes] = []
    place, size = 0, len(content)
    while place < size:
        start = place + _LENGTH.size
        end = start + _LENGTH.unpack_from(content, place)[0] if start <= size else size + 1
        if end > size:
            raise InvalidInput(f"{where} ends within element {len(elements)}.")
        elements.append(_text(bytes(content[start:end])))
        place = end
    return elements


def join_bytes(elements: Sequence[str | bytes]) -> bytes:
    """A BYTES tensor of these elements."""
    joined = bytearray()
    for element in elements:
        content = element.encode() if isinstance(element, str) else element
        joined += _LENGTH.pack(len(content))
        joined += content
    return bytes(joined)


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def array_of(values: Any, datatype: str, where: str) -> Array:
    """Numbers or booleans of JSON, in lists of any depth, as an array of the datatype's dtype.

    Raises:
        InvalidInput: a value is of another kind, or the datatype cannot represent it.
    """
    dtype = DTYPES[dtype_of(datatype)]
    if dtype.kind in "iu":
        return _whole_numbers(values, datatype, dtype, where)
    try:
        given = np.asarray(values)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{where} is not an array: its rows differ in length.") from None
    if not given.size:
        return given.astype(dtype)
    if given.dtype.kind not in ("b" if dtype.kind == "b" else "iuf"):
        raise InvalidInput(f"{where} has elements that are not {datatype}.")
    with np.errstate(over="ignore"):
        cast = given.astype(dtype)
    if not (finite := np.isfinite(cast)).all():
        raise unrepresentable(given[~finite].flat[0], datatype, where)
    return cast


def _whole_numbers(values: Any, datatype: str, dtype: "np.dtype[Any]", where: str) -> Array:
    """Whole numbers of JSON, exactly: as an array numpy would round those above 53 bits."""
    given = np.asarray(values, object)
    limits = np.iinfo(dtype)
    for number in given.reshape(-1):  # flat takes up to 32 axes only
        if isinstance(number, list):
            raise InvalidInput(f"{where} is not an array: its rows differ in length.")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidInput(f"{where} has elements that are not {datatype}.")
        if number != number // 1 or not limits.min <= number <= limits.max:
            raise unrepresentable(number, datatype, where)
    return given.astype(dtype)


def unrepresentable(number: Any, datatype: str, where: str) -> InvalidInput:
    """The error of a number that is outside of a datatype's range."""
    return InvalidInput(f"{where} has {number}, which {datatype} cannot represent.")
