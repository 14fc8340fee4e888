"""What arrives at the front socket before it is a header: the bytes of ZeroMQ's protocol.

Cut at any place, they are messages within the limits or a ProtocolError, and what is kept of a
message that has not ended is bounded. What is encoded is read again as the same.
"""

from collections.abc import Iterator

from sire.errors import ProtocolError
from sired.server.zmtp import GREETING, Decoder, encode, ready
from tests.fuzz.draw import Draw

SCRATCH = 64 * 1024
LARGEST, MOST_FRAMES = 3 << 20, 5
_SIZES = (0, 1, 255, 256, 4096, 4097, 40_000, LARGEST - 1, LARGEST, LARGEST + 1, 2**31, 2**63, -1)
_PIECES = (1, 2, 9, 64, 300, 4096, SCRATCH)
_scratch = memoryview(bytearray(SCRATCH))


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a client's; raises only for what is a bug."""
    draw = Draw(data)
    kind, pieces = draw.byte() % 4, draw.byte()
    if kind == 0:
        _read(draw.rest(), pieces)
    elif kind == 1:
        _read(GREETING + ready(b"DEALER") + draw.rest(), pieces)
    elif kind == 2:
        _read(GREETING + ready(b"DEALER") + b"".join(_drawn(draw)), pieces)
    else:
        _check_encoded(draw, pieces)


def _drawn(draw: Draw) -> Iterator[bytes]:
    """Frames with flags and sizes that are made up, some with as many bytes as they announce."""
    for _ in range(draw.byte() % 9):
        flags, size, body = draw.byte() % 8, draw.choice(_SIZES), draw.bytes()
        if draw.byte() % 2:
            size = len(body)
        elif draw.byte() % 2 and 0 <= size <= 40_000:
            body = bytes(size)
        long = flags & 2
        yield bytes((flags,)) + (size % 2**64).to_bytes(8) if long else bytes((flags, size % 256))
        yield body


def _check_encoded(draw: Draw, pieces: int) -> None:
    messages = []
    for _ in range(draw.byte() % 4):
        count = 1 + draw.byte() % MOST_FRAMES
        messages.append([bytes(draw.choice((0, 1, 255, 256, 40_000))) for _ in range(count)])
    sent = b"".join(bytes(part) for message in messages for part in encode(message))
    assert _read(GREETING + ready(b"REQ") + sent, pieces) == messages


def _read(sent: bytes, pieces: int) -> list[list[bytes]]:
    """The messages in what is sent, up to what is not ZMTP."""
    decoder, found, at = Decoder(LARGEST, MOST_FRAMES), list[list[bytes]](), 0
    while at < len(sent):
        target = decoder.target(_scratch)
        assert len(target), "there is no room for what comes next"
        piece = _PIECES[(pieces + at) % len(_PIECES)]
        count = min(piece, len(target), len(sent) - at)
        target[:count] = sent[at : at + count]
        at += count
        try:
            while messages := list(decoder.messages(_scratch, count, 2)):
                found += [[bytes(frame) for frame in message] for message in messages]
                count = 0
        except ProtocolError:
            break
        assert decoder.unfinished <= LARGEST
        assert len(decoder.answer) <= len(sent) + 100
    for message in found:
        assert 1 <= len(message) <= MOST_FRAMES + 1
        assert sum(map(len, message)) <= LARGEST
    return found


def seeds() -> list[bytes]:
    """Handshakes, messages of every form, and frames that announce too much."""
    hello = GREETING + ready(b"DEALER")
    sent = b"".join(map(bytes, encode([b"", b"header" * 50, b"x" * 40_000])))
    ping = b"\4\x0e\4PING\0\5context"
    return [
        *(bytes((0, piece)) + hello + ping + sent for piece in (0, 3, 6)),
        bytes((0, 6)) + GREETING + ready(b"SUB"),
        bytes((0, 6)) + GREETING + b"\4\x10\5READY\xffSocket-Ty",
        *(bytes((1, piece)) + ping * 9 + sent[:300] for piece in (1, 4)),
        bytes((1, 6)) + b"\3" + (1 << 62).to_bytes(8),
        *(bytes((2, 6)) + bytes(range(n, n + 60)) for n in (1, 90, 190)),
        *(bytes((3, piece, 3, 2, 0, 1, 0, 4, 1, 0, 3)) for piece in range(7)),
    ]
