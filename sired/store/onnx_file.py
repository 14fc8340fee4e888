"""Parses the structure of ONNX files, without the onnx package and without reading weights.

ONNX files are protocol buffers. The numbers of the fields are those of ``onnx.proto``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from sire.errors import InvalidModel, shown
from sired.store.fingerprint import is_file
from sired.store.protobuf import LENGTH, Damaged, Field, FieldReader

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
_LOCATION, _OFFSET, _BYTES = "location", "offset", "length"


def onnx_weight_bytes(path: Path) -> int | None:
    """Bytes of an ONNX file and of its external weight files; None if it is not an ONNX file.

    The graph itself is small, so this is the size of the weights.

    Raises:
        InvalidModel: the file or an external weight file is truncated, or one is missing.
        OSError: it cannot be read.
    """
    if (external := _external_files(path)) is None:
        return None
    for file, least in external.items():
        if (size := file.stat().st_size) < least:
            raise InvalidModel(
                f"{file} is truncated: {path.name} has weights in its first {least} bytes, and it "
                f"has {size}.",
                hint="Check that it was copied or downloaded completely.",
            )
    return sum(file.stat().st_size for file in (path, *external))


def onnx_files(path: Path) -> list[Path]:
    """An ONNX file and its external weight files; empty if it is not an ONNX file.

    An external file may be truncated, as while it is being copied.

    Raises:
        InvalidModel: the file is truncated, or an external weight file is missing.
        OSError: it cannot be read.
    """
    external = _external_files(path)
    return [] if external is None else [path, *external]


def _external_files(path: Path) -> dict[Path, int] | None:
    """The external weight files, each with the bytes that weights take of it.

    None if the file is not an ONNX file. Raises: as ``onnx_files``.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        outline = FieldReader(file)
        if not _is_model(outline, size, path):
            return None
        try:
            whole = Field(0, LENGTH, 0, size)
            external = _external_bytes(_locations(outline, whole, "model", _DEEPEST))
        except UnicodeDecodeError:
            raise InvalidModel(f"{path} is a damaged ONNX file.") from None
        except Damaged as problem:
            raise InvalidModel(f"{path} is a damaged ONNX file{problem}.") from None
    return {_beside(path, location): external[location] for location in sorted(external)}


def _is_model(outline: FieldReader, size: int, path: Path) -> bool:
    """Whether the file consists of the fields of a model, including a graph."""
    found = set()
    try:
        for field in outline.fields(0, size):
            if _MODEL.get(field.number) != field.wire:
                return False
            found.add(field.number)
    except Damaged as problem:
        if _IR_VERSION in found:
            why = problem if problem.args else " but is truncated"
            raise InvalidModel(f"{path} begins as an ONNX file{why}.") from None
    return _GRAPH in found


def _external_bytes(entries: Iterator[Mapping[str, str]]) -> Mapping[str, int]:
    """The bytes that weights take of each external file, as far as they state it."""
    least: dict[str, int] = defaultdict(int)
    for entry in entries:
        try:
            end = int(entry.get(_OFFSET, 0)) + int(entry.get(_BYTES, 0))
        except ValueError:
            raise Damaged(": the place of a weight in an external file is not a number") from None
        location = entry[_LOCATION]
        least[location] = max(least[location], end)
    return least


def _locations(
    outline: FieldReader, message: Field, kind: str, deepest: int
) -> Iterator[Mapping[str, str]]:
    """Where the weights are that a message refers to in external files."""
    if not deepest:
        raise Damaged(", nested too deeply")
    for field in outline.fields(message.start, message.end):
        inner = _INSIDE[kind].get(field.number)
        if inner is None or field.wire != LENGTH:
            continue
        if inner == "tensor":
            yield from _tensor_locations(outline, field)
        # Of many thousands of nodes, hardly any has weights of its own.
        elif inner != "node" or outline.mentions(_LOCATION.encode(), field):
            yield from _locations(outline, field, inner, deepest - 1)


def _tensor_locations(outline: FieldReader, tensor: Field) -> Iterator[Mapping[str, str]]:
    entries: dict[str, str] = {}
    for entry in outline.fields(tensor.start, tensor.end):
        if entry.number == _EXTERNAL_DATA and entry.wire == LENGTH:
            parts = outline.fields(entry.start, entry.end)
            texts = {part.number: outline.text(part) for part in parts}
            entries[texts.get(_ENTRY_KEY, "")] = texts.get(_ENTRY_VALUE, "")
    if _LOCATION in entries:
        yield entries


def _beside(path: Path, location: str) -> Path:
    """A file in the model's directory; both may be links to files in another directory.

    Raises:
        InvalidModel: it is missing, or outside of the directory.
    """
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
