"""Bringing model files into memory fast, and telling how far that is.

Frameworks map a file, and the kernel then reads it page by page as the first inference comes to
it. Read ahead in large pieces, it is there when the load is done. A piece needs two system calls:
the kernel is told that all of it will be needed, so that the disk has it in its queue as a whole,
and maps it for a moment, which takes until it is there. Nothing is copied, and a file that is in
the page cache costs next to nothing. (Four threads at once were measured to get half of what one
does, where the kernel reads ahead by itself as well.)
"""

import ctypes
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PIECE_BYTES = 16 * 1024 * 1024
# Smaller files are read within a few milliseconds: neither a thread nor a report is worth it.
WORTH_A_THREAD = PIECE_BYTES
REPORT_SECONDS = 0.1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64),
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_FAILED = ctypes.c_void_p(-1).value


class _File(NamedTuple):
    """An open file; ``tells`` whether the kernel says what of it is in memory."""

    descriptor: int
    size: int
    tells: bool


class _Piece(NamedTuple):
    file: _File
    offset: int
    length: int


class ReadProgress:
    """How many bytes of a model have been read, of how many; for any number of threads.

    Args:
        report: told both numbers, about ten times a second while something is read.
    """

    def __init__(self, report: Callable[[int, int], None] = lambda _, __: None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._reported_at = 0.0
        self.done = self.total = 0

    def expect(self, total: int) -> None:
        """So many more bytes are to be read."""
        with self._lock:
            self.total += total

    def add(self, count: int) -> None:
        """So many more bytes have been read."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._reported_at >= REPORT_SECONDS or self.done == self.total:
                self._reported_at = now
                self._report(self.done, self.total)


@contextmanager
def read_ahead(files: Sequence[Path], progress: ReadProgress) -> Iterator[None]:
    """Bring whole files into the page cache while something else is done; wait for it at the end.

    What fails is passed over: whoever reads the file next meets the same error and can tell of it.
    When something else fails, the rest of the files is left.
    """
    opened = _open(files)
    total = sum(file.size for file in opened)
    pieces = _pieces(opened)
    try:
        if total < WORTH_A_THREAD:
            for piece in pieces:
                _bring_in(piece)
            yield
        else:
            progress.expect(total)
            with _reader(pieces, progress):
                yield
    finally:
        for file in opened:
            os.close(file.descriptor)


@contextmanager
def _reader(pieces: Iterator[_Piece], progress: ReadProgress) -> Iterator[None]:
    given_up = threading.Event()

    def read() -> None:
        for piece in pieces:
            if given_up.is_set():
                return
            _bring_in(piece)
            progress.add(piece.length)

    thread = threading.Thread(target=read, name="read-ahead")
    thread.start()
    try:
        yield
    except BaseException:
        given_up.set()
        raise
    finally:
        thread.join()


def _open(files: Sequence[Path]) -> list[_File]:
    """The files that can be opened."""
    opened = []
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(descriptor)
        # mincore(2): of the files of others it says that all is there.
        tells = os.geteuid() in {0, status.st_uid} or os.access(file, os.W_OK)
        opened.append(_File(descriptor, status.st_size, tells))
    return opened


def _pieces(opened: Sequence[_File]) -> Iterator[_Piece]:
    """The files cut up, in order."""
    for file in opened:
        for offset in range(0, file.size, PIECE_BYTES):
            yield _Piece(file, offset, min(PIECE_BYTES, file.size - offset))


def _bring_in(piece: _Piece) -> None:
    """Have the kernel bring one piece of a file into memory; returns when it is there."""
    if not (piece.file.tells and _is_there(piece)):
        descriptor, offset, length = piece.file.descriptor, piece.offset, piece.length
        with suppress(OSError):  # not every file system takes advice
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
        with _mapped(piece, mmap.MAP_POPULATE):
            pass


def _is_there(piece: _Piece) -> bool:
    pages = -(-piece.length // mmap.PAGESIZE)
    told = ctypes.create_string_buffer(pages)
    with _mapped(piece) as place:
        answered = place is not None and _libc.mincore(place, piece.length, told) == 0
    # One byte a page: 1 where it is in memory.
    return answered and not told.raw.strip(b"\1")


@contextmanager
def _mapped(piece: _Piece, flags: int = 0) -> Iterator[int | None]:
    """Map a piece for a moment; None where that cannot be done.

    By ctypes, because Python's own mmap would stop every other thread meanwhile.
    """
    given = mmap.MAP_SHARED | flags
    place = _libc.mmap(
        None, piece.length, mmap.PROT_READ, given, piece.file.descriptor, piece.offset
    )
    if place == _FAILED:
        yield None
        return
    try:
        yield place
    finally:
        _libc.munmap(place, piece.length)
