"""A flood of frames at the two sockets of a running daemon.

Afterwards it answers as before, has not grown, and the workers of models that no client may
unload are those that were there. Every answer on the way is one of the protocol, and none says that
something unexpected happened.
"""

import random
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import zmq

from sire.client.connection import Connection
from sire.errors import ProtocolError
from sire.paths import Paths, find_paths
from sire.protocol import jobs, requests
from sire.protocol.content import JSON
from sire.protocol.direct import FromDaemonOrWorker, OpenDirect, Opened
from sire.protocol.framing import decode_reply, decode_request, encode
from sire.protocol.message import PROTOCOL_VERSION
from sire.protocol.replies import Failure
from sire.spec import ModelSpec, TensorSpec
from sire.transport.channel import Channel
from tests.fuzz import frames
from tests.fuzz.draw import Draw, mutated

# The model that is to be left alone.
KEPT = "kept"
# Frames sent before the daemon is asked whether it is still there.
_AT_ONCE = 200
_ANSWER_SECONDS = 90
# These end the daemon or its workers, or hold them, and rightly so.
_RIGHTS = (
    *(requests.Shutdown, requests.Unload, requests.Remove, requests.Reload, requests.Move),
    *(requests.Shrink, requests.Acquire, requests.Register, requests.Load),
)


@dataclass
class Flood:
    """What was sent and what came of it."""

    sent: int = 0
    answers: int = 0
    refused: int = 0
    unexpected: list[str] = field(default_factory=list)


def flood_front(paths: Paths, count: int, seed: int) -> Flood:
    """Send N messages, and read the replies."""
    chance, flood = random.Random(seed), Flood()
    seeds = [header[1:] for header in frames.seeds() if header[0] == 0]
    with zmq.Context() as context, context.socket(zmq.DEALER) as line:
        line.linger, line.rcvtimeo = 0, _ANSWER_SECONDS * 1000
        line.connect(f"ipc://{paths.socket}")
        while flood.sent < count:
            for _ in range(min(_AT_ONCE, count - flood.sent)):
                line.send_multipart(_message(chance, seeds))
                flood.sent += 1
            _read_up_to_health(line, flood)
    return flood


def _message(chance: random.Random, seeds: list[bytes]) -> list[bytes]:
    """The frames of one message, seldom of one that is right."""
    payload = [
        chance.randbytes(chance.choice((0, 1, 9, 300))) for _ in range(chance.choice((0, 1, 1, 3)))
    ]
    match chance.randrange(8):
        case 0:
            return [b"", chance.randbytes(chance.choice((0, 1, 30))), *payload]
        case 1:
            return [chance.randbytes(chance.choice((0, 3))), *payload]
        case 2 | 3:
            return [b"", _allowed(frames.drawn_header(Draw(chance.randbytes(200)))), *payload]
        case 4:
            return [b"", encode(_prediction(chance)), *payload]
        case _:
            return [b"", _allowed(mutated(chance.choice(seeds), chance, seeds)), *payload]


def _prediction(chance: random.Random) -> requests.Predict:
    kinds = (JSON, "text/csv", "application/x-sire-tensors", "application/x-sire-tree", "image/png")
    tensor = TensorSpec("", "float32", (chance.choice((-1, 0, 2, 2**40)), 2))
    tensors = (tensor,) * chance.choice((0, 0, 1))
    accept = chance.choice((*kinds, "?"))
    return requests.Predict(
        model=KEPT, content_type=chance.choice(kinds), tensors=tensors, accept=accept
    )


def _allowed(header: bytes) -> bytes:
    """A header, or an empty one in place of one that has a right to do harm."""
    try:
        request = decode_request(header)
    except ProtocolError:
        return header
    if isinstance(request, _RIGHTS) or getattr(request, "older_than", None) is not None:
        return b""
    # It would be answered in a minute.
    return b"" if isinstance(request, jobs.WaitJobs) else header


