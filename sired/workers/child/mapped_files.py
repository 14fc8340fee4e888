"""The files that this process has mapped, and how to make it independent of them.

A mapped page shows what its file contains now, and is gone when the file is truncated, even if the
process had written to it (the kernel drops such copies as well). ``Mapping.detach`` moves copies in
anonymous memory to the mapping's addresses: tensors and arrays in it stay valid, and other threads
may read meanwhile.
"""

import contextlib
import ctypes
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sired.workers.child.cpu_memory import inherited_mappings, mappings

# A copy takes this much memory twice, for as long as it takes.
PIECE_BYTES = 64 * 1024 * 1024
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_DELETED = b" (deleted)"
_EXECUTABLE = b" r-xp "
# Memory that is not a file on a disk.
_NOT_FILES = (b"/memfd:", b"/dev/zero", b"/SYSV", b"[", b"/dev/nvidia", b"/dev/dri")
_ESCAPED = re.compile(rb"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64),
]
_libc.mremap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class _Range(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


_libc.process_vm_readv.restype = ctypes.c_ssize_t
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True, slots=True)
class FileId:
    """A file as /proc/self/maps identifies it; the device may differ from that of stat(2)."""

    device: bytes
    inode: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A range of addresses that shows a part of a file.

    Attributes:
        writable: whether the process may write to it.
        shared: whether writing to it would change the file.
        path: of the file; "" if it has been deleted.
    """

    start: int
    size: int
    writable: bool
    shared: bool
    file: FileId
    path: str

    def detach(self) -> None:
        """Replace its pages by copies, which no change of the file affects.

        What the process itself writes to a piece while it is copied is lost.

        Raises:
            OSError: there is not enough memory, or the file is shorter than the mapping.
        """
        for offset in range(0, self.size, PIECE_BYTES):
            _replace(
                self.start + offset,
                min(PIECE_BYTES, self.size - offset),
                mmap.PROT_READ | (mmap.PROT_WRITE if self.writable else 0),
            )


def _replace(address: int, size: int, protection: int) -> None:
    """Copy a range of memory, and move the copy to the same address, which is one system call."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    copy = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if copy == _FAILED:
        raise _error()
    try:
        _libc.madvise(copy, size, mmap.MADV_HUGEPAGE)  # fewer page faults, where it is possible
        _read_memory(address, copy, size)
        if _libc.mprotect(copy, size, protection) != 0:
            raise _error()
        if _libc.mremap(copy, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, address) == _FAILED:
            raise _error()
    except OSError:
        _libc.munmap(copy, size)
        raise


def _read_memory(address: int, target: int, size: int) -> None:
    """Copy memory of this process. Beyond the end of a truncated file this fails without SIGBUS."""
    done = 0
    while done < size:
        here, there = (_Range(start + done, size - done) for start in (target, address))
        count = _libc.process_vm_readv(
            os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0
        )
        if count <= 0:
            raise _error()
        done += count


def mapped_files() -> dict[FileId, list[Mapping]]:
    """The mappings of files since the fork, by file; without libraries and files it writes to."""
    found: dict[FileId, list[Mapping]] = {}
    lines = mappings()
    for mapping in _parse(lines - inherited_mappings()):
        if not (mapping.shared and mapping.writable):
            found.setdefault(mapping.file, []).append(mapping)
    libraries = {mapping.file for mapping in _parse(line for line in lines if _EXECUTABLE in line)}
    return {file: maps for file, maps in found.items() if file not in libraries}


def maps_file(pid: int, path: Path) -> bool:
    """Whether another process has mapped a file; False if the process has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
        return any(mapping.path == str(path) for mapping in _parse(lines))
    return False


def _parse(lines: Iterable[bytes]) -> Iterator[Mapping]:
    """The mappings of files in lines of /proc/self/maps."""
    for line in lines:
        addresses, permissions, _, device, inode, *rest = line.split(maxsplit=5)
        path = rest[0] if rest else b""
        if not int(inode) or path.startswith(_NOT_FILES):
            continue
        start, _, end = addresses.partition(b"-")
        name = b"" if path.endswith(_DELETED) else path
        yield Mapping(
            start=int(start, 16),
            size=int(end, 16) - int(start, 16),
            writable=b"w" in permissions,
            shared=permissions.endswith(b"s"),
            file=FileId(device, int(inode)),
            path=os.fsdecode(_ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), name)),
        )


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
