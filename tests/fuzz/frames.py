"""What arrives at the sockets: headers of the front socket, packets of the private lines.

A header is read or refused with a ProtocolError; what was read is written and read again as the
same. A packet, with or without memory passed along, is read or refused in the same way.
"""

import array
import fcntl
import os
import socket
import struct

import msgspec

from sire.errors import ProtocolError, SireError
from sire.protocol import direct, jobs, replies, requests, runs
from sire.protocol.framing import decode_reply, decode_request, encode, failure, preamble
from sire.protocol.message import PROTOCOL_VERSION
from sire.spec import ModelSpec, TensorSpec
from sire.transport.channel import Channel
from sired.workers import messages
from tests.fuzz.draw import Draw

REQUESTS = requests.Request.__args__
REPLIES = replies.Reply.__args__
INCOMING = (
    *(messages.ToWorker, messages.FromWorker, runs.RunModel, direct.OpenDirect),
    *(direct.ToListener, direct.PayloadFollows),
)
_PREFIX = struct.Struct("<QQIB")
_WRITTEN = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_READ_HEADER, _DRAW_HEADER, _READ_REPLY, _PACKET, _DRAW_PACKET = range(5)


def fuzz_one(data: bytes) -> None:
    """Read the bytes as one of these; raises only for what is a bug."""
    draw = Draw(data)
    match draw.byte() % 5:
        case 0:
            check_header(draw.rest())
        case 1:
            check_header(drawn_header(draw))
        case 2:
            _check_reply(draw.rest())
        case 3:
            _check_packet(draw.choice(INCOMING), draw.rest(), None)
        case _:
            _check_drawn_packet(draw)


def check_header(header: bytes) -> None:
    """A request, or a refusal that names the request as far as that can be read."""
    try:
        request = decode_request(header)
    except ProtocolError as error:
        reply = encode(failure(error, preamble(header).id))
        assert isinstance(decode_reply(reply), replies.Failure)
        assert len(reply) < 10_000, "a refusal repeats what it refuses"
        return
    again = decode_request(encode(request))
    assert encode(again) == encode(request)


def drawn_header(draw: Draw) -> bytes:
    """A header with a known tag and some fields of it, of any type."""
    kind = draw.choice(REQUESTS)
    content = {"op": kind.__struct_config__.tag}
    for field in kind.__struct_encode_fields__:
        if draw.byte() % 2:
            content[field] = _drawn_field(draw, field)
    return msgspec.msgpack.encode(content)


def _drawn_field(draw: Draw, field: str) -> object:
    fitting = {
        "model": lambda: _some_of(draw, ModelSpec) if draw.byte() % 2 else draw.text(),
        "tensors": lambda: [_some_of(draw, TensorSpec)],
        "inputs": lambda: [_some_of(draw, jobs.JobInput)],
        "v": lambda: draw.choice((1, 1, 1, 2, "1", None)),
    }
    return fitting.get(field, draw.value)() if draw.byte() % 4 else draw.value()


def _some_of(draw: Draw, kind: type[msgspec.Struct]) -> dict[str, object]:
    fields = kind.__struct_encode_fields__
    return {field: draw.value() for field in fields if draw.byte() % 3}


def _check_reply(header: bytes) -> None:
    try:
        reply = decode_reply(header)
    except ProtocolError:
        return
    assert encode(decode_reply(encode(reply))) == encode(reply)


def _check_drawn_packet(draw: Draw) -> None:
    """A packet whose figures are made up, and memory of a made-up size beside it."""
    figures = draw.choice, (0, 1, 2, 9, 64, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
    size, header, count = (figures[0](figures[1]) for _ in range(3))
    prefix = _PREFIX.pack(size, header, count % 2**32, draw.byte() % 4)
    incoming, memory = draw.choice(INCOMING), draw.choice((None, 0, 1, 64, 4096, 2**40))
    _check_packet(incoming, prefix + draw.rest(), memory)


def _check_packet(incoming: object, packet: bytes, memory: int | None) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[object] = Channel(ours, incoming, steady=len(packet) % 2 == 0)
    try:
        send_packet(theirs, packet[:60_000] or b"\0", memory)
        channel.try_receive()
    except (SireError, EOFError):
        pass
    finally:
        channel.close()
        theirs.close()


def send_packet(line: socket.socket, packet: bytes, memory: int | None) -> None:
    """Send a packet, and with it memory of that size if one is given."""
    if memory is None:
        line.send(packet)
        return
    descriptor = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, memory)
        if memory <= _WRITTEN:  # as a payload that is passed on has to be
            os.pwrite(descriptor, bytes(memory), 0)
        final = fcntl.F_SEAL_WRITE if memory <= _WRITTEN else 0
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | final)
        passed = array.array("i", [descriptor])
        line.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    finally:
        os.close(descriptor)


def seeds() -> list[bytes]:
    """One of each message, and packets as they are sent."""
    spec = ModelSpec("m", "/m.onnx", args={"a": [1, None]}, keep_alive=5.0)
    tensor = TensorSpec("x", "float32", (2, 3))
    samples = [
        requests.Health(id=1),
        requests.Register(id="r", model=spec),
        requests.Predict(id=2, model="m", tensors=(tensor,), timeout=1.5, priority="high"),
        jobs.Submit(id=3, model="m", metadata={"a": "b"}, timeout=5.0),
        jobs.WaitJobs(id=4, jobs=("a", "b")),
        requests.Move(id=5, name="m", to="dram"),
    ]
    answers = [
        replies.Failure(id=1, code="QueueFull", message="full", details={"depth": 3}),
        replies.Prediction(id=2, content_type="application/json", tensors=(tensor,)),
    ]
    run = msgspec.msgpack.encode(runs.RunModel(1, "application/json", (tensor,), "text/plain"))
    packet = _PREFIX.pack(8 + len(run) + 2, len(run), 1, 0) + struct.pack("<Q", 2) + run + b"[]"
    wanted = msgspec.msgpack.encode(direct.OpenDirect("kept", PROTOCOL_VERSION))
    opens = msgspec.msgpack.encode(direct.OpenPayloads(PROTOCOL_VERSION))
    follows = msgspec.msgpack.encode(direct.PayloadFollows(1))
    payload = _PREFIX.pack(8 + len(follows), len(follows), 1, 3) + struct.pack("<Q", 64) + follows
    passed = _PREFIX.pack(2**16, 9, 1, 1)
    return [
        *(bytes([_READ_HEADER]) + encode(sample) for sample in samples),
        *(bytes([_READ_HEADER]) + b"\x81\xa1v" + b"\x91" * depth for depth in (500, 900, 9_000)),
        bytes([_READ_HEADER]) + b"\x82\xa2op\xa6health\xa1v\xdb\x00\x00\x20\x00" + b"x" * 8192,
        *(bytes([_READ_REPLY]) + encode(answer) for answer in answers),
        *(bytes([_PACKET, 0, kind]) + packet for kind in range(len(INCOMING))),
        bytes([_PACKET, 0, 2]) + passed,
        bytes([_PACKET, 0, 3]) + _PREFIX.pack(len(wanted), len(wanted), 0, 0) + wanted,
        bytes([_PACKET, 0, 4]) + _PREFIX.pack(len(opens), len(opens), 0, 0) + opens,
        bytes([_PACKET, 0, 5]) + payload,
        *(bytes([_DRAW_HEADER]) + bytes([0, n] + [1] * 40) for n in range(len(REQUESTS))),
        *(bytes([_DRAW_PACKET]) + bytes(range(n, n + 60)) for n in (0, 60, 120)),
    ]
