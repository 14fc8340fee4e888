"""Writes files atomically: a crash leaves the old content or the new one, never a part."""

import contextlib
import os
import tempfile
from pathlib import Path

_UNFINISHED = ".new-"


def sweep(directory: Path) -> None:
    """Delete the temporary files of writers that were killed."""
    for left in directory.glob(f".*{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # a leftover is harmless
            left.unlink()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the content of a file, atomically and durably.

    Raises:
        OSError: the disk is full or cannot be written to; the old file is unchanged.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_UNFINISHED}")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # The new name is durable only once its directory is synced.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
