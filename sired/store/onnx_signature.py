"""The inputs and outputs that an ONNX file states, read without ONNX Runtime.

They are those that ``sired.runtimes.onnx`` reports for a loaded model. The numbers are those of
``onnx.proto``.
"""

from collections.abc import Iterator
from pathlib import Path

from sire.spec import ANY_SHAPE, SEQUENCE, Signature, TensorSpec
from sired.store.protobuf import Damaged, Field, FieldReader

_IR_VERSION, _GRAPH = 1, 7
# Since this version, an initializer that is an input as well is a default, and no constant.
_WITH_DEFAULTS = 4
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_NAME, _TYPE = 1, 2
_TENSOR_NAME = 8
_TENSOR_TYPE, _SEQUENCE_TYPE, _OPTIONAL_TYPE = 1, 4, 9
_ELEMENT_TYPE, _SHAPE = 1, 2
_DIMENSION, _LENGTH_OF_AXIS = 1, 1
# TensorProto.DataType.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}


def onnx_signature(path: Path) -> Signature:
    """The inputs and outputs of a graph; empty where one has a type that cannot be stated.

    An input that has a default in the file is optional, and follows those that have none.

    Args:
        path: of a file that is known to be an ONNX file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        reader = FieldReader(file)
        try:
            return _signature(reader, Field(0, 2, 0, path.stat().st_size))
        except (Damaged, UnicodeDecodeError):
            return Signature()


def _signature(reader: FieldReader, model: Field) -> Signature:
    graph = _only(reader, model, _GRAPH)
    with_default = {
        reader.text(name)
        for tensor in _inside(reader, graph, _INITIALIZER)
        for name in _inside(reader, tensor, _TENSOR_NAME)
    }
    inputs = [_value(reader, value) for value in _inside(reader, graph, _INPUT)]
    outputs = [_value(reader, value) for value in _inside(reader, graph, _OUTPUT)]
    if None in inputs or None in outputs:
        return Signature()
    given = [one for one in inputs if one is not None and one.name not in with_default]
    can_override = reader.integer(_only(reader, model, _IR_VERSION)) >= _WITH_DEFAULTS
    defaults = [
        TensorSpec(one.name, one.dtype, one.shape, optional=True)
        for one in inputs
        if can_override and one is not None and one.name in with_default
    ]
    return Signature((*given, *defaults), tuple(one for one in outputs if one is not None))


def _value(reader: FieldReader, value: Field) -> TensorSpec | None:
    """An input or output; None if its type cannot be stated."""
    name = reader.text(_only(reader, value, _NAME))
    for kind in _inside(reader, value, _TYPE):
        for field in reader.fields(kind.start, kind.end):
            return _typed(reader, name, field)
    return None


def _typed(reader: FieldReader, name: str, kind: Field) -> TensorSpec | None:
    """A value of one type of TypeProto."""
    if kind.number == _TENSOR_TYPE:
        return _tensor(reader, name, kind)
    if kind.number not in {_SEQUENCE_TYPE, _OPTIONAL_TYPE}:
        return None
    # Both contain the TypeProto of their element.
    for inner in _inside(reader, kind, 1):
        for field in reader.fields(inner.start, inner.end):
            element = _typed(reader, name, field)
            if element is None:
                return None
            if kind.number == _OPTIONAL_TYPE:
                return TensorSpec(name, element.dtype, element.shape, optional=True)
            return TensorSpec(name, f"{SEQUENCE}{element.dtype})", ANY_SHAPE)
    return None


def _tensor(reader: FieldReader, name: str, kind: Field) -> TensorSpec | None:
    dtype: str | None = None
    shape: tuple[int, ...] = ANY_SHAPE
    for field in reader.fields(kind.start, kind.end):
        if field.number == _ELEMENT_TYPE:
            dtype = _DTYPES.get(reader.integer(field))
        elif field.number == _SHAPE:
            # A shape without axes is one that is not stated: ONNX Runtime reports both alike.
            shape = tuple(_axes(reader, field)) or ANY_SHAPE
    return None if dtype is None else TensorSpec(name, dtype, shape)


def _axes(reader: FieldReader, shape: Field) -> Iterator[int]:
    """The lengths of the axes; -1 for those that are symbolic or not stated."""
    for axis in _inside(reader, shape, _DIMENSION):
        lengths = [reader.integer(one) for one in _inside(reader, axis, _LENGTH_OF_AXIS)]
        yield lengths[-1] if lengths and lengths[-1] >= 0 else -1


def _only(reader: FieldReader, message: Field, number: int) -> Field:
    """The field of a message that has this number.

    Raises:
        Damaged: the message has no such field.
    """
    for field in _inside(reader, message, number):
        return field
    raise Damaged


def _inside(reader: FieldReader, message: Field, number: int) -> Iterator[Field]:
    """The fields of a message that have this number."""
    return (one for one in reader.fields(message.start, message.end) if one.number == number)
