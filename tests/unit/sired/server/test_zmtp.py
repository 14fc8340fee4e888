"""The bytes of ZMTP, cut at any place, and what is not ZMTP."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sire.errors import ProtocolError
from sired.server.zmtp import GREETING, Decoder, encode, ready

SCRATCH = 64 * 1024
LARGEST = 4 << 20
HELLO = GREETING + ready(b"DEALER")


def stream(*messages: list[bytes]) -> bytes:
    return b"".join(map(bytes, itertools.chain.from_iterable(map(encode, messages))))


def read(decoder: Decoder, sent: bytes, piece: int = SCRATCH) -> list[list[bytes]]:
    """What a decoder makes of bytes that arrive in pieces."""
    scratch = memoryview(bytearray(SCRATCH))
    found = []
    rest = memoryview(sent)
    while rest:
        target = decoder.target(scratch)
        count = min(piece, len(target), len(rest))
        target[:count] = rest[:count]
        rest = rest[count:]
        while messages := list(decoder.messages(scratch, count, 2)):
            found += [[bytes(frame) for frame in message] for message in messages]
            count = 0
    return found


def decoder(most_frames: int = 10) -> Decoder:
    return Decoder(LARGEST, most_frames)


@given(
    st.lists(
        st.lists(st.sampled_from([b"", b"x", b"y" * 255, b"z" * 256, b"w" * 40_000]), min_size=1),
        max_size=4,
    ),
    st.integers(1, 999) | st.just(SCRATCH),
)
def test_messages_arrive_whole_wherever_the_stream_is_cut(
    messages: list[list[bytes]], piece: int
) -> None:
    assert read(decoder(1000), HELLO + stream(*messages), piece) == messages


@pytest.mark.parametrize("size", [32 * 1024, 64 * 1024, 1 << 20, 3_000_001])
def test_large_frames_are_received_in_place(size: int) -> None:
    message = [b"", bytes(range(256)) * (size // 256), b"after"]
    assert read(decoder(), HELLO + stream(message, [b"next"])) == [message, [b"next"]]


def test_the_frames_of_a_message_are_bounded_and_the_next_is_not_affected() -> None:
    found = read(decoder(most_frames=3), HELLO + stream([b"f"] * 9, [b"next"]))
    assert found == [[b"f"] * 4, [b"next"]]


def test_the_bytes_of_a_message_are_bounded_before_they_are_received() -> None:
    half = bytes(LARGEST // 2)
    assert len(read(decoder(), HELLO + stream([half, half]))) == 1
    with pytest.raises(ProtocolError, match="larger than 4194304 bytes"):
        read(decoder(), HELLO + b"\3" + (1 << 62).to_bytes(8, "big"))
    with pytest.raises(ProtocolError, match="larger than"):
        read(decoder(), HELLO + stream([half, half, b"x"]))


def test_a_ping_is_answered_with_its_context() -> None:
    one = decoder()
    assert read(one, HELLO) == []
    assert one.greeted
    one.answer = b""
    body = b"\4PING" + b"\0\5" + b"context"
    assert read(one, bytes((4, len(body))) + body + stream([b"m"])) == [[b"m"]]
    assert one.answer == bytes((4, 12)) + b"\4PONG" + b"context"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".ljust(80),
        GREETING[:10] + b"\x02" + GREETING[11:],
        GREETING.replace(b"NULL\0", b"CURVE"),
        GREETING + ready(b"SUB"),
        GREETING + b"\4\7\5HELLO\0",
        GREETING + b"\4\x10\5READY\xffSocket-Ty",
        GREETING + b"\4\0",
        GREETING + b"\0\1x",
        HELLO + b"\6" + (1 << 20).to_bytes(8, "big"),
    ],
    ids=[
        "http",
        "version 2",
        "encrypted",
        "a subscriber",
        "another command",
        "cut off",
        "empty",
        "a message first",
        "a long command",
    ],
)
def test_what_is_not_zmtp_or_not_for_a_router_is_an_error(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(decoder(), sent)


@given(st.binary(max_size=300))
def test_any_bytes_after_the_handshake_are_messages_or_an_error(sent: bytes) -> None:
    try:
        for message in read(decoder(), HELLO + sent):
            assert message
    except ProtocolError:
        pass
