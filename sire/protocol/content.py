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
WEBP = "image/webp"
BMP = "image/bmp"
TIFF = "image/tiff"
GIF = "image/gif"
WAV = "audio/wav"
FLAC = "audio/flac"
OGG = "audio/ogg"
MP3 = "audio/mpeg"
TENSORS = "application/x-sire-tensors"
TREE = "application/x-sire-tree"
# Bytes that are not decoded; inputs of type UNKNOWN are recognised by their first bytes instead.
BYTES = "application/x-sire-bytes"
UNKNOWN = "application/octet-stream"
# Several named inputs: a msgpack list of (name, content type), and a frame of bytes for each.
PARTS = "application/x-sire-parts"
ARRAY_TYPES = frozenset({TENSORS, TREE})
PICTURES = frozenset({PNG, JPEG, WEBP, BMP, TIFF, GIF})
SOUNDS = frozenset({WAV, FLAC, OGG, MP3})

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
    "webp": WEBP,
    "bmp": BMP,
    "tiff": TIFF,
    "gif": GIF,
    "wav": WAV,
    "flac": FLAC,
    "ogg": OGG,
    "mp3": MP3,
    "bytes": BYTES,
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
    ".webp": WEBP,
    ".bmp": BMP,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".gif": GIF,
    ".wav": WAV,
    ".flac": FLAC,
    ".ogg": OGG,
    ".oga": OGG,
    ".mp3": MP3,
    ".bin": BYTES,
}
SUFFIXES = {content_type: suffix for suffix, content_type in reversed(BY_SUFFIX.items())}
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"GIF87a": GIF,
    b"GIF89a": GIF,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
    b"\x93NUMPY": NPY,
    b"PK\x03\x04": NPZ,
    b"fLaC": FLAC,
    b"OggS": OGG,
}
_RIFF = {(b"RIFF", b"WAVE"): WAV, (b"RF64", b"WAVE"): WAV, (b"RIFF", b"WEBP"): WEBP}
# Byte order marks, with the encoding that each one states.
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def sniff(head: bytes) -> str | None:
    """Detect the content type from the first 16 bytes of a payload; None if it is unknown."""
    for beginning, content_type in _BEGINNINGS.items():
        if head.startswith(beginning):
            return content_type
    if (found := _RIFF.get((head[:4], head[8:12]))) is not None:
        return found
    # The four bytes after the size of a bitmap are reserved, and zero.
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return BMP
    # A tag of version 2, 3 or 4, or the sync word of a frame of layer III.
    if (head.startswith(b"ID3") and head[3:4] in (b"\2", b"\3", b"\4")) or (
        head[:1] == b"\xff" and head[1:2] in (b"\xfb", b"\xfa", b"\xf3", b"\xf2")
    ):
        return MP3
    # A safetensors file starts with the length of its JSON header and the header's brace.
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return SAFETENSORS
    if _without_mark(head).lstrip()[:1] in (b"{", b"["):
        return JSON
    return None


def is_json(content: Buffer) -> bool:
    """Whether the bytes are valid JSON."""
    try:
        msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_text(content: Buffer) -> bool:
    """Whether the bytes are text in UTF-8, or begin with a byte order mark."""
    head = bytes(memoryview(content)[:3])
    if any(head.startswith(mark) for mark in BYTE_ORDER_MARKS):
        return True
    try:
        return "\0" not in bytes(content).decode()
    except UnicodeDecodeError:
        return False


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
