"""Caches the graphs that ONNX Runtime optimised, so that the next load can skip that.

A graph's weights are in a file of their own, which ONNX Runtime maps instead of parsing. A table of
contents is written last: a file that does not match it is damaged, and is ignored.
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


class CachedGraph:
    """One model's graph, optimised for one provider with one set of options; may not exist yet.

    Args:
        cache_directory: where it is stored.
        depends_on: all that it depends on besides the model's files and this machine.
    """

    def __init__(self, cache_directory: ModelCacheDirectory, depends_on: object) -> None:
        key = repr((cache_directory.content, depends_on, _processor()))
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]
        self.directory = cache_directory.directory / f"{_PREFIX}{digest}"

    @property
    def exists(self) -> bool:
        """Whether a graph is stored, intact or damaged."""
        return (self.directory / _CONTENTS).is_file()

    @property
    def graph(self) -> Path:
        """The file to load."""
        return self.directory / GRAPH

    def is_intact(self, name: str, progress: ReadProgress | None = None) -> bool:
        """Whether a file has the content that was written; reads all of it.

        Args:
            name: GRAPH or WEIGHTS.
            progress: to report the bytes read to.
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

    def store(self, write: Callable[[Path], None]) -> None:
        """Store a graph and its weights, replacing all other cached graphs of the model.

        Args:
            write: writes GRAPH and WEIGHTS into the directory passed to it.

        Raises:
            OSError: they cannot be written.
            Exception: any error of ``write``. No partial files are left in either case.
        """
        home = self.directory.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".", dir=home, ignore_cleanup_errors=True
        ) as temporary:
            new = Path(temporary) / _PREFIX
            new.mkdir()
            write(new)
            (new / WEIGHTS).touch()  # a graph without weights has no such file
            contents = {name: _checksum(new / name) for name in (GRAPH, WEIGHTS)}
            (new / _CONTENTS).write_bytes(msgspec.json.encode(contents))
            self.discard()
            with suppress(OSError):  # another process of the model was faster
                new.rename(self.directory)
        for other in home.glob(f"{_PREFIX}*"):
            if other != self.directory:
                shutil.rmtree(other, ignore_errors=True)

    def has_room(self, size: int) -> bool:
        """Whether the disk has room for twice ``size`` bytes."""
        directory = self.directory
        while not directory.exists():
            directory = directory.parent
        return shutil.disk_usage(directory).free > 2 * size


def _checksum(file: Path, progress: ReadProgress | None = None) -> tuple[int, int]:
    """Size and CRC-32, which detect accidental damage."""
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
    """The features of the processor, which the layout of a graph depends on."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return os.uname().machine
