"""The CPU and its memory, through psutil and the control groups."""

import os
import platform
from pathlib import Path

import psutil

from sired.devices.base import Hardware, Reading

_CGROUP = Path("/sys/fs/cgroup")


class CpuProbe:
    """The one CPU device of a machine, within the limits this process lives under."""

    kind = "cpu"

    def find(self) -> list[Hardware]:
        """The CPU: all of the cores and the memory this process may use."""
        psutil.cpu_percent(None)  # the first reading is of no interval
        limit = min((limit for limit, _ in _cgroup_memory()), default=None)
        total = psutil.virtual_memory().total
        return [
            Hardware(
                kind="cpu",
                index=0,
                model=_model_name(),
                uuid="",
                total_bytes=total if limit is None else min(total, limit),
                cores=tuple(sorted(os.sched_getaffinity(0))),
            )
        ]

    def read(self, hardware: Hardware) -> Reading | None:  # noqa: ARG002
        """How much memory is to be had, page cache included, and how busy the cores are."""
        free = psutil.virtual_memory().available
        headroom = [max(0, limit - used) for limit, used in _cgroup_memory()]
        return Reading(
            free_bytes=min([free, *headroom]), utilization_percent=psutil.cpu_percent(None)
        )


def _cgroup_memory() -> list[tuple[int, int]]:
    """Limit and use in bytes of every control group (v2) above us that has a limit."""
    try:
        own = Path("/proc/self/cgroup").read_text("utf-8").split("::", 1)[1].splitlines()[0]
    except (OSError, IndexError):
        return []
    group = _CGROUP / own.lstrip("/")
    found = []
    for directory in (group, *group.parents):
        if not directory.is_relative_to(_CGROUP):
            break
        try:
            limit = (directory / "memory.max").read_text("utf-8").strip()
            used = _used_without_cache(directory)
        except (OSError, ValueError):
            continue
        if limit != "max":
            found.append((int(limit), used))
    return found


def _used_without_cache(group: Path) -> int:
    """Bytes a group uses that the kernel could not take back at once."""
    used = int((group / "memory.current").read_text("utf-8"))
    for line in (group / "memory.stat").read_text("utf-8").splitlines():
        if line.startswith("inactive_file "):
            used -= int(line.split()[1])
    return max(0, used)


def _model_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
