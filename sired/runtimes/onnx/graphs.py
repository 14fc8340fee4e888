"""Optimised graphs on disk: what ONNX Runtime made of a model is loaded next time, as it is.

Next to a graph lie its weights in a file of their own, which ONNX Runtime maps instead of parsing,
and a table of contents, written last: what does not agree with it is damaged and counts as nothing.
"""

import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from sired.runtimes.base import ModelCacheDirectory
from sired.runtimes.reading import PIECE_BYTES, ReadProgress

GRAPH, WEIGHTS, _CONTENTS = "graph.onnx", "weights.bin", "contents.json"
_PREFIX = "onnx-"


class KeptGraph:
    """One model's graph, optimised for one provider in one way; perhaps it is there.

    Args:
        keeping: where it is kept.
        made_by: all that it depends on beside the model's files and this machine.
    """

    def __init__(self, cache_directory: ModelCacheDirectory, made_by: object) -> None:
        said = repr((cache_directory.content, made_by, _processor()))
        digest = hashlib.sha256(said.encode(errors="replace")).hexdigest()[:32]
        self.directory = cache_directory.directory / f"{_PREFIX}{digest}"

    @property
    def exists(self) -> bool:
        """Whether something is kept, damaged or not."""
        return (self.directory / _CONTENTS).is_file()

    @property
    def graph(self) -> Path:
        """The file to load."""
        return self.directory / GRAPH

    def is_whole(self, name: str, progress: ReadProgress | None = None) -> bool:
        """Whether a file is what was written; reads all of it.

        Args:
            name: GRAPH or WEIGHTS.
            progress: told what is read.
        """
        try:
            written = (self.directory / _CONTENTS).read_bytes()
            contents = msgspec.json.decode(written, type=dict[str, tuple[int, int]])
            return contents.get(name) == _checksum(self.directory / name, progress)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return False

    def discard(self) -> None:
        """Delete it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep(self, write: Callable[[Path], None]) -> None:
        """Have a graph and its weights written, and keep them in place of all others of the model.

        Args:
            write: writes GRAPH and WEIGHTS into the directory that it is given.

        Raises:
            OSError: they cannot be written.
            Exception: whatever ``write`` raises. Either way nothing is left behind.
        """
        home = self.directory.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".", dir=home, ignore_cleanup_errors=True
        ) as temporary:
            new = Path(temporary) / _PREFIX
            new.mkdir()
            write(new)
            (new / WEIGHTS).touch()  # a graph without any has none
            contents = {name: _checksum(new / name) for name in (GRAPH, WEIGHTS)}
            (new / _CONTENTS).write_bytes(msgspec.json.encode(contents))
            self.discard()
            with suppress(OSError):  # another process of the model was as fast
                new.rename(self.directory)
        for other in home.glob(f"{_PREFIX}*"):
            if other != self.directory:
                shutil.rmtree(other, ignore_errors=True)

    def has_room(self, size: int) -> bool:
        """Whether the disk takes so many bytes and is not full then."""
        place = self.directory
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free > 2 * size


def _checksum(file: Path, progress: ReadProgress | None = None) -> tuple[int, int]:
    """Size and CRC-32: they tell damage, of which nobody is suspected."""
    size, found = file.stat().st_size, 0
    if progress is not None:
        progress.expect(size)
    buffer = memoryview(bytearray(min(size, PIECE_BYTES)))
    with file.open("rb", buffering=0) as content:
        while count := content.readinto(buffer):
            found = zlib.crc32(buffer[:count], found)
            if progress is not None:
                progress.add(count)
    return size, found


def _processor() -> str:
    """What the processor can: graphs are laid out for it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return os.uname().machine
