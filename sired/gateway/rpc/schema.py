"""The messages of the protocol, as classes that are made from ``inference.proto`` at import.

So no generated code has to fit the version of protobuf that is installed. The classes have a pool
of their own, apart from a client's generated code in the same process.
"""

import re
from importlib.resources import files
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessages

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_FILE = "inference.proto"
_BLOCK = re.compile(r"(message|oneof|enum|service) (\w+) \{(\})?")
_FIELD = re.compile(r"(repeated )?(?:map<string, (\w+)>|(\w+)) (\w+) = (\d+);")
_VALUE = re.compile(r"(\w+) = (\d+);")
_METHOD = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((?:stream )?(\w+)\);")
_SCALARS = frozenset(
    name.removeprefix("TYPE_").lower()
    for name in FieldDescriptorProto.Type.keys()  # noqa: SIM118
)


class Method(NamedTuple):
    """A method of the service; whether it takes and sends any number of messages."""

    name: str
    request: type[Message]
    response: type[Message]
    streams: bool


def read_file(text: str) -> FileDescriptorProto:
    """The messages and enums of a file of Protocol Buffers, with a statement or a brace a line.

    Raises:
        ValueError: a line is not of the subset of the language that is known here.
    """
    file = FileDescriptorProto(name=_FILE, package=PACKAGE, syntax="proto3")
    blocks: list[tuple[str, DescriptorProto]] = []
    for line in (line.strip() for line in text.splitlines()):
        kind, message = blocks[-1] if blocks else ("", DescriptorProto())
        if block := _BLOCK.fullmatch(line):
            opened = _open(file, message if blocks else None, block[1], block[2])
            if not block[3]:
                blocks.append((block[1], opened))
        elif line == "}":
            blocks.pop()
        elif kind == "enum" and (value := _VALUE.fullmatch(line)):
            file.enum_type[-1].value.add(name=value[1], number=int(value[2]))
        elif kind in {"message", "oneof"} and (field := _FIELD.fullmatch(line)):
            _add_field(message, field, one_of=kind == "oneof")
        elif not _is_known(line):
            raise ValueError(f"{line!r} is not understood.")
    return file


def _open(
    file: FileDescriptorProto, outer: DescriptorProto | None, kind: str, name: str
) -> DescriptorProto:
    """Begin a block; returns the message that it belongs to."""
    if kind == "message":
        return (file.message_type if outer is None else outer.nested_type).add(name=name)
    if kind == "enum":
        file.enum_type.add(name=name)
    elif kind == "oneof" and outer is not None:
        outer.oneof_decl.add(name=name)
    return outer or DescriptorProto()


def _is_known(line: str) -> bool:
    """Whether a line has no message."""
    return not line or line.startswith(("//", "syntax ", "package ")) or bool(_METHOD.match(line))


def _add_field(message: DescriptorProto, found: "re.Match[str]", *, one_of: bool) -> None:
    repeated, values, kind, name, number = found.groups()
    field = message.field.add(name=name, number=int(number))
    field.label = FieldDescriptorProto.LABEL_OPTIONAL
    if repeated or values:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if values:  # a map is a list of pairs
        kind = f"{name.title()}Entry"
        pair = message.nested_type.add(name=kind)
        pair.options.map_entry = True
        for line in ("string key = 1;", f"{values} value = 2;"):
            part = _FIELD.fullmatch(line)
            assert part is not None
            _add_field(pair, part, one_of=False)
    if kind in _SCALARS:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type_name = kind
    if one_of:
        field.oneof_index = 0


def _methods() -> tuple[Method, ...]:
    text = files(__package__).joinpath(_FILE).read_text()
    classes = GetMessages([read_file(text)], DescriptorPool())
    return tuple(
        Method(name, classes[f"{PACKAGE}.{takes}"], classes[f"{PACKAGE}.{gives}"], bool(stream))
        for name, stream, takes, gives in _METHOD.findall(text)
    )


METHODS = {method.name: method for method in _methods()}
