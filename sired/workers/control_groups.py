"""A control group for each worker on a CPU, if the service manager delegates them to the daemon.

An address space limit (``confinement.bound_memory``) applies to one process. A group bounds the
memory of a worker and all its descendants together, and kills all of them at once.

The kernel allows child groups only below a group without processes, so the daemon first moves into
a child group. Only version 2 of control groups is supported.
"""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

# Allocations fail by ``bound_memory`` first; the limit of the group, at which processes are killed,
# is higher.
HEADROOM_BYTES = 1024**3


def own_group(membership: Path, root: Path) -> Path | None:
    """The directory of this process's group; None if control groups are of version 1.

    Args:
        membership: ``/proc/self/cgroup``.
        root: where groups are mounted, ``/sys/fs/cgroup``.
    """
    with contextlib.suppress(OSError):
        for line in membership.read_text("utf-8").splitlines():
            if line.startswith("0::/"):
                group = root / line.removeprefix("0::/")
                return group if (group / "cgroup.controllers").exists() else None
    return None


class ControlGroups:
    """The groups of workers.

    Args:
        parent: the group of this process; None to create no groups.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent if parent is not None and _delegate(parent) else None
        self._left: set[Path] = set()

    def make(self, instance: int, memory: int) -> str:
        """Create a group for an instance with ``memory`` bytes; "" if groups are not available."""
        self._sweep()
        if self._parent is None or not memory:
            return ""
        group = self._parent / f"worker-{instance}"
        try:
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(str(memory + HEADROOM_BYTES), "ascii")
            (group / "memory.oom.group").write_text("1", "ascii")
        except OSError as problem:
            log.warning("cannot create a control group for a worker: %s", problem)
            return ""
        return str(group)

    def remove(self, instance: int) -> None:
        """Kill the remaining processes of an instance, and remove its group."""
        group = self._parent / f"worker-{instance}" if self._parent else None
        if group is not None and group.exists():
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1", "ascii")
            self._left.add(group)
            self._sweep()

    def _sweep(self) -> None:
        """Remove groups whose last process has ended."""
        for group in list(self._left):
            with contextlib.suppress(OSError):
                group.rmdir()
                self._left.discard(group)


def join(group: str) -> None:
    """Move this process into a group."""
    with contextlib.suppress(OSError):  # the daemon has ended
        (Path(group) / "cgroup.procs").write_text("0", "ascii")


def _delegate(parent: Path) -> bool:
    """Move this process into a child group, so that sibling groups can be created."""
    own = parent / "daemon"
    try:
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text(str(os.getpid()), "ascii")
        (parent / "cgroup.subtree_control").write_text("+memory", "ascii")
    except OSError as problem:  # not delegated, no memory controller, or other processes are in it
        log.warning("cannot create control groups for workers below %s: %s", parent, problem)
        with contextlib.suppress(OSError):
            (parent / "cgroup.procs").write_text(str(os.getpid()), "ascii")
            own.rmdir()
        return False
    return True
