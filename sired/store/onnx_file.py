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
_WINDOW_BYTES = 4096
# ModelProto: every field with its wire type.
_MODEL = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_IR_VERSION, _GRAPH, _FUNCTION = 1, 7, 25
_GRAPH_NODE, _FUNCTION_NODE = 1, 7
_NODE_ATTRIBUTE = 5
# Where tensors, sparse ones (which are two: values and indices) and graphs are: in a graph,
_GRAPH_TENSOR, _GRAPH_SPARSE = 5, 15
# and in a node's attribute, one or many.
_TENSORS, _SPARSE, _GRAPHS = (5, 10), (22, 23), (6, 11)
_SPARSE_PARTS = (1, 2)
_TENSOR_EXTERNAL_DATA = 13
# Graphs within graphs: the bodies of loops and branches.
_DEEPEST = 32
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
    with path.open("rb", buffering=0) as content:
        file = _Window(content)
        parts = _parts(file, size, path)
        if parts is None:
            return []
        try:
            locations = sorted({at for part in parts for at in _locations(file, part)})
        except (_Damaged, UnicodeDecodeError):
            raise InvalidModel(f"{path} is a damaged ONNX file.") from None
    return [path, *(_beside(path, location) for location in locations)]


def _parts(file: "_Window", size: int, path: Path) -> list[_Field] | None:
    """Where graph and functions are; None unless the whole file is made of a model's fields."""
    found: list[_Field] = []
    try:
        for field in _fields(file, 0, size):
            if _MODEL.get(field.number) != field.wire:
                return None
            found.append(field)
    except _Damaged:
        if any(field.number == _IR_VERSION for field in found):
            raise InvalidModel(
                f"{path} begins as an ONNX file and ends too early: it was cut short."
            ) from None
    parts = [field for field in found if field.number in {_GRAPH, _FUNCTION}]
    return parts if any(part.number == _GRAPH for part in parts) else None


def _locations(file: "_Window", part: _Field) -> Iterator[str]:
    """The files that weights are in, once for each weight."""
    for tensor in _tensors(file, part, _DEEPEST):
        for entry in _numbered(file, tensor, _TENSOR_EXTERNAL_DATA):
            texts = {part.number: _text(file, part) for part in _fields(file, *entry[2:])}
            if texts.get(_ENTRY_KEY) == "location":
                yield texts.get(_ENTRY_VALUE, "")


def _tensors(file: "_Window", part: _Field, depth: int) -> Iterator[_Field]:
    """Every tensor in a graph or a function, in the graphs within it, too."""
    if not depth:
        raise _Damaged
    in_function = part.number == _FUNCTION
    for field in _fields(file, part.start, part.end):
        if field.number == (_FUNCTION_NODE if in_function else _GRAPH_NODE):
            for attribute in _numbered(file, field, _NODE_ATTRIBUTE):
                yield from _in_attribute(file, attribute, depth)
        elif field.number == _GRAPH_TENSOR and not in_function:
            yield field
        elif field.number == _GRAPH_SPARSE and not in_function:
            yield from _numbered(file, field, *_SPARSE_PARTS)


def _in_attribute(file: "_Window", attribute: _Field, depth: int) -> Iterator[_Field]:
    yield from _numbered(file, attribute, *_TENSORS)
    for sparse in _numbered(file, attribute, *_SPARSE):
        yield from _numbered(file, sparse, *_SPARSE_PARTS)
    for graph in _numbered(file, attribute, *_GRAPHS):
        yield from _tensors(file, graph._replace(number=_GRAPH), depth - 1)


def _beside(path: Path, location: str) -> Path:
    file = path.parent / location
    # Where a link leads counts: ONNX Runtime reads nothing else. The model's file may be one.
    homes = (path.parent.resolve(), path.resolve().parent)
    outside = PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts
    if outside or not any(file.resolve().is_relative_to(home) for home in homes):
        raise InvalidModel(f"{path} keeps weights in {location}, outside of its directory.")
    if not file.is_file():
        raise InvalidModel(
            f"{path} keeps its weights in {location}, which is not there.",
            hint="Put it into the same directory.",
        )
    return file


def _numbered(file: "_Window", message: _Field, *numbers: int) -> Iterator[_Field]:
    for field in _fields(file, message.start, message.end):
        if field.number in numbers and field.wire == _LENGTH:
            yield field


def _fields(file: "_Window", start: int, end: int) -> Iterator[_Field]:
    while start < end:
        key, start = _varint(file, start)
        wire = key & 7
        if wire == _LENGTH:
            length, start = _varint(file, start)
        elif wire == _VARINT:
            length = _varint(file, start)[1] - start
        else:
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, end)
        if start + length > end:
            raise _Damaged
        yield _Field(key >> 3, wire, start, start + length)
        start += length


def _varint(file: "_Window", start: int) -> tuple[int, int]:
    """An integer, seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = file.byte(start + position)
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, start + position + 1
    raise _Damaged


def _text(file: "_Window", field: _Field) -> str:
    if field.wire != _LENGTH or field.end - field.start > _LONGEST_NAME:
        raise _Damaged
    return bytes(map(file.byte, range(field.start, field.end))).decode()


class _Window:
    """A file by single bytes, some of which are at hand: most that is asked for stands together."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = 0
        self._bytes = b""

    def byte(self, position: int) -> int:
        """The byte at a position.

        Raises:
            _Damaged: the file ends before it.
        """
        offset = position - self._start
        if not 0 <= offset < len(self._bytes):
            self._file.seek(position)
            self._start, offset = position, 0
            self._bytes = self._file.read(_WINDOW_BYTES)
            if not self._bytes:
                raise _Damaged
        return self._bytes[offset]
