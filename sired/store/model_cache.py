"""The directories in which runtimes keep what takes long to make; here they are emptied."""

import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def forget(caches: Path, name: str) -> None:
    """Delete what is kept of one model. It is out of the way at once, deleting may take a while."""
    with suppress(OSError), tempfile.TemporaryDirectory(prefix=".", dir=caches) as aside:
        (caches / name).rename(Path(aside) / name)


def sweep(caches: Path, known: Collection[str]) -> None:
    """Delete what is kept of models that are not registered any more."""
    with suppress(OSError):
        for directory in caches.iterdir():
            if directory.name not in known:
                shutil.rmtree(directory, ignore_errors=True)
