"""Payloads in sealed memory are passed on without a copy, and cannot be changed."""

import array
import fcntl
import gc
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sire.errors import ProtocolError
from sire.protocol.direct import PayloadFollows
from sire.transport import sealed_frames
from sire.transport.channel import Channel
from sire.transport.sealed_frames import SealedFrames, SealedMemory

FRAMES = (b"a" * 100, b"", b"b" * 5000)
Pair = tuple[Channel[Any], Channel[Any]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = [
        Channel[Any](end, PayloadFollows)
        for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def sent(pair: Pair, memory: SealedMemory) -> tuple[Any, ...]:
    """The frames that arrive."""
    assert pair[0].try_send_sealed(PayloadFollows(1), memory)
    received = pair[1].try_receive()
    assert received is not None
    assert received[0] == PayloadFollows(1)
    return received[1]


@pytest.mark.parametrize("frames", [FRAMES, (), (b"",), (b"x",) * 4000])
def test_frames_arrive_as_they_were_written(pair: Pair, frames: tuple[bytes, ...]) -> None:
    assert tuple(map(bytes, sent(pair, sealed_frames.write(frames)))) == frames


def test_received_frames_are_passed_on_in_the_same_memory(pair: Pair) -> None:
    frames = sent(pair, sealed_frames.write(FRAMES))
    assert isinstance(frames, SealedFrames)
    assert pair[1].try_send(PayloadFollows(2), frames)
    received = pair[0].try_receive()
    assert received is not None
    again = received[1]
    assert isinstance(again, SealedFrames)
    first, second = (os.fstat(one.memory.descriptor) for one in (frames, again))
    assert first.st_ino == second.st_ino
    assert tuple(map(bytes, again)) == FRAMES


def descriptors() -> set[str]:
    """Those that this process has open, without what earlier tests have left to be collected."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def test_the_memory_goes_with_the_frames(pair: Pair) -> None:
    before = descriptors()
    frames = sent(pair, sealed_frames.write(FRAMES))
    assert descriptors() > before
    del frames
    assert descriptors() == before


def test_its_writer_cannot_change_it_either() -> None:
    memory = sealed_frames.write(FRAMES)
    for change in (
        lambda: os.pwrite(memory.descriptor, b"x", 0),
        lambda: os.ftruncate(memory.descriptor, 1),
        lambda: os.ftruncate(memory.descriptor, 1 << 20),
    ):
        with pytest.raises(PermissionError):
            change()


def memory_with(seals: int, size: int = 5000, written: int = 5000) -> SealedMemory:
    """Memory as a careless client makes it."""
    descriptor = os.memfd_create("careless", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, b"x" * written, 0)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return SealedMemory(descriptor, (5000,))


_SHRINK, _GROW, _WRITE = fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE
_ALL = _SHRINK | _GROW | _WRITE


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (memory_with(0), "F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE"),
        (memory_with(_SHRINK | _GROW), "F_SEAL_WRITE"),
        (memory_with(_GROW | _WRITE), "F_SEAL_SHRINK"),
        (memory_with(_SHRINK | _WRITE), "F_SEAL_GROW"),
        (memory_with(_ALL, written=0), "only 0 were written"),
        (memory_with(_ALL, size=4000, written=4000), "only 4096 were written"),
        (SealedMemory(os.open(os.devnull, os.O_RDONLY), (5000,)), "F_SEAL_SHRINK"),
    ],
)
def test_memory_that_may_change_or_end_early_is_refused_by_name(
    pair: Pair, memory: SealedMemory, words: str
) -> None:
    before = descriptors()
    assert pair[0].try_send_sealed(PayloadFollows(1), memory)
    with pytest.raises(ProtocolError, match=words):
        pair[1].try_receive()
    assert descriptors() <= before


def test_a_message_without_its_memory_is_refused(pair: Pair) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        Channel[Any](ours, PayloadFollows).try_send_sealed(
            PayloadFollows(1), sealed_frames.write(FRAMES)
        )
        packet, descriptors, _, _ = socket.recv_fds(theirs, 1 << 17, 1)
    pair[0]._line.send(packet)
    with pytest.raises(ProtocolError, match="lacks its sealed memory"):
        pair[1].try_receive()
    rights = array.array("i", descriptors)
    pair[0]._line.sendmsg([packet[:-3]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    with pytest.raises(ProtocolError):
        pair[1].try_receive()
    os.close(descriptors[0])
