"""Read leases on files: a process that is about to change a file has to wait for the holder.

A process that opens the file for writing, or truncates it, is stopped until the holder has given up
its lease or ``/proc/sys/fs/lease-break-time`` (45 seconds) have passed; see fcntl(2), F_SETLEASE.
Renaming another file over it, or deleting it, does not change the file and needs no lease.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
from enum import Enum
from pathlib import Path

# Sent when a lease is to be given up; the first real-time signals are the C library's own.
SIGNAL = signal.SIGRTMIN + 7
# File systems whose files only this kernel changes, by the magic numbers of statfs(2): ext4, XFS,
# Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs. On others, another machine may change a file unseen.
_LOCAL = frozenset(
    {
        *(0xEF53, 0x58465342, 0x9123683E, 0x01021994),
        *(0x794C7630, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E),
    }
)
_STATFS_BYTES = 256
_MAGIC_BYTES = 8


class Refused(Enum):
    """Why there is no lease on a file."""

    WRITTEN = "another process has it open for writing"
    IMPOSSIBLE = "it belongs to another user, or its file system has no leases"


def take(descriptor: int) -> Refused | None:
    """Take a lease on a file that is open for reading; None if that succeeded."""
    if not _is_local(descriptor):
        return Refused.IMPOSSIBLE
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, SIGNAL)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as problem:
        busy = problem.errno in {errno.EAGAIN, errno.EBUSY}
        return Refused.WRITTEN if busy else Refused.IMPOSSIBLE
    return None


def is_held(descriptor: int) -> bool:
    """Whether a lease holds; False once another process waits for its end, or has not waited."""
    with contextlib.suppress(OSError):
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    return False


def give_up(descriptor: int) -> None:
    """Give up a lease, if it is still there."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def is_written(path: Path) -> bool:
    """Whether another process has a file open for writing, as far as the kernel tells."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        refused = take(descriptor)
        give_up(descriptor)
    finally:
        os.close(descriptor)
    return refused is Refused.WRITTEN


def _is_local(descriptor: int) -> bool:
    status = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(descriptor, status) != 0:
        return False
    return int.from_bytes(status.raw[:_MAGIC_BYTES], "little") in _LOCAL


_libc = ctypes.CDLL(None, use_errno=True)
