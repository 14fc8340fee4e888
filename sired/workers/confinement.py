"""Limits of a worker: no additional privileges, and bounds against accidental harm.

This is not a sandbox: a model runs with its user's rights, and can do what that user can.
"""

import contextlib
import ctypes
import os
import resource
from pathlib import Path

import msgspec

_PR_SET_NO_NEW_PRIVS = 38
_MIB = 1024**2
# The soft and the hard limit of open file descriptors.
_DESCRIPTORS, _MOST_DESCRIPTORS = 4096, 65_536
# The priority for the kernel's out-of-memory killer: -1000 (never) to 1000 (first).
_OOM_SCORE = 500
# Address space in addition to a model's memory: allocations that libraries never touch, and
_HEADROOM_BYTES = 512 * _MIB
# the stacks of threads, as several libraries have one per core.
_THREADS_PER_CORE = 4
_STACK_BYTES = 8 * _MIB


class Confinement(msgspec.Struct, frozen=True):
    """The limits of every worker, as configured."""

    limits: bool = True
    no_new_privileges: bool = True


def confine(confinement: Confinement) -> None:
    """Apply the limits to this process; its descendants inherit them."""
    if confinement.no_new_privileges:
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not confinement.limits:
        return
    # A core file would contain the model and its inputs.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _at_most(_MOST_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), most))
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # a container may forbid it
        score.write_text(str(max(_OOM_SCORE, int(score.read_text("ascii")))), "ascii")


def bound_memory(size: int) -> None:
    """Make allocations beyond ``size`` additional bytes fail with ``MemoryError``.

    The kernel counts writable address space, used or not, so headroom is added for what stays
    unused. Not for workers on a GPU: CUDA reserves address space without bound.
    """
    threads = _THREADS_PER_CORE * (os.cpu_count() or 1)
    bound = _data_bytes() + size + _HEADROOM_BYTES + threads * _STACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_at_most(bound, hard), hard))


def _at_most(wanted: int, hard: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _data_bytes() -> int:
    """Bytes of private writable memory, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
