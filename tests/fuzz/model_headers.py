"""Model files and directories: recognised by their headers, or refused with what is wrong.

Whatever they claim, what is told of them fits in a message, and nothing of them is run.
"""

import errno
import io
import json
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.numpy
import torch
from onnx import TensorProto, helper

from sire.errors import SireError
from sired.store.fingerprint import fingerprint
from sired.store.formats import content_fingerprint, memory_of_weights, recognise
from sired.store.safetensors_file import read_tensors
from tests.fuzz.draw import Draw, nested, scratch

_FILE, _SAFETENSORS, _ZIP, _DIRECTORY, _ONNX, _TORCH, _PROGRAM, _PIPELINE = range(8)
# The number that torch.save's format before zip files begins with, pickled.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_KNOWN = ("F32", "F16", "I8", "F8_E4M3")
_SIZES = (0, 1, -1, 4, 8, 16, 2**31, 2**62, 2**63, 2**64 - 1, 2**70, 1.5, "4", None)
_deserialize: Callable[[bytes], object] = safetensors.deserialize  # which has no types
_ENTRIES = (
    *("data.pkl", "archive_format", "version", "byteorder", "constants.pkl", "code/x.py", "data/0"),
    *("data/aotinductor/m/m.so", "../../x", "/x", "models/m.json", ".data/serialization_id"),
)


def fuzz_one(data: bytes) -> None:
    """Look at the bytes as a model; raises only for what is a bug."""
    with scratch() as directory:
        path = Path(directory) / "m"
        write_drawn(Draw(data), path)
        _check(path)


def write_drawn(draw: Draw, path: Path) -> None:
    """Write a model of any format: a file or a directory."""
    match draw.byte() % 8:
        case 0:
            path.write_bytes(draw.rest())
        case 1:
            path.write_bytes(_safetensors(draw))
        case 2:
            path.write_bytes(_zip(draw))
        case 3:
            _huggingface(draw, path)
        case 4:
            path.write_bytes(onnx_with_weights_in(draw.text(), draw.choice(_PLACES)))
        case 5:
            path.write_bytes(_torch_file(draw))
        case 6:
            path.write_bytes(_program(draw))
        case _:
            _diffusers(draw, path)


def _check(path: Path) -> None:
    try:
        found = recognise(path)
    except SireError as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"
        return
    except OSError as error:
        assert error.errno == errno.ENAMETOOLONG
        return
    assert 0 <= found.weight_bytes < 2**63
    if path.is_dir():
        assert 0 <= memory_of_weights(found, path, {}) < 2**63
        assert content_fingerprint(found.name, path, {})
        return
    fingerprint(path)
    if found.name == "safetensors" and all(t.dtype in _KNOWN for t in read_tensors(path)):
        _deserialize(path.read_bytes())  # what passes is what the library reads


def _safetensors(draw: Draw) -> bytes:
    """A header whose tensors lie where it likes, and some bytes."""
    header: dict[str, object] = {}
    for _ in range(draw.byte() % 4):
        header[draw.choice(("a", "b", "__metadata__"))] = {
            "dtype": draw.choice(("F32", "F16", "I8", "F8_E4M3", "F4", "X", 1, None)),
            "shape": draw.choice(([], [1], [2, 2], [-1], [2**62, 4], [0], "4", nested(900))),
            "data_offsets": draw.choice(([0, 4], [4, 8], [0, 16], [draw.choice(_SIZES)] * 2, [4])),
        }
    if draw.byte() == 7:
        header["a"] = nested(draw.choice((100, 900)))
    text = json.dumps(header).encode()
    length = draw.choice((len(text), len(text), len(text), 2**62, 0, 100 << 20, 2**64 - 1))
    return struct.pack("<Q", length) + text + bytes(draw.choice((0, 4, 8, 16)))


def _zip(draw: Draw) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(draw.byte() % 5):
            packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
            name = f"{draw.choice(('m', '', '..'))}/{draw.choice(_ENTRIES)}"
            if name not in archive.namelist():
                archive.writestr(name, draw.bytes(), packing)
    data = bytearray(buffer.getvalue())
    for _ in range(draw.byte() % 4):  # sizes and offsets stand in the directory at the end
        data[-1 - draw.byte() % len(data)] = draw.byte()
    return bytes(data)


def _huggingface(draw: Draw, path: Path) -> None:
    """A directory whose files say what they like."""
    path.mkdir()
    config = draw.choice(({"model_type": "x"}, {"model_type": "x", "dtype": [1]}, [], nested(900)))
    (path / "config.json").write_text(json.dumps(config))
    weights = draw.choice(("model.safetensors", "pytorch_model.bin"))
    place = draw.choice(("m.bin", "../x", "/etc/hostname", "..", "", "x" * 300, "a\0b", 7, None))
    index = draw.choice(({"weight_map": {"w": place}}, {"weight_map": place}, [place], nested(900)))
    (path / f"{weights}.index.json").write_text(json.dumps(index))
    modules = [{"type": "x.Transformer", "path": place}] if draw.byte() % 2 else [place]
    (path / "modules.json").write_text(json.dumps(modules))
    if draw.byte() % 2:
        (path / weights).write_bytes(draw.rest())


