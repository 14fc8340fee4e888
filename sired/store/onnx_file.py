"""The outline of an ONNX file, read without the onnx package and without its weights.

ONNX files are protocol buffers: a message is a row of fields, each of which tells its number, its
wire type and its end, so whatever is not of interest is skipped. The numbers are those of
``onnx.proto``; the encoding is at protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from sired.errors import InvalidModel

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10
_LONGEST_NAME = 4096
# ModelProto: every field with its wire type.
_MODEL = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_IR_VERSION, _GRAPH = 1, 7
_GRAPH_INITIALIZER = 5
_TENSOR_EXTERNAL_DATA = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


class _Damaged(Exception):
    """The bytes are no protocol buffer, or end too early."""


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    end: int


def onnx_weight_bytes(path: Path) -> int | None:
    """Bytes of an ONNX file and of the files it keeps weights in; None if it is no ONNX file.

    The graph itself is small, so this is what the weights take. Raises as ``onnx_files`` does.
    """
    files = onnx_files(path)
    return sum(file.stat().st_size for file in files) if files else None


def onnx_files(path: Path) -> list[Path]:
    """An ONNX file and the files it keeps weights in; none if it is no ONNX file.

    Raises:
        InvalidModel: the file was cut short, or weights are missing that should lie beside it.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        graph = _graph(file, size, path)
        if graph is None:
            return []
        try:
            locations = sorted(set(_locations(file, graph)))
        except (_Damaged, UnicodeDecodeError):
            raise InvalidModel(f"{path} is a damaged ONNX file.") from None
    return [path, *(_beside(path, location) for location in locations)]


def _graph(file: BinaryIO, size: int, path: Path) -> _Field | None:
    """Where the graph is; None unless the whole file is made of the fields a model has."""
    found: dict[int, _Field] = {}
    try:
        for field in _fields(file, 0, size):
            if _MODEL.get(field.number) != field.wire:
                return None
            found[field.number] = field
    except _Damaged:
        if _IR_VERSION in found:
            raise InvalidModel(
                f"{path} begins as an ONNX file and ends too early: it was cut short."
            ) from None
    return found.get(_GRAPH)


def _locations(file: BinaryIO, graph: _Field) -> Iterator[str]:
    """The files that weights are in, once for each weight."""
    for tensor in _numbered(file, graph, _GRAPH_INITIALIZER):
        for entry in _numbered(file, tensor, _TENSOR_EXTERNAL_DATA):
            texts = {part.number: _text(file, part) for part in _fields(file, *entry[2:])}
            if texts.get(_ENTRY_KEY) == "location":
                yield texts.get(_ENTRY_VALUE, "")


def _beside(path: Path, location: str) -> Path:
    if PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
        raise InvalidModel(f"{path} keeps weights in {location}, outside of its directory.")
    file = path.parent / location
    if not file.is_file():
        raise InvalidModel(
            f"{path} keeps its weights in {location}, which is not there.",
            hint="Put it into the same directory.",
        )
    return file


def _numbered(file: BinaryIO, message: _Field, number: int) -> Iterator[_Field]:
    for field in _fields(file, message.start, message.end):
        if field.number == number and field.wire == _LENGTH:
            yield field


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        file.seek(start)
        key = _varint(file)
        wire = key & 7
        if wire == _LENGTH:
            length = _varint(file)
            start = file.tell()
        elif wire == _VARINT:
            start = file.tell()
            _varint(file)
            length = file.tell() - start
        else:
            start = file.tell()
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, end)
        if start + length > end:
            raise _Damaged
        yield _Field(key >> 3, wire, start, start + length)
        start += length


def _varint(file: BinaryIO) -> int:
    """An integer: seven bits a byte, the lowest first."""
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    raise _Damaged


def _text(file: BinaryIO, field: _Field) -> str:
    if field.wire != _LENGTH or field.end - field.start > _LONGEST_NAME:
        raise _Damaged
    file.seek(field.start)
    return file.read(field.end - field.start).decode()
