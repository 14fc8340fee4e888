"""Messages and payloads cross the line between daemon and worker whole, whatever their size."""

import array
import gc
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sire.errors import ProtocolError
from sire.protocol.runs import RunModel, RunResult, WorkerError
from sire.spec import Signature
from sire.transport.channel import Channel, Message
from sired.workers.messages import (
    FromWorker,
    ModelReady,
    ToWorker,
)

RUN = RunModel(7, "application/json", (), "application/json")
DONE = RunResult(7, "application/json", (), 0.5, 0)

# What arrives is a message of any kind: each test says which it expects.
Pair = tuple[Channel[Any], Channel[Any]]
Raw = tuple[Channel[Any], socket.socket]


def taken(channel: Channel[Any]) -> Message[Any]:
    """The message that has arrived."""
    message = channel.try_receive()
    assert message is not None
    return message


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon: Channel[Any] = Channel(ours, FromWorker)
    worker: Channel[Any] = Channel(theirs, ToWorker)
    yield daemon, worker
    daemon.close()
    worker.close()


@pytest.fixture
def raw() -> Iterator[Raw]:
    """A channel and the bare socket of a peer that may say anything."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[Any] = Channel(ours, FromWorker)
    yield channel, theirs
    channel.close()
    theirs.close()


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def passed(*fds: int) -> list[tuple[int, int, "array.array[int]"]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


@pytest.mark.parametrize(
    "sizes", [(), (0,), (3,), (3, 0, 5), (65_000,), (70_000, 0, 9), (1 << 22,)]
)
def test_frames_arrive_as_they_were_sent(pair: Pair, sizes: tuple[Any, ...]) -> None:
    daemon, worker = pair
    frames = [os.urandom(size) for size in sizes]
    assert daemon.try_send(RUN, frames)
    message, received = worker.receive()
    assert message == RUN
    assert [bytes(frame) for frame in received] == frames


def test_received_frames_outlive_the_messages_after_them(pair: Pair) -> None:
    daemon, worker = pair
    small, big = b"s" * 100, b"b" * 100_000
    daemon.send(RUN, [small])
    daemon.send(RUN, [big])
    (first,), (second,) = worker.receive()[1], worker.receive()[1]
    for _ in range(3):
        daemon.send(RUN, [b"x" * 100])
        daemon.send(RUN, [b"x" * 100_000])
        worker.receive()
        worker.receive()
    assert bytes(first) == small
    assert bytes(second) == big


@pytest.mark.parametrize("elements", [4, 40_000])
def test_every_frame_begins_where_an_array_may(pair: Pair, elements: int) -> None:
    daemon, worker = pair
    sent = np.arange(elements, dtype=np.float64)
    daemon.send(RUN, [b"odd", sent.data, b"odd", sent.data])
    _, (_, first, _, second) = worker.receive()
    for frame in (first, second):
        received = np.frombuffer(frame, np.float64)
        assert received.flags.aligned
        assert np.array_equal(received, sent)


def test_arrays_of_any_shape_are_frames_even_empty_ones(pair: Pair) -> None:
    daemon, worker = pair
    arrays: list[np.ndarray[Any, Any]] = [
        np.zeros((0, 3)),
        np.ones((2, 3), np.float32),
        np.array(5.0),
    ]
    daemon.send(RUN, [array.data for array in arrays])
    _, frames = worker.receive()
    assert [bytes(frame) for frame in frames] == [array.tobytes() for array in arrays]


@pytest.mark.parametrize("count", [2_000, 40_000])
def test_thousands_of_frames_are_one_message(pair: Pair, count: int) -> None:
    daemon, worker = pair
    daemon.send(RUN, [b"%d" % number for number in range(count)])
    _, frames = worker.receive()
    assert [bytes(frame) for frame in frames] == [b"%d" % number for number in range(count)]


def test_an_error_may_be_as_long_as_it_likes(pair: Pair) -> None:
    daemon, worker = pair
    error = WorkerError(7, "InferenceError", "why " * 100_000)
    worker.send(error)
    assert daemon.try_receive() == (error, ())


def test_details_that_no_message_can_carry_arrive_as_text(pair: Pair) -> None:
    daemon, worker = pair
    worker.send(WorkerError(7, "LoadFailed", "no", details={"path": os, "given": {1, 2}}))
    message, _ = taken(daemon)
    assert "module 'os'" in message.details["path"]


def test_nothing_to_receive_is_none_and_a_closed_line_is_the_end(pair: Pair) -> None:
    daemon, worker = pair
    assert daemon.try_receive() is None
    worker.send(ModelReady(1, 0.1, Signature()))
    worker.close()
    assert taken(daemon)[0].memory_bytes == 1
    with pytest.raises(EOFError):
        daemon.try_receive()


def test_the_last_words_of_a_peer_that_left_messages_unread_are_heard(
    pair: Pair,
) -> None:
    daemon, worker = pair
    daemon.send(RUN, [b"never read"])
    worker.send(DONE, [b"last words"])
    worker.close()
    message, (frame,) = taken(daemon)
    assert message == DONE
    assert bytes(frame) == b"last words"
    with pytest.raises(EOFError):
        daemon.try_receive()


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_a_full_line_refuses_until_the_peer_reads(pair: Pair, size: int) -> None:
    daemon, worker = pair
    before = descriptors()
    sent = 0
    while daemon.try_send(RUN, [b"x" * size]):
        sent += 1
    # Each big one waiting holds its memory by reference, not by a descriptor of ours.
    assert descriptors() == before
    for _ in range(sent):
        worker.receive()
    assert daemon.try_send(RUN, [b"x" * size])


def test_descriptors_are_released_with_the_last_view(pair: Pair) -> None:
    daemon, worker = pair
    before = descriptors()
    daemon.send(RUN, [b"x" * 100_000, b"y" * 10])
    _, frames = worker.receive()
    keep = frames[1]
    del frames
    assert bytes(keep) == b"y" * 10
    del keep
    assert descriptors() == before


def prefix_of(
    channel_message: RunResult = DONE, frames: tuple[bytes] = (b"x" * 100_000,)
) -> tuple[bytes, int]:
    """What a channel says, and the descriptor it passes, for one big message."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        Channel(ours, FromWorker).send(channel_message, frames)
        packet, fds, _, _ = socket.recv_fds(theirs, 1 << 18, 1)
    return packet, fds[0]


