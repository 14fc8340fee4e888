"""What a client sends and receives: encoded within the limits that the daemon has, or refused.

A header that leaves the client is one that the daemon reads; data that is sent comes back the same;
an answer of any form is decoded or refused. Errors do not repeat what they refuse.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from sire.errors import InvalidInput, ProtocolError, SireError
from sire.protocol import jobs, requests
from sire.protocol.content import TENSORS, TREE, Payload, size_of
from sire.protocol.framing import LARGEST_HEADER, decode_reply, decode_request, encode_request
from sire.spec import ModelSpec, TensorSpec
from sire.tensors import pack, unpack
from tests.fuzz.draw import Draw, nested

_DTYPES = ("float32", "int64", "bool", "complex128", "float16", ">i2", "U3", "O", "S2", "M8[s]")
_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (3,), (2, 3), (0, 7), (1,) * 30, (1,) * 64)
_SIZES = (0, 1, 1_000, 40_000, LARGEST_HEADER - 100, LARGEST_HEADER - 30, LARGEST_HEADER)
_HEADER, _DATA, _ANSWER, _REPLY = range(4)


def fuzz_one(data: bytes) -> None:
    """Send or receive what is drawn; raises only for what is a bug."""
    draw = Draw(data)
    checks: tuple[Callable[[Draw], None], ...] = (
        _check_request,
        _check_data,
        _check_answer,
        _check_reply,
    )
    checks[draw.byte() % 4](draw)


def _check_request(draw: Draw) -> None:
    """A request, some of whose fields are large, is refused here or read by the daemon."""
    size = draw.choice(_SIZES)
    text, texts = "x" * size, tuple(f"{number:07}" for number in range(size // 9))
    tensors = (TensorSpec("x", "float32", (3,)),) * (size // 20)
    choices: tuple[requests.Request, ...] = (
        requests.Predict(id=1, model="m", tensors=tensors),
        jobs.Submit(id=2, model="m", metadata={"note": text, draw.text(): draw.text()}),
        requests.Register(id=3, model=ModelSpec("m", "", args={"a": draw.value(), "b": text})),
        jobs.WaitJobs(id=4, jobs=texts),
        requests.Show(id=draw.text(), name=draw.text()),
        jobs.Submit(id=5, model=text[:200], inputs=(jobs.JobInput(source=text),)),
    )
    request = draw.choice(choices)
    try:
        header = encode_request(request)
    except InvalidInput as error:
        assert len(str(error)) < 2_000, "an error repeats what it refuses"
        return
    assert len(header) <= LARGEST_HEADER
    try:
        assert encode_request(decode_request(header)) == header
    except ProtocolError as error:
        assert len(str(error)) < 2_000


def _check_data(draw: Draw) -> None:
    """Data is sent and comes back the same, or is refused."""
    value = _drawn_data(draw, 4)
    try:
        payload = pack(value)
    except InvalidInput as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"
        return
    assert size_of(payload.frames) >= 0
    again = pack(unpack(payload))
    assert list(map(bytes, again.frames)) == list(map(bytes, payload.frames))
    assert again.tensors == payload.tensors


def _drawn_data(draw: Draw, depth: int) -> object:
    kind = draw.byte() % (9 if depth else 5)
    if kind < 2:
        array = np.zeros(draw.choice(_SHAPES), draw.choice(_DTYPES))
        return array[::2] if array.ndim and draw.byte() % 2 else array
    if kind < 5:
        return draw.value(1)
    items = [_drawn_data(draw, depth - 1) for _ in range(draw.byte() % 4)]
    if kind == 5:
        return items
    if kind == 6:
        return tuple(items)
    if kind == 7:
        return {draw.choice(("a", "b", "", 1, None, ("t",), draw.text())): item for item in items}
    return draw.choice((nested(70), np.float16(1), {1, 2}, 2**64, -(2**63) - 1, object(), 1j))


def _check_answer(draw: Draw) -> None:
    """An answer whose frames and descriptions do not fit each other is refused."""
    tensors = tuple(
        TensorSpec(draw.choice(("", "a", "b")), draw.choice(_DTYPES[:6]), draw.choice(_SHAPES))
        for _ in range(draw.byte() % 4)
    )
    tree = draw.choice((msgspec.msgpack.encode(draw.value()), draw.bytes(), b"\xc7\1\2\0" * 99))
    frames = (tree, *(draw.bytes() for _ in range(draw.byte() % 4)))
    kind = draw.choice((TENSORS, TREE))
    try:
        unpack(Payload(kind, frames if kind == TREE else frames[1:], tensors))
    except SireError as error:
        assert len(str(error)) < 5_000


def _check_reply(draw: Draw) -> None:
    tags = ("prediction", "error", "submitted", "job_ids", "model", "part", "x")
    content = {"op": draw.choice(tags), "id": draw.value()}
    for field in ("code", "message", "details", "tensors", "jobs", "model", "hint", "v"):
        if draw.byte() % 2:
            content[field] = draw.value()
    try:
        decode_reply(draw.choice((msgspec.msgpack.encode(content), draw.rest())))
    except ProtocolError as error:
        assert len(str(error)) < 2_000


def seeds() -> list[bytes]:
    """Each check with each size, kind of data and answer."""
    return [
        *(bytes([_HEADER, 0, size, 0, kind]) for size in range(len(_SIZES)) for kind in range(6)),
        *(bytes([kind, *range(n, n + 40)]) for kind in (_DATA, _ANSWER, _REPLY) for n in range(40)),
    ]
