"""What a worker is kept from: privileges it was not given, and harming the machine by mistake.

None of this is a sandbox: a model runs with its user's rights, and can do what that user can.
"""

import contextlib
import ctypes
import os
import resource
from pathlib import Path

import msgspec

_PR_SET_NO_NEW_PRIVS = 38
_MIB = 1024**2
# What is open at once: so many, and as many as this for a program that asks for more.
_DESCRIPTORS, _MOST_DESCRIPTORS = 4096, 65_536
# Whom the kernel ends first when the machine has no memory left: -1000 never to 1000 first.
_OOM_SCORE = 500
# Address space beside a model's memory: what libraries allocate and never touch, and
_HEADROOM_BYTES = 512 * _MIB
# the stacks of threads, of which several libraries have one for each core.
_THREADS_PER_CORE = 4
_STACK_BYTES = 8 * _MIB


class Confinement(msgspec.Struct, frozen=True):
    """What every worker is kept from, as the settings say."""

    limits: bool = True
    no_new_privileges: bool = True


def confine(confinement: Confinement) -> None:
    """Give up what no model needs; what this process starts inherits it."""
    if confinement.no_new_privileges:
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not confinement.limits:
        return
    # A core file would hold the model, and what it was given.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _at_most(_MOST_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, most), most))
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # a container may not let us
        score.write_text(str(max(_OOM_SCORE, int(score.read_text("ascii")))), "ascii")


def bound_memory(size: int) -> None:
    """Have allocations fail (``MemoryError``) that take more than ``size`` bytes beside what is.

    The kernel counts address space that may be written to, touched or not, so some is added for
    what nobody touches. On a GPU this is not for use: CUDA reserves address space without measure.
    """
    threads = _THREADS_PER_CORE * (os.cpu_count() or 1)
    bound = _data_bytes() + size + _HEADROOM_BYTES + threads * _STACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_at_most(bound, hard), hard))


def _at_most(wanted: int, hard: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _data_bytes() -> int:
    """Private memory this process may write to, as RLIMIT_DATA counts it."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
