"""Deletes the cache directories of models, which runtimes write to."""

import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sire.paths import file_stem, model_of_stem


def forget(caches: Path, name: str) -> None:
    """Delete the cache of one model: renamed at once, then deleted, which can take a while."""
    with suppress(OSError), tempfile.TemporaryDirectory(prefix=".", dir=caches) as aside:
        (caches / file_stem(name)).rename(Path(aside) / "cache")


def sweep(caches: Path, known: Collection[str]) -> None:
    """Delete the caches of models that are no longer registered."""
    with suppress(OSError):
        for directory in caches.iterdir():
            if model_of_stem(directory.name) not in known:
                shutil.rmtree(directory, ignore_errors=True)
