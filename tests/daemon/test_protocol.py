"""The front socket, spoken to by a plain REQ socket and by those who do not know the language."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.home import Home


@pytest.fixture
def socket(home: Home) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.rcvtimeo = 90_000
        socket.connect(f"ipc://{home.paths.socket}")
        yield socket


def exchange(socket: zmq.Socket[bytes], *frames: bytes) -> tuple[Any, ...]:
    socket.send_multipart(frames)
    header, *payload = socket.recv_multipart()
    return msgspec.msgpack.decode(header), payload


def ask(socket: zmq.Socket[bytes], op: str, *payload: bytes, **fields: Any) -> tuple[Any, ...]:
    return exchange(socket, msgspec.msgpack.encode({"op": op, "id": 1, **fields}), *payload)


def test_a_plain_req_socket_can_register_and_predict(socket: zmq.Socket[bytes], zoo: Path) -> None:
    model = {
        "name": "m",
        "path": f"{zoo}/x3.safetensors",
        "model_class": f"{zoo}/classes.py:Scale",
    }
    reply, _ = ask(socket, "register", model=model)
    assert reply["op"] == "model"
    reply, payload = ask(socket, "predict", b"[1, 2, 3, 4]", model="m")
    assert (reply["op"], reply["id"]) == ("prediction", 1)
    assert json.loads(payload[0]) == [3, 6, 9, 12]


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        [b"not msgpack"],
        [msgspec.msgpack.encode([1, 2])],
        [msgspec.msgpack.encode({"op": "unknown"})],
        [msgspec.msgpack.encode({"op": "health", "v": 99})],
        [msgspec.msgpack.encode({"op": "health"}) + b"rubbish"],
        [msgspec.msgpack.encode({"op": "show"})],
        [msgspec.msgpack.encode({"op": "show", "name": 7})],
        [b"\x91" * 100_000],
        [bytes(2 << 20)],
        [msgspec.msgpack.encode({"op": "predict", "model": "m", "tensors": [["a"]]})],
    ],
)
def test_what_is_no_request_is_answered_with_a_typed_error(
    socket: zmq.Socket[bytes], frames: list[bytes]
) -> None:
    reply, _ = exchange(socket, *frames)
    assert reply["op"] == "error"
    assert reply["code"] == "ProtocolError"
    reply, _ = ask(socket, "health")
    assert reply["op"] == "health_report"


def test_a_message_without_the_empty_frame_is_answered_and_hurts_nobody(
    home: Home, socket: zmq.Socket[bytes]
) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.rcvtimeo = 90_000
        dealer.connect(f"ipc://{home.paths.socket}")
        dealer.send(b"one frame")
        frames = dealer.recv_multipart()
        assert msgspec.msgpack.decode(frames[1])["code"] == "ProtocolError"
    assert ask(socket, "health")[0]["op"] == "health_report"


def test_tensors_that_do_not_match_their_frames_fail_alone(
    socket: zmq.Socket[bytes], zoo: Path
) -> None:
    model = {
        "name": "m",
        "path": f"{zoo}/x2.safetensors",
        "model_class": f"{zoo}/classes.py:Scale",
    }
    ask(socket, "register", model=model)
    kind = "application/x-sire-tensors"
    tensors = [{"name": "", "dtype": "float32", "shape": [1, 1 << 40]}]
    reply, _ = ask(socket, "predict", b"12", model="m", content_type=kind, tensors=tensors)
    assert reply["code"] == "InvalidInput"
    reply, _ = ask(socket, "predict", model="m")
    assert reply["code"] == "InvalidInput"
    reply, payload = ask(socket, "predict", b"[1, 1, 1, 1]", model="m")
    assert json.loads(payload[0]) == [2, 2, 2, 2]


def test_only_the_owner_can_reach_the_socket(home: Home, socket: zmq.Socket[bytes]) -> None:
    assert stat.S_IMODE(home.paths.runtime.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.paths.lock.stat().st_mode) == 0o600
    assert home.paths.runtime.stat().st_uid == os.getuid()
