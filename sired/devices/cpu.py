"""Reads the CPU and main memory through psutil and control groups."""

import os
import platform
from pathlib import Path

import psutil

from sired.devices.base import Hardware, Reading, ReadingFailed
from sired.devices.cgroup import limited_groups


class CpuProbe:
    """The CPU device of the machine, within the limits of this process.

    Args:
        membership: the file that lists the control groups of this process.
        groups: where control groups are mounted.
    """

    kind = "cpu"
    incomplete = False

    def __init__(
        self,
        membership: Path = Path("/proc/self/cgroup"),
        groups: Path = Path("/sys/fs/cgroup"),
    ) -> None:
        self._membership = membership
        self._groups = groups

    @property
    def problems(self) -> list[str]:
        """None: there is always one."""
        return []

    def find(self) -> list[Hardware]:
        """The CPU, with the cores and the memory that this process may use."""
        psutil.cpu_percent(None)  # starts the interval of the next call
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
        """Available memory, including page cache, and the load of the cores."""
        return Reading(free_bytes=self.free_bytes(), utilization_percent=psutil.cpu_percent(None))

    def free(self, hardware: Hardware) -> int:  # noqa: ARG002
        """Available bytes, including page cache."""
        return self.free_bytes()

    def by_process(self, hardware: Hardware) -> dict[int, int]:  # noqa: ARG002
        """Always empty: what processes hold of main memory is measured by their workers."""
        return {}

    def failure(self, hardware: Hardware) -> ReadingFailed | None:  # noqa: ARG002
        """Always None: the CPU responds."""
        return None

    def free_bytes(self) -> int:
        """Available bytes, including page cache."""
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
