"""Model files and directories: recognised by their headers, or refused with what is wrong.

Whatever they claim, what is told of them fits in a message, and nothing of them is run.
"""

import io
import json
import struct
import zipfile
from pathlib import Path

import safetensors.numpy
import torch
from onnx import TensorProto, helper

from sire.errors import SireError
from sired.store.fingerprint import fingerprint
from sired.store.formats import recognise
from sired.store.huggingface import directory_fingerprint, loaded_bytes
from sired.store.safetensors_file import read_tensors
from tests.fuzz.draw import Draw, nested, scratch

_FILE, _SAFETENSORS, _ZIP, _DIRECTORY, _ONNX = range(5)
_KNOWN = ("F32", "F16", "I8", "F8_E4M3")
_SIZES = (0, 1, -1, 4, 8, 16, 2**31, 2**62, 2**63, 2**64 - 1, 2**70, 1.5, "4", None)
_ENTRIES = (
    *("data.pkl", "archive_format", "version", "byteorder", "constants.pkl", "code/x.py", "data/0"),
    *("data/aotinductor/m/m.so", "../../x", "/x", "models/m.json", ".data/serialization_id"),
)


def fuzz_one(data: bytes) -> None:
    """Look at the bytes as a model; raises only for what is a bug."""
    draw = Draw(data)
    with scratch() as directory:
        path = Path(directory) / "m"
        match draw.byte() % 5:
            case 0:
                path.write_bytes(draw.rest())
            case 1:
                path.write_bytes(_safetensors(draw))
            case 2:
                path.write_bytes(_zip(draw))
            case 3:
                _huggingface(draw, path)
            case _:
                path.write_bytes(onnx_with_weights_in(draw.text(), draw.choice(_PLACES)))
        _check(path)


def _check(path: Path) -> None:
    try:
        found = recognise(path)
    except SireError as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"
        return
    assert 0 <= found.weight_bytes < 2**63
    if path.is_dir():
        assert 0 <= loaded_bytes(path, {}) < 2**63
        directory_fingerprint(path, {})
        return
    fingerprint(path)
    if found.name == "safetensors" and all(t.dtype in _KNOWN for t in read_tensors(path)):
        safetensors.deserialize(path.read_bytes())  # what passes is what the library reads


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
    ]
