"""The content types of payloads, and the file name suffixes that imply them.

A payload is one frame of bytes of a content type, or ``TENSORS``: one frame per array, each
described by a ``TensorSpec`` in the header, C-contiguous and little-endian.
``TREE`` is the Python client's type for nested data: its first frame is a msgpack tree whose leaves
refer to the arrays in the frames that follow.
"""

from collections.abc import Iterable

import msgspec

from sire.spec import TensorSpec

# Anything with the buffer protocol; typing names it from Python 3.12 on.
Buffer = bytes | bytearray | memoryview

JSON = "application/json"
NPY = "application/x-npy"
NPZ = "application/x-npz"
CSV = "text/csv"
TSV = "text/tab-separated-values"
TEXT = "text/plain"
SAFETENSORS = "application/x-safetensors"
PNG = "image/png"
JPEG = "image/jpeg"
WAV = "audio/wav"
TENSORS = "application/x-sire-tensors"
TREE = "application/x-sire-tree"
# Several named inputs: a msgpack list of (name, content type), and a frame of bytes for each.
PARTS = "application/x-sire-parts"
ARRAY_TYPES = frozenset({TENSORS, TREE})

# Short names, accepted by `--from` and `--to`.
BY_NAME = {
    "json": JSON,
    "npy": NPY,
    "npz": NPZ,
    "csv": CSV,
    "tsv": TSV,
    "text": TEXT,
    "safetensors": SAFETENSORS,
    "png": PNG,
    "jpeg": JPEG,
    "wav": WAV,
}
BY_SUFFIX = {
    ".json": JSON,
    ".npy": NPY,
    ".npz": NPZ,
    ".csv": CSV,
    ".tsv": TSV,
    ".txt": TEXT,
    ".safetensors": SAFETENSORS,
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".wav": WAV,
}
SUFFIXES = {content_type: suffix for suffix, content_type in reversed(BY_SUFFIX.items())}
# Byte order marks, with the encoding that each one states.
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def sniff(head: bytes) -> str | None:
    """Detect the content type from the first 16 bytes of a payload; None if it is unknown."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x93NUMPY"):
        return NPY
    if head.startswith(b"PK\x03\x04"):
        return NPZ
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return WAV
    # A safetensors file starts with the length of its JSON header and the header's brace.
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return SAFETENSORS
    if _without_mark(head).lstrip()[:1] in (b"{", b"["):
        return JSON
    return None


def _without_mark(head: bytes) -> bytes:
    """The first characters, in UTF-8, of a text that may begin with a byte order mark."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            whole = head[: len(head) // 2 * 2] if encoding == "utf-16" else head[len(mark) :]
            return whole.decode(encoding, "ignore").encode(errors="ignore")
    return head


class Payload(msgspec.Struct, frozen=True):
    """Frames of bytes and their content type.

    ``tensors`` describes the frames of TENSORS, and of TREE after its first frame.
    """

    content_type: str
    frames: tuple[Buffer, ...]
    tensors: tuple[TensorSpec, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in all frames together."""
        return size_of(self.frames)


def size_of(frames: Iterable[Buffer]) -> int:
    """Bytes in all of these frames together."""
    total = 0
    for frame in frames:  # faster than a generator for one or two frames
        total += memoryview(frame).nbytes
    return total
