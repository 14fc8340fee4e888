"""Whether directories, disk and limits of this machine are as a daemon needs them."""

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
# Each loaded model takes a few, and each client one.
_LEAST_FILES = 1024


def private_directories(paths: Paths) -> Finding:
    """Everything the daemon writes to is the user's own, and can be written to."""
    name = "directories"
    for path in (paths.runtime, paths.config, paths.data, paths.state):
        there = _nearest_that_exists(path)
        if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
            return Finding(
                name,
                "problem",
                f"{there} cannot be written to",
                f"Make it yours: sudo chown $USER {there} && chmod u+rwx {there}; or set SIRE_HOME",
            )
        if there == path:
            try:
                check_owner(path)
            except DaemonUnavailable as error:
                return Finding(name, "problem", error.message, error.hint)
    open_to = [path for path in (paths.runtime, paths.data) if path.exists() and _open(path)]
    if open_to:
        return Finding(
            name,
            "warning",
            f"{open_to[0]} is open to others",
            f"chmod 700 {open_to[0]}; the daemon does so when it starts",
        )
    return Finding(name, "ok", f"{paths.data} and the others are yours")


def _nearest_that_exists(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def socket_path(paths: Paths) -> Finding:
    """The kernel takes no longer path than 107 bytes."""
    try:
        path = paths.checked_socket()
    except DaemonUnavailable as error:
        return Finding("socket", "problem", error.message.rstrip("."), error.hint)
    return Finding("socket", "ok", f"{path} ({len(os.fsencode(path))} of 107 bytes)")


def disk(paths: Paths) -> Finding:
    """There is room for jobs, caches and logs."""
    free = shutil.disk_usage(_nearest_that_exists(paths.state)).free
    said = f"{format_bytes(free)} free for {paths.state}"
    if free < _LEAST_DISK:
        advice = "Make room: jobs, caches and logs are written there (see [jobs] in sire.toml(5))"
        return Finding("disk", "warning" if free else "problem", said, advice)
    return Finding("disk", "ok", said)


def shared_memory(path: Path = _SHARED) -> Finding:
    """Some frameworks pass tensors between their processes there; containers have 64 MiB."""
    if not path.is_dir():
        return Finding(
            "shared memory", "warning", f"there is no {path}", f"Mount a tmpfs at {path}"
        )
    total = shutil.disk_usage(path).total
    said = f"{path} has {format_bytes(total)}"
    if total <= _LEAST_SHARED:
        advice = "Give more: docker run --shm-size=1g, or mount -o remount,size=1G /dev/shm"
        return Finding("shared memory", "warning", said, advice)
    return Finding("shared memory", "ok", said)


def open_files() -> Finding:
    """A daemon holds a few files for each model and one for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"{_number(soft)} may be open at once"
    if soft != resource.RLIM_INFINITY and soft < _LEAST_FILES:
        most = f"ulimit -n {_number(hard)}" if hard > soft else "Raise it: limits.conf(5)"
        return Finding("open files", "warning", said, f"{most}, before the daemon starts")
    return Finding("open files", "ok", said)


def _number(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
