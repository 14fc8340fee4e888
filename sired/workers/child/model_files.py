"""The files a model is read from, and whether there is memory to read them ahead."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sire.errors import InvalidModel
from sire.spec import ModelSpec
from sired.devices.cpu import CpuProbe
from sired.runtimes.reading import THREAD_THRESHOLD_BYTES
from sired.store.formats import files_of


def model_files(spec: ModelSpec) -> list[Path]:
    """The files that a model is read from, in order; none where they cannot be told."""
    if not spec.path:
        return []
    with suppress(OSError, InvalidModel):  # the runtime tells what is wrong with them
        return files_of(spec.format, Path(spec.path))
    return []


def files_to_read(files: Sequence[Path]) -> Sequence[Path]:
    """Those of a model's files that are to be read ahead.

    There are none where memory could not hold them all: what is read ahead would push out what was
    read before it, and everything would be read twice.
    """
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return []
    return files if size < THREAD_THRESHOLD_BYTES or size <= CpuProbe().free_bytes() else []


def content_digest(files: Sequence[Path]) -> str:
    """A digest that is another one once files are others, by what the kernel notes of them.

    Nothing is read: no change of a file's content leaves the time of its last change as it was.
    """
    noted = []
    for file in files:
        with suppress(OSError):
            at = file.stat()
            noted.append(
                (str(file), at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
            )
    return hashlib.sha256(repr(noted).encode(errors="replace")).hexdigest()[:32]
