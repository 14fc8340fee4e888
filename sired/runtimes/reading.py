"""Reads model files ahead into the page cache, and reports progress.

Frameworks map a file, and the kernel then reads it page by page as the first inference accesses
it. Read ahead in large pieces, it is resident when the load is done. A piece takes two system
calls: one announces that all of it will be needed, so that the disk queues it as a whole; the other
maps it for a moment, which blocks until it is resident. Nothing is copied, and a file that is in
the page cache already costs almost nothing. (Four threads at once reached half the throughput of
one, as the kernel reads ahead by itself as well.)
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
# Smaller files are read within a few milliseconds, without a thread and without reports.
THREAD_THRESHOLD_BYTES = PIECE_BYTES
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
    """An open file; ``reports_residency``: the kernel reports which pages are in memory."""

    descriptor: int
    size: int
    reports_residency: bool


class _Piece(NamedTuple):
    file: _File
    offset: int
    length: int


class ReadProgress:
    """Counts the bytes of a model that have been read; thread-safe.

    Args:
        report: called with the bytes read and the total, about ten times a second.

    Attributes:
        done: bytes read so far.
        total: bytes to read.
    """

    def __init__(self, report: Callable[[int, int], None] = lambda _, __: None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._reported_at = 0.0
        self.done = self.total = 0

    def expect(self, total: int) -> None:
        """Add to the number of bytes to read."""
        with self._lock:
            self.total += total

    def add(self, count: int) -> None:
        """Add to the number of bytes read."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._reported_at >= REPORT_SECONDS or self.done == self.total:
                self._reported_at = now
                self._report(self.done, self.total)


@contextmanager
def read_ahead(files: Sequence[Path], progress: ReadProgress) -> Iterator[None]:
    """Read whole files into the page cache while the block runs; wait for it at the end.

    Errors are ignored: the load that reads the file meets the same error and reports it. If the
    block raises, reading stops.
    """
    opened = _open(files)
    total = sum(file.size for file in opened)
    pieces = _pieces(opened)
    try:
        if total < THREAD_THRESHOLD_BYTES:
            for piece in pieces:
                _populate(piece)
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
    cancelled = threading.Event()

    def read() -> None:
        for piece in pieces:
            if cancelled.is_set():
                return
            _populate(piece)
            progress.add(piece.length)

    thread = threading.Thread(target=read, name="read-ahead")
    thread.start()
    try:
        yield
    except BaseException:
        cancelled.set()
        raise
    finally:
        thread.join()


def _open(files: Sequence[Path]) -> list[_File]:
    """Open those files that can be opened."""
    opened = []
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        status = os.fstat(descriptor)
        # mincore(2) reports all pages as resident for files that the caller could not modify.
        reports_residency = os.geteuid() in {0, status.st_uid} or os.access(file, os.W_OK)
        opened.append(_File(descriptor, status.st_size, reports_residency))
    return opened


def _pieces(opened: Sequence[_File]) -> Iterator[_Piece]:
    """The files in pieces, in order."""
    for file in opened:
        for offset in range(0, file.size, PIECE_BYTES):
            yield _Piece(file, offset, min(PIECE_BYTES, file.size - offset))


def _populate(piece: _Piece) -> None:
    """Have the kernel read one piece of a file; returns when it is resident."""
    if not (piece.file.reports_residency and _is_resident(piece)):
        descriptor, offset, length = piece.file.descriptor, piece.offset, piece.length
        with suppress(OSError):  # some file systems do not support it
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
        with _mapped(piece, mmap.MAP_POPULATE):
            pass


def _is_resident(piece: _Piece) -> bool:
    pages = -(-piece.length // mmap.PAGESIZE)
    residency = ctypes.create_string_buffer(pages)
    with _mapped(piece) as address:
        answered = address is not None and _libc.mincore(address, piece.length, residency) == 0
    # One byte per page: 1 if it is resident.
    return answered and not residency.raw.strip(b"\1")


@contextmanager
def _mapped(piece: _Piece, flags: int = 0) -> Iterator[int | None]:
    """Map a piece temporarily; yields its address, or None if it cannot be mapped.

    Uses ctypes, because Python's own mmap holds the interpreter lock while the kernel reads.
    """
    mode = mmap.MAP_SHARED | flags
    address = _libc.mmap(
        None, piece.length, mmap.PROT_READ, mode, piece.file.descriptor, piece.offset
    )
    if address == _FAILED:
        yield None
        return
    try:
        yield address
    finally:
        _libc.munmap(address, piece.length)
