"""Inputs in every content type: decoded to what models take, or refused as InvalidInput.

What was decoded holds nothing but arrays, numbers, texts and containers of them; written in a type
that keeps everything, it is read as the same.
"""

import io
import struct
import wave
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from PIL import Image

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sire.tensors import pack
from sired.codecs import decode, encode
from tests.fuzz.draw import Draw

KINDS = (
    *content.BY_NAME.values(),
    content.TREE,
    content.TENSORS,
    content.PARTS,
    "application/octet-stream",
)
SHAPES = ((), (-1,), (-1, 4), (1, 3, -1, -1), (-1, 8, 8, 3), (2, 64), (0,), (-1, 1, 2, 2))
DTYPES = ("float32", "int64", "uint8", "bool", "float16", "bfloat16", "string", "complex64")
LARGEST = 64 << 20
_PLAIN = (np.ndarray, np.generic, str, int, float, bool, bytes, type(None))


def fuzz_one(data: bytes) -> None:
    """Decode the bytes as an input; raises only for what is a bug."""
    draw = Draw(data)
    kind, signature = draw.choice(KINDS), _signature(draw)
    if kind == content.TENSORS:
        payload = _tensors(draw)
    elif kind == content.TREE:
        payload = Payload(kind, (draw.rest(), bytes(16)), (TensorSpec("", "float32", (2, 2)),))
    elif kind == content.PARTS:
        payload = Payload(kind, (_parts(draw), draw.bytes(), draw.rest()))
    elif kind == content.NPY and draw.byte() % 2:
        payload = Payload(kind, (_npy(draw),))
    else:
        payload = Payload(kind, (draw.rest(),))
    try:
        value = decode(payload, signature, ImageOptions(), LARGEST)
    except InvalidInput as error:
        assert len(str(error)) < 20_000, "an error repeats what it refuses"
        return
    _check(value)
    _check_answers(value)


def _signature(draw: Draw) -> Signature:
    count = draw.byte() % 3
    names = ("x", "y") if draw.byte() % 2 else ("", "samples")
    return Signature(
        tuple(TensorSpec(n, draw.choice(DTYPES), draw.choice(SHAPES)) for n in names[:count])
    )


def _tensors(draw: Draw) -> Payload:
    """Arrays whose descriptions are made up."""
    specs = tuple(
        TensorSpec(
            draw.choice(("", "x", "y")), draw.choice((*DTYPES, "U0", "object")), _shape(draw)
        )
        for _ in range(draw.byte() % 3)
    )
    frames = tuple(draw.bytes() for _ in specs)
    return Payload(content.TENSORS, frames, specs)


def _parts(draw: Draw) -> bytes:
    """A description of two inputs."""
    return msgspec.msgpack.encode([(name, draw.choice(KINDS)) for name in ("x", "y")])


def _shape(draw: Draw) -> tuple[int, ...]:
    if draw.byte() == 255:
        return (1,) * 70
    axes = (0, 1, 2, 3, 4, 16, -1, -2, 2**31, 2**62, 2**63 - 1)
    return tuple(draw.choice(axes) for _ in range(draw.byte() % 4))


def _npy(draw: Draw) -> bytes:
    """A header that reads well and says what it likes."""
    descr = draw.choice(
        ("<f4", "<U1", "<U0", "|O", "|V0", "|S0", ">i8", "<M8[s]", "|b1", "<c16", "?", "f4,f4")
    )
    shape, order = _shape(draw), draw.byte() % 2 == 1
    header = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + draw.rest()


def _check(value: object, depth: int = 0) -> None:
    if isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufcU" or all(isinstance(item, str) for item in value.ravel())
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        assert depth < 200
        for item in value:
            _check(item, depth + 1)
        return
    assert isinstance(value, _PLAIN), type(value)


def _check_answers(value: object) -> None:
    for accept in (content.JSON, content.NPY, content.CSV, content.TEXT, content.SAFETENSORS):
        try:
            encode(value, accept)
        except InvalidInput:
            continue
    try:
        again = decode(encode(value, content.TENSORS), Signature(), ImageOptions(), LARGEST)
    except InvalidInput:
        return
    if isinstance(value, np.ndarray) and value.dtype.kind != "U" and value.dtype != object:
        assert again.shape == value.shape
        np.testing.assert_array_equal(again, value)


def seeds() -> list[bytes]:
    """A small file of each kind, and the tricks that formats are known for."""
    files: dict[str, list[bytes]] = {
        content.JSON: [b"[[1, 2.5], [3, -4e5]]", b'{"x": [1, null], "y": "\\ud83d\\ude00"}'],
        content.CSV: [b"a,b\n1,2\n3.5,-4\n", b'"1","2"\n'],
        content.TEXT: ["grüß dich\n".encode()],
        content.NPY: _written(np.save, np.arange(6.0).reshape(2, 3), np.array(["a", "bc"])),
        content.NPZ: _written(np.savez_compressed, np.zeros(9)),
        content.SAFETENSORS: [safetensors.numpy.save({"x": np.ones((2, 2), np.float32)})],
        content.PNG: [*_pictures("PNG", "L", "RGB", "RGBA", "P", "I;16", "LA", "1")],
        content.JPEG: [*_pictures("JPEG", "L", "RGB", "CMYK")],
        content.WAV: [_sound(width, channels) for width in (1, 2, 3, 4) for channels in (1, 2)],
        content.TREE: [
            bytes(pack([np.ones(2), ("a", 1.5), {"b": None}]).frames[0]),
            msgspec.msgpack.encode(msgspec.msgpack.Ext(-1, bytes(8))),
        ],
        content.TENSORS: [bytes([1, 0, 1, 0, 0, 1, 0, 2, 8]) + bytes(8)],
    }
    return [
        bytes([0, KINDS.index(kind), signature, 0, *([0] * 4 * signature)])
        + bytes(1 if kind == content.NPY else 0)
        + file
        for kind, kinds in files.items()
        for file in kinds
        for signature in (0, 1)
    ]


def _written(save: Any, *arrays: Any) -> list[bytes]:
    files = []
    for one in arrays:
        buffer = io.BytesIO()
        save(buffer, one)
        files.append(buffer.getvalue())
    return files


def _pictures(kind: str, *modes: str) -> list[bytes]:
    files = []
    for mode in modes:
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        Image.new(mode, (5, 3)).save(buffer, kind, exif=exif)
        files.append(buffer.getvalue())
    return files


def _sound(width: int, channels: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(4 * width * channels)))
    return buffer.getvalue()
