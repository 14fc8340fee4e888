"""Memory limits of this process's control groups (containers, systemd, batch systems)."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class ControlGroup(NamedTuple):
    """One control group: its limit, and its use without reclaimable memory; both in bytes."""

    limit: int
    used: int


# The files of version 2 and version 1: limit, use, and the keys of reclaimable file cache.
_V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


# Version 1 reports a value near 2^63 for no limit.
_NO_LIMIT = 1 << 62


def limited_groups(membership: Path, root: Path) -> list[ControlGroup]:
    """Every group with a memory limit that this process is in, its parents included.

    Args:
        membership: ``/proc/self/cgroup``.
        root: where the hierarchies are mounted, ``/sys/fs/cgroup``.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return []
    groups: list[ControlGroup] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups += _upwards(root, path, _V2)
        elif "memory" in controllers.split(","):
            groups += _upwards(root / "memory", path, _V1)
    return groups


def _upwards(
    mount: Path, path: str, files: tuple[str, str, tuple[str, str]]
) -> Iterator[ControlGroup]:
    """The groups with a limit, from this one up to the mount point.

    In a container the path may be the host's, which is not visible; then the mount point is the
    container's group.
    """
    group = mount / path.lstrip("/")
    limit_file, use_file, cache_keys = files
    for directory in (group, *group.parents):
        if not directory.is_relative_to(mount):
            return
        try:
            limit = int((directory / limit_file).read_text("utf-8"))
            if limit >= _NO_LIMIT:
                continue
            used = int((directory / use_file).read_text("utf-8"))
            cache = _cache(directory / "memory.stat", cache_keys)
        except (OSError, ValueError):  # the group is not visible, or its limit is "max"
            continue
        yield ControlGroup(limit, max(0, used - cache))


def _cache(file: Path, keys: tuple[str, str]) -> int:
    """Bytes of cached file content, which count as used although they can be reclaimed."""
    entries = (line.split() for line in file.read_text("utf-8").splitlines())
    return sum(int(value) for key, value in entries if key in keys)