def _read_up_to_health(line: "zmq.Socket[bytes]", flood: Flood) -> None:
    asked = f"health {flood.sent}"
    line.send_multipart([b"", encode(requests.Health(id=asked))])
    while True:
        parts = line.recv_multipart()
        assert parts[0] == b""
        reply = decode_reply(parts[1])
        if reply.id == asked:
            return
        flood.answers += 1
        if isinstance(reply, Failure):
            flood.refused += 1
            if reply.code == "SireError":
                flood.unexpected.append(reply.message)


def flood_door(paths: Paths, count: int, seed: int) -> int:
    """Connect so often, say something odd, and hang up; returns how many were answered."""
    chance, answered = random.Random(seed), 0
    seeds = [packet[3:] for packet in frames.seeds() if packet[0] == 3]
    for _ in range(count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.settimeout(_ANSWER_SECONDS)
            line.connect(str(paths.direct_socket))
            packet = chance.choice(seeds)
            if chance.random() < 0.8:
                packet = mutated(packet, chance, seeds)[:60_000] or b"\0"
            memory = chance.choice((None, None, None, 0, 64, 2**33))
            frames.send_packet(line, packet, memory)
            if chance.random() < 0.8:
                answered += _answered(line)
    return answered


def flood_worker(paths: Paths, count: int, seed: int) -> int:
    """Open N direct connections and send nonsense; returns the number that were granted."""
    chance, opened = random.Random(seed), 0
    seeds = [packet[3:] for packet in frames.seeds() if packet[0] == 3]
    for _ in range(count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.settimeout(_ANSWER_SECONDS)
            line.connect(str(paths.direct_socket))
            channel: Channel[FromDaemonOrWorker] = Channel(line, FromDaemonOrWorker)
            channel.send(OpenDirect(KEPT, PROTOCOL_VERSION))
            opened += isinstance(channel.receive()[0], Opened)
            for _ in range(chance.randrange(4)):
                packet = mutated(chance.choice(seeds), chance, seeds)[:60_000] or b"\0"
                try:
                    frames.send_packet(line, packet, chance.choice((None, None, 64, 2**33)))
                except OSError:  # it has hung up
                    break
    return opened


def _answered(line: socket.socket) -> bool:
    try:
        return bool(line.recv(1 << 16))
    except OSError:
        return False


def register_kept(connection: Connection, weights: Path, model_class: str) -> None:
    """Register the model that is left alone, and have it loaded."""
    spec = ModelSpec(KEPT, str(weights), model_class=model_class, keep_alive="forever")
    connection.ask(requests.Register(model=spec))
    connection.ask(requests.Load(name=KEPT))


def run_alone(count: int) -> None:
    """Start a daemon of our own, flood it, and print what came of it."""
    import torch
    from safetensors.torch import save_file

    home = Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp"))
    paths = find_paths({"SIRE_HOME": str(home)})
    source = home / "model.py"
    source.write_text(_MODEL)
    save_file({"weight": torch.ones(2)}, home / "m.safetensors")
    try:
        with Connection(paths) as connection:
            register_kept(connection, home / "m.safetensors", f"{source}:Same")
            daemon = psutil.Process(int(paths.lock.read_text()))
            flood_front(paths, 2_000, seed=0)
            before, began = daemon.memory_info().rss, time.monotonic()
            flood = flood_front(paths, count, seed=random.randrange(1 << 32))
            seconds, grown = time.monotonic() - began, daemon.memory_info().rss - before
            print(f"{flood.sent} messages in {seconds:.0f} s, {flood.answers} answers,")
            print(f"{flood.refused} of them refusals; the daemon grew by {grown} bytes")
            print(flood.unexpected[:5])
            connection.ask(requests.Shutdown())
            daemon.wait(30)
        assert not flood.unexpected
    finally:
        shutil.rmtree(home)


_MODEL = """
import torch

class Same(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x):
        return x * self.weight
"""