def _torch_file(draw: Draw) -> bytes:
    """A table of tensors whose instructions are drawn, in a zip file or in the old format."""
    codes = [code.code.encode("latin-1") for code in pickletools.opcodes]
    table = b"\x80\x02" + b"".join(
        draw.choice(codes)
        + draw.choice((b"", b"\n", b"\1", b"os\nsystem\n", b"\xff" * 4, b"\0" * 8))
        for _ in range(draw.byte() % 40)
    )
    if draw.byte() % 2:
        return LEGACY + draw.choice((b"M\xe9\x03.", b"")) * 2 + table + draw.rest()
    return _archive({"m/data.pkl": table + b".", "m/data/0": bytes(16)})


def _program(draw: Draw) -> bytes:
    """A program of torch.export whose description says what it likes."""
    values: tuple[Any, ...] = (
        *([], {}, None, 7, "x", nested(100)),
        [{"user_input": {"arg": {"as_tensor": {}}}}],
    )
    graph = {"tensor_values": {"x": {"dtype": draw.choice(_SIZES), "sizes": draw.choice(values)}}}
    sides = {"input_specs": draw.choice(values), "output_specs": draw.choice(values)}
    call = [{"fqn": "", "signature": {"out_spec": draw.choice(("[1]", "[" * 900, "", "{}"))}}]
    module = {"graph": graph, "signature": sides, "module_call_graph": draw.choice((call, values))}
    program = json.dumps({"graph_module": module}).encode()
    name = draw.choice(("m/models/model.json", "serialized_exported_program.json"))
    return _archive({"m/archive_format": b"pt2", name: draw.choice((program, draw.bytes()))})


def _archive(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _diffusers(draw: Draw, path: Path) -> None:
    """A pipeline whose index names components as it likes."""
    place = draw.choice(("unet", "..", "/etc", "a/b", "x" * 300, "a\0b"))
    named = draw.choice((["diffusers", "UNet"], [None, None], nested(200), 7))
    index = draw.choice(({"_class_name": "P", place: named}, {"_class_name": nested(90)}, [place]))
    (path / "unet").mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps(index))
    weights = draw.choice(("diffusion_pytorch_model.safetensors", "model.safetensors"))
    (path / "unet" / weights).write_bytes(_safetensors(draw))


_PLACES = ("initializer", "constant", "branch", "function", "sparse")


def onnx_with_weights_in(location: str, place: str) -> bytes:
    """A model that keeps a weight in another file, told somewhere in it."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.encode(errors="replace").decode())
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    output = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
    graph = helper.make_graph([constant], "g", [], [output])
    model = helper.make_model(graph)
    if place != "constant":
        del graph.node[:]
    if place == "initializer":
        graph.initializer.append(tensor)
    if place == "sparse":
        graph.sparse_initializer.add().values.CopyFrom(tensor)
    if place == "branch":
        inner = helper.make_graph([constant], "inner", [], [output])
        graph.node.append(
            helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner)
        )
    model = helper.make_model(graph)
    if place == "function":
        model.functions.append(
            helper.make_function("d", "F", [], ["w"], [constant], [helper.make_opsetid("", 21)])
        )
    return bytes(model.SerializeToString())


def seeds() -> list[bytes]:
    """A small file of each kind, as its own library writes it."""
    files = [
        safetensors.numpy.save({"w": torch.ones(4).numpy()}),
        onnx_with_weights_in("beside", "initializer"),
    ]
    for modern in (True, False):
        buffer = io.BytesIO()
        torch.save({"w": torch.ones(4)}, buffer, _use_new_zipfile_serialization=modern)
        files.append(buffer.getvalue())
    return [
        *(bytes([_FILE]) + file for file in files),
        bytes([_FILE]) + struct.pack("<Q", 9_000) + b'{"a":{"b":' + b"[" * 8_990,
        *(bytes([_SAFETENSORS, 2, *range(n, n + 20)]) for n in range(0, 200, 10)),
        *(bytes([_ZIP, 3, *range(n, n + 60)]) for n in range(0, 180, 10)),
        *(bytes([_DIRECTORY, *range(n, n + 12)]) for n in range(60)),
        *(bytes([_ONNX, 2, 0, text, 0, place]) for text in range(20) for place in range(5)),
        *(
            bytes([kind, *range(n, n + 30)])
            for kind in (_TORCH, _PROGRAM, _PIPELINE)
            for n in range(9)
        ),
    ]