def assert_refused(channel: Channel[Any]) -> None:
    with pytest.raises(ProtocolError):
        channel.try_receive()


def test_shared_memory_that_could_shrink_is_refused(raw: Raw) -> None:
    channel, peer = raw
    packet, sealed = prefix_of()
    size = os.fstat(sealed).st_size
    os.close(sealed)
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, size)
    before = descriptors()
    peer.sendmsg([packet], passed(unsealed))
    assert_refused(channel)
    assert descriptors() == before
    os.close(unsealed)


def test_sealed_memory_shorter_than_announced_is_refused(
    raw: Raw,
) -> None:
    channel, peer = raw
    packet, big = prefix_of()
    _, small = prefix_of(frames=(b"x" * 70_000,))
    before = descriptors()
    peer.sendmsg([packet], passed(small))
    assert_refused(channel)
    assert descriptors() == before
    os.close(big)
    os.close(small)


def test_a_descriptor_that_is_no_shared_memory_is_refused(
    raw: Raw,
) -> None:
    channel, peer = raw
    packet, sealed = prefix_of()
    os.close(sealed)
    with socket.socket() as stranger, open(os.devnull) as device:
        for descriptor in (stranger.fileno(), device.fileno()):
            peer.sendmsg([packet], passed(descriptor))
            assert_refused(channel)


def test_shared_memory_that_did_not_come_is_refused(raw: Raw) -> None:
    channel, peer = raw
    packet, sealed = prefix_of()
    os.close(sealed)
    peer.send(packet)
    assert_refused(channel)


def test_more_descriptors_than_one_message_has_are_refused_and_closed(
    raw: Raw,
) -> None:
    channel, peer = raw
    packet, sealed = prefix_of()
    before = descriptors()
    peer.sendmsg([packet], passed(sealed, sealed, sealed))
    assert_refused(channel)
    assert descriptors() == before
    os.close(sealed)


@pytest.mark.parametrize(
    "packet",
    [
        b"\0",
        b"x" * 8,
        b"\xff" * 64,
        b"\0" * 64,
        struct.pack("<II", 4, 1 << 30),
        struct.pack("<II", 1 << 30, 0) + b"rubbish",
        b"x" * 150_000,
    ],
)
def test_rubbish_is_refused_and_the_line_goes_on(raw: Raw, packet: bytes) -> None:
    channel, peer = raw
    peer.send(packet)
    assert_refused(channel)
    other: Channel[Any] = Channel(peer, ToWorker)
    other.send(DONE, [b"fine"])
    assert bytes(taken(channel)[1][0]) == b"fine"


def test_a_message_of_the_wrong_kind_is_refused(pair: Pair) -> None:
    daemon, worker = pair
    worker.send(RUN)
    assert_refused(daemon)


def test_big_frames_are_read_only_views_of_shared_memory(pair: Pair) -> None:
    daemon, worker = pair
    daemon.send(RUN, [b"x" * 100_000])
    _, (frame,) = worker.receive()
    assert isinstance(frame, memoryview)
    assert isinstance(frame.obj, mmap.mmap)
    assert frame.readonly


def test_a_worker_that_was_answered_at_once_hears_the_next_message_and_the_end_all_the_same(
    pair: Pair,
) -> None:
    daemon, worker = pair
    for _ in range(3):
        daemon.send(RUN)
        assert worker.receive()[0] == RUN
    later = threading.Timer(0.01, daemon.send, [RUN])
    later.start()
    assert worker.receive()[0] == RUN
    later.join()
    daemon.send(RUN)
    assert worker.receive()[0] == RUN
    daemon.close()
    with pytest.raises(EOFError):
        worker.receive()
