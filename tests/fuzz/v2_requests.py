"""Bodies of the Open Inference Protocol over HTTP: JSON, a length in a header, and tensors.

A body is read as inputs whose bytes are exactly those that follow the JSON, or refused with
InvalidInput. Whether bytes fill the shape is for the worker to check.
"""

import msgspec

from sire.errors import InvalidInput
from sire.protocol.content import TENSORS
from sire.spec import Signature, TensorSpec
from sired.gateway.oip.body import read_request
from sired.gateway.oip.inference import prediction
from tests.fuzz.draw import Draw

_DATATYPES = ("FP32", "INT64", "BOOL", "BYTES", "BF16", "UINT8", "FP16", "FP64", "INT3", "")
_SIZES = (0, 1, 2, 3, 4, 8, 16, 2**31, 2**48, 2**63, 2**64, -1)
_DATA: tuple[object, ...] = (
    [1, 2, 3, 4],
    [[1, 2], [3, 4]],
    ["a", "b"],
    [True],
    [1e400, -1],
    None,
    3,
    {},
    [[], [1]],
)
_LENGTHS = ("0", "1", "-1", "4", "x", "", "9" * 400, "0" * 5000 + "5", "²")
_SIGNATURES = (
    Signature(),
    Signature(inputs=(TensorSpec("", "float32", (-1, 4)),)),
    Signature(inputs=(TensorSpec("x", "float32", (2, 2)), TensorSpec("m", "object", (-1,)))),
)


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a body; raises only for what is a bug."""
    draw = Draw(data)
    signature = draw.choice(_SIGNATURES)
    if draw.byte() % 3:
        header, tensors = _drawn(draw)
        stated = str(len(header)) if draw.byte() % 8 else draw.choice(_LENGTHS)
        _read(header + tensors, stated, signature)
    else:
        length = None if draw.byte() % 2 else draw.choice(_LENGTHS)
        _read(draw.rest(), length, signature)


def _drawn(draw: Draw) -> tuple[bytes, bytes]:
    """JSON with made-up inputs, and about as many bytes as they announce."""
    inputs, announced = [], 0
    for _ in range(draw.byte() % 4):
        shape = [draw.choice(_SIZES) for _ in range(draw.byte() % 4)]
        one: dict[str, object] = {
            "name": draw.text(),
            "shape": shape,
            "datatype": draw.choice(_DATATYPES),
        }
        if draw.byte() % 2:
            one["data"] = draw.choice(_DATA) if draw.byte() % 4 else draw.value()
        else:
            size = draw.choice(_SIZES)
            one["parameters"] = {"binary_data_size": size if draw.byte() % 8 else draw.value()}
            announced += size if 0 <= size < 100 else 0
        inputs.append(one)
    whole: dict[str, object] = {"inputs": inputs}
    if draw.byte() % 4 == 0:
        whole["parameters"] = {draw.text(): draw.value(), "timeout": draw.value()}
    rest = draw.bytes()
    tensors = (rest + bytes(announced))[: announced + draw.choice((0, 0, 0, 1))]
    return msgspec.json.encode(whole), tensors


def _read(body: bytes, length: str | None, signature: Signature) -> None:
    try:
        request, contents = read_request(body, length)
        predict, frames = prediction("m", request, contents, signature)
    except InvalidInput:
        return
    assert len(contents) == len(request.inputs)
    following = sum(len(one) for one in contents if one is not None)
    assert following == len(body) - (len(body) if length is None else int(length))
    if predict.content_type == TENSORS:
        assert len(frames) == len(predict.tensors)
        assert all(axis >= 0 for spec in predict.tensors for axis in spec.shape)


def seeds() -> list[bytes]:
    """Bodies that are read."""
    text = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}'
    several = b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["a"]}],"id":"1"}'
    drawn = bytes((0, 0, 1, 1, 2, 0, 5, 0, 0, 0, 0, 0, 2, 8, 1)) + bytes(24)
    return [bytes((0, 0, 0, 1)) + text, bytes((0, 2, 3, 1)) + several, drawn, drawn * 3]
