"""Parses the structure of ONNX files, without the onnx package and without reading weights.

ONNX files are protocol buffers: a message is a sequence of fields, each with its number, its wire
type and its length, so other fields can be skipped. The numbers are those of ``onnx.proto``; the
encoding is described at protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from sire.errors import InvalidModel, shown
from sired.store.fingerprint import is_file

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10
_LONGEST_NAME = 4096
# Ten times the number in the largest models; parsing them takes a few seconds.
_MOST_FIELDS = 1_000_000
# The limit of the protobuf library.
_DEEPEST = 100
# ModelProto: every field with its wire type.
_MODEL = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_IR_VERSION, _GRAPH = 1, 7
# The messages that can contain tensors: the kind of each field, by its number.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {_GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_LOCATION = "location"
_LONGEST_SEARCH = 1 << 20


class _Damaged(Exception):
    """The bytes are not a protocol buffer, or are truncated; its text continues a message."""


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    end: int


def onnx_weight_bytes(path: Path) -> int | None:
    """Bytes of an ONNX file and of its external weight files; None if it is not an ONNX file.

    The graph itself is small, so this is the size of the weights. Raises as ``onnx_files``.
    """
    files = onnx_files(path)
    return sum(file.stat().st_size for file in files) if files else None


def onnx_files(path: Path) -> list[Path]:
    """An ONNX file and its external weight files; empty if it is not an ONNX file.

    Raises:
        InvalidModel: the file is truncated, or an external weight file is missing.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        outline = _FieldReader(file)
        if not _is_model(outline, size, path):
            return []
        try:
            whole = _Field(0, _LENGTH, 0, size)
            locations = sorted(set(_locations(outline, whole, "model", _DEEPEST)))
        except UnicodeDecodeError:
            raise InvalidModel(f"{path} is a damaged ONNX file.") from None
        except _Damaged as problem:
            raise InvalidModel(f"{path} is a damaged ONNX file{problem}.") from None
    return [path, *(_beside(path, location) for location in locations)]


def _is_model(outline: "_FieldReader", size: int, path: Path) -> bool:
    """Whether the file consists of the fields of a model, including a graph."""
    found = set()
    try:
        for field in outline.fields(0, size):
            if _MODEL.get(field.number) != field.wire:
                return False
            found.add(field.number)
    except _Damaged as problem:
        if _IR_VERSION in found:
            why = problem if problem.args else " but is truncated"
            raise InvalidModel(f"{path} begins as an ONNX file{why}.") from None
    return _GRAPH in found


def _locations(outline: "_FieldReader", message: _Field, kind: str, deepest: int) -> Iterator[str]:
    """The external weight files that a message refers to, once per weight."""
    if not deepest:
        raise _Damaged(", nested too deeply")
    for field in outline.fields(message.start, message.end):
        inner = _INSIDE[kind].get(field.number)
        if inner is None or field.wire != _LENGTH:
            continue
        if inner == "tensor":
            yield from _tensor_locations(outline, field)
        # Of many thousands of nodes, hardly any has weights of its own.
        elif inner != "node" or outline.mentions(_LOCATION.encode(), field):
            yield from _locations(outline, field, inner, deepest - 1)


def _tensor_locations(outline: "_FieldReader", tensor: _Field) -> Iterator[str]:
    for entry in outline.fields(tensor.start, tensor.end):
        if entry.number == _EXTERNAL_DATA and entry.wire == _LENGTH:
            parts = outline.fields(entry.start, entry.end)
            texts = {part.number: outline.text(part) for part in parts}
            if texts.get(_ENTRY_KEY) == _LOCATION:
                yield texts.get(_ENTRY_VALUE, "")


def _beside(path: Path, location: str) -> Path:
    """A file in the model's directory; both may be links to files in another directory."""
    if PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
        raise _outside(path, location)
    file = path.parent / location
    if not is_file(file):
        raise InvalidModel(
            f"{path} has weights in {shown(location)}, which does not exist.",
            hint="Put it into the same directory.",
        )
    allowed = (path.parent.resolve(), path.resolve().parent)
    if not any(file.resolve().is_relative_to(directory) for directory in allowed):
        raise _outside(path, location)
    return file


def _outside(path: Path, location: str) -> InvalidModel:
    return InvalidModel(f"{path} has weights in {shown(location)}, outside of its directory.")


class _FieldReader:
    """Reads the fields of a file one after another, up to a maximum number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_FIELDS

    def fields(self, start: int, end: int) -> Iterator[_Field]:
        """The fields between two offsets.

        Raises:
            _Damaged: the bytes are not fields, or there are too many.
        """
        while start < end:
            self._left -= 1
            if self._left < 0:
                raise _Damaged(f" of more than {_MOST_FIELDS} fields")
            self._file.seek(start)
            key = self._varint()
            wire = key & 7
            if wire == _LENGTH:
                length = self._varint()
                start = self._file.tell()
            elif wire == _VARINT:
                start = self._file.tell()
                self._varint()
                length = self._file.tell() - start
            else:
                start = self._file.tell()
                length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, end)
            if start + length > end:
                raise _Damaged
            yield _Field(key >> 3, wire, start, start + length)
            start += length

    def text(self, field: _Field) -> str:
        """The text in a field.

        Raises:
            _Damaged: it is not text, or exceeds the maximum length.
            UnicodeDecodeError: it is not UTF-8.
        """
        if field.wire != _LENGTH or field.end - field.start > _LONGEST_NAME:
            raise _Damaged
        self._file.seek(field.start)
        return self._file.read(field.end - field.start).decode()

    def mentions(self, word: bytes, field: _Field) -> bool:
        """Whether a field contains a word; assumed for fields that are too large to search."""
        if field.end - field.start > _LONGEST_SEARCH:
            return True
        self._file.seek(field.start)
        return word in self._file.read(field.end - field.start)

    def _varint(self) -> int:
        """An integer of seven bits per byte, the lowest first."""
        value = 0
        for position in range(_LONGEST_VARINT):
            byte = self._file.read(1)
            if not byte:
                break
            value |= (byte[0] & 0x7F) << (7 * position)
            if byte[0] < 0x80:
                return value
        raise _Damaged
