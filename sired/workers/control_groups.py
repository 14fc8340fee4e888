"""A control group for each worker on a CPU, where the service manager lets the daemon make them.

A limit of address space (``confinement.bound_memory``) is of one process. A group bounds what a
worker and all that it started have in memory together, and ends all of them at once.

The kernel allows groups below one that has no processes itself, so the daemon moves into one of its
own first. All this is version 2 of control groups only.
"""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

# Whoever allocates too much is told so by ``bound_memory``: a group's limit, at which processes are
# killed, comes after that.
HEADROOM_BYTES = 1024**3


def own_group(membership: Path, root: Path) -> Path | None:
    """The directory of the group this process is in; None where that is of version 1.

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
    """The groups below one.

    Args:
        parent: the group that this process is in; None to make none.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent if parent is not None and _settle(parent) else None
        self._left: set[Path] = set()

    def make(self, instance: int, memory: int) -> str:
        """A group for an instance that may take so many bytes; "" where there are none."""
        self._sweep()
        if self._parent is None or not memory:
            return ""
        group = self._parent / f"worker-{instance}"
        try:
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(str(memory + HEADROOM_BYTES), "ascii")
            (group / "memory.oom.group").write_text("1", "ascii")
        except OSError as problem:
            log.warning("no control group for a worker: %s", problem)
            return ""
        return str(group)

    def remove(self, instance: int) -> None:
        """End what an instance has left behind, and its group."""
        group = self._parent / f"worker-{instance}" if self._parent else None
        if group is not None and group.exists():
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1", "ascii")
            self._left.add(group)
            self._sweep()

    def _sweep(self) -> None:
        """Remove groups as soon as the last process has gone."""
        for group in list(self._left):
            with contextlib.suppress(OSError):
                group.rmdir()
                self._left.discard(group)


def join(group: str) -> None:
    """Move this process into a group."""
    with contextlib.suppress(OSError):  # the daemon has ended meanwhile
        (Path(group) / "cgroup.procs").write_text("0", "ascii")


def _settle(parent: Path) -> bool:
    """Move into a group below this one, so that others can be made beside it."""
    own = parent / "daemon"
    try:
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text(str(os.getpid()), "ascii")
        (parent / "cgroup.subtree_control").write_text("+memory", "ascii")
    except OSError as problem:  # not ours, without the memory controller, or we are not alone in it
        log.warning("no control groups for workers below %s: %s", parent, problem)
        with contextlib.suppress(OSError):
            (parent / "cgroup.procs").write_text(str(os.getpid()), "ascii")
            own.rmdir()
        return False
    return True
