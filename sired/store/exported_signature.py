"""The inputs and outputs that a program of ``torch.export`` states, read without PyTorch.

They are those that ``sired.runtimes.pytorch.programs`` reports for a loaded program. The fields are
those of ``torch._export.serde.schema``.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sire.spec import Signature, TensorSpec

# In an archive of today, and in those of PyTorch before 2.7.
_PROGRAM, _OLD_PROGRAM = "models/model.json", "serialized_exported_program.json"
# The graph of a model with 1,000 layers takes 10 MB.
_LARGEST_PROGRAM = 64 << 20
# schema.ScalarType.
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
}
_DICTS = ("builtins.dict", "collections.OrderedDict")
_SEQUENCES = (None, "builtins.tuple", "builtins.list", "collections.namedtuple")


class _Tensor(msgspec.Struct):
    dtype: int
    sizes: list[dict[str, Any]]


class _Graph(msgspec.Struct):
    tensor_values: dict[str, _Tensor]


class _Sides(msgspec.Struct):
    input_specs: list[dict[str, Any]]
    output_specs: list[dict[str, Any]]


class _CallSignature(msgspec.Struct):
    out_spec: str


class _Call(msgspec.Struct):
    fqn: str
    signature: _CallSignature | None = None


class _Module(msgspec.Struct):
    graph: _Graph
    signature: _Sides
    module_call_graph: list[_Call]


class _Program(msgspec.Struct):
    graph_module: _Module


class _Structure(msgspec.Struct):
    type: str | None
    context: str | None
    children_spec: list[Any]


def exported_signature(path: Path) -> Signature:
    """The inputs and outputs of a program; a side with values that are not tensors is empty.

    Args:
        path: of a file that is known to be an exported program.

    Raises:
        OSError: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        name = next((n for n in names if n.endswith(_PROGRAM) or n == _OLD_PROGRAM), None)
        if name is None or archive.getinfo(name).file_size > _LARGEST_PROGRAM:
            return Signature()
        try:
            module = msgspec.json.decode(archive.read(name), type=_Program).graph_module
        except Exception:
            # Each decompressor raises exceptions of its own, and other schemas have other fields.
            return Signature()
    inputs = _names(module.signature.input_specs, "user_input", "constant_input")
    outputs = _names(module.signature.output_specs, "user_output", "loss_output")
    values = module.graph.tensor_values
    return Signature(
        _side(inputs if len(inputs) > 1 else [""], [values.get(n) for n in inputs]),
        _side(_keys(module.module_call_graph, len(outputs)), [values.get(n) for n in outputs]),
    )


def _names(specs: Sequence[dict[str, Any]], *kinds: str) -> list[str]:
    """The names of a side's tensors in the graph; "" for a value that is not a tensor."""
    of_kind = [spec[kind] for spec in specs for kind in kinds if kind in spec]
    return [_name(value) for value in of_kind]


def _name(value: Any) -> str:
    try:
        return str(value["arg"]["as_tensor"]["name"])
    except (KeyError, TypeError):
        return ""


def _keys(calls: Sequence[_Call], count: int) -> list[str]:
    """The names of the outputs: the keys of a dict, "" for each value of a sequence.

    Empty where they are in a class of the model's own.
    """
    whole = next((call.signature for call in calls if call.fqn == ""), None)
    if whole is None:
        return []
    try:
        _, structure = msgspec.json.decode(whole.out_spec, type=tuple[int, _Structure])
        if structure.type in _SEQUENCES:
            return [""] * count
        if structure.type in _DICTS and structure.context is not None:
            return msgspec.json.decode(structure.context, type=list[str])
    except msgspec.DecodeError:
        pass
    return []


def _side(names: Sequence[str], tensors: Sequence[_Tensor | None]) -> tuple[TensorSpec, ...]:
    described = [_describe(n, t) for n, t in zip(names, tensors, strict=False) if t is not None]
    known = tuple(spec for spec in described if spec is not None)
    return known if len(known) == len(tensors) == len(names) else ()


def _describe(name: str, tensor: _Tensor) -> TensorSpec | None:
    lengths = [axis.get("as_int", -1) for axis in tensor.sizes]
    if tensor.dtype not in _DTYPES or not all(isinstance(length, int) for length in lengths):
        return None
    return TensorSpec(name, _DTYPES[tensor.dtype], tuple(lengths))
