"""Writing a file so that a crash leaves the old one or the new one, never half of one."""

import contextlib
import os
import tempfile
from pathlib import Path

_UNFINISHED = ".new-"


def sweep(directory: Path) -> None:
    """Remove what was being written here when the writer was killed."""
    for left in directory.glob(f".*{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # it does no harm
            left.unlink()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file's content as a whole, durably.

    Raises:
        OSError: the disk is full or cannot be written to; the old file stays as it was.
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
    # The new name itself is durable only once its directory is.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
