"""The files that a model is read from, and which of them to read ahead."""

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
    """The files that a model is read from, in order; empty if they are not known."""
    if not spec.path:
        return []
    with suppress(OSError, InvalidModel):  # the runtime reports what is wrong with them
        return files_of(spec.format, Path(spec.path), spec.args)
    return []


def files_to_read(files: Sequence[Path]) -> Sequence[Path]:
    """The files of a model to read ahead.

    None are if they exceed the free memory: reading ahead would evict pages read before, and
    everything would be read twice.
    """
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return []
    return files if size < THREAD_THRESHOLD_BYTES or size <= CpuProbe().free_bytes() else []


def content_digest(files: Sequence[Path]) -> str:
    """A digest that changes when a file changes, computed from the kernel's metadata.

    Contents are not read: every change of a file updates its change time (ctime).
    """
    metadata = []
    for file in files:
        with suppress(OSError):
            at = file.stat()
            metadata.append(
                (str(file), at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
            )
    return hashlib.sha256(repr(metadata).encode(errors="replace")).hexdigest()[:32]
