"""Checks of this machine: directories, disk and limits."""

import os
import resource
import shutil
from pathlib import Path

from sire.errors import DaemonUnavailable
from sire.paths import Paths, check_owner
from sire.units import format_bytes
from sire_cli.doctor.finding import Finding

_SHARED = Path("/dev/shm")  # noqa: S108
_LEAST_DISK = 1 << 30
_LEAST_SHARED = 64 << 20
# Each loaded model needs a few, and each client one.
_LEAST_FILES = 1024


def private_directories(paths: Paths) -> Finding:
    """Check that the user owns and can write every directory of the daemon."""
    name = "directories"
    for path in (paths.runtime, paths.config, paths.data, paths.state):
        existing = _nearest_that_exists(path)
        if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
            return Finding(
                name,
                "problem",
                f"{existing} is not writable",
                f"Run: sudo chown $USER {existing} && chmod u+rwx {existing}; or set SIRE_HOME",
            )
        if existing == path:
            try:
                check_owner(path)
            except DaemonUnavailable as error:
                return Finding(name, "problem", error.message, error.hint)
    accessible = [
        path for path in (paths.runtime, paths.data) if path.exists() and _open_to_others(path)
    ]
    if accessible:
        return Finding(
            name,
            "warning",
            f"{accessible[0]} is accessible to other users",
            f"Run: chmod 700 {accessible[0]}; the daemon does this when it starts",
        )
    return Finding(name, "ok", f"{paths.data} and the others are private and writable")


def _nearest_that_exists(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def socket_path(paths: Paths) -> Finding:
    """Check the socket path, which the kernel limits to 107 bytes."""
    try:
        path = paths.checked_socket()
    except DaemonUnavailable as error:
        return Finding("socket", "problem", error.message.rstrip("."), error.hint)
    return Finding("socket", "ok", f"{path} ({len(os.fsencode(path))} of 107 bytes)")


def disk(paths: Paths) -> Finding:
    """Check the free space for jobs, caches and logs."""
    free = shutil.disk_usage(_nearest_that_exists(paths.state)).free
    found = f"{format_bytes(free)} free for {paths.state}"
    if free < _LEAST_DISK:
        advice = "Free some space: jobs, caches and logs are stored there ([jobs] in sire.toml(5))"
        return Finding("disk", "warning" if free else "problem", found, advice)
    return Finding("disk", "ok", found)


def shared_memory(path: Path = _SHARED) -> Finding:
    """Check /dev/shm, where frameworks pass tensors; containers have 64 MiB by default."""
    if not path.is_dir():
        return Finding(
            "shared memory", "warning", f"{path} does not exist", f"Mount a tmpfs at {path}"
        )
    total = shutil.disk_usage(path).total
    found = f"{path} has {format_bytes(total)}"
    if total <= _LEAST_SHARED:
        advice = "Increase it: docker run --shm-size=1g, or mount -o remount,size=1G /dev/shm"
        return Finding("shared memory", "warning", found, advice)
    return Finding("shared memory", "ok", found)


def open_files() -> Finding:
    """Check the limit of open files: a few per model and one per client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"limit of {_number(soft)}"
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FILES:
        advice = f"ulimit -n {_number(hard)}" if hard > soft else "Raise it in limits.conf(5)"
        return Finding("open files", "warning", found, f"Before the daemon starts: {advice}")
    return Finding("open files", "ok", found)


def _number(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
