"""The CPU and its memory, through psutil and the control groups."""

import os
import platform
from pathlib import Path

import psutil

from sired.devices.base import Hardware, Reading
from sired.devices.cgroup import limited_groups


class CpuProbe:
    """The one CPU device of a machine, within the limits this process lives under.

    Args:
        membership: the file that says which control groups this process is in.
        groups: where the control groups are mounted.
    """

    kind = "cpu"

    def __init__(
        self,
        membership: Path = Path("/proc/self/cgroup"),
        groups: Path = Path("/sys/fs/cgroup"),
    ) -> None:
        self._membership = membership
        self._groups = groups

    def find(self) -> list[Hardware]:
        """The CPU: all of the cores and the memory this process may use."""
        psutil.cpu_percent(None)  # the first reading is of no interval
        limits = [group.limit for group in limited_groups(self._membership, self._groups)]
        return [
            Hardware(
                kind="cpu",
                index=0,
                model=_model_name(),
                uuid="",
                total_bytes=min([psutil.virtual_memory().total, *limits]),
                cores=tuple(sorted(os.sched_getaffinity(0))),
            )
        ]

    def read(self, hardware: Hardware) -> Reading | None:  # noqa: ARG002
        """How much memory is to be had, page cache included, and how busy the cores are."""
        return Reading(free_bytes=self.free_bytes(), utilization_percent=psutil.cpu_percent(None))

    def free(self, hardware: Hardware) -> int:  # noqa: ARG002
        """Bytes that can be had, page cache included."""
        return self.free_bytes()

    def free_bytes(self) -> int:
        """Bytes that can be had, page cache included."""
        free = psutil.virtual_memory().available
        groups = limited_groups(self._membership, self._groups)
        return min([free, *(max(0, group.limit - group.used) for group in groups)])


def _model_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
