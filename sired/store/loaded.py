"""Stores which models are loaded, so that the next daemon loads them again."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sire.atomic import write_atomically

log = logging.getLogger(__name__)


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model to load.

    Attributes:
        model: its name.
        attempts: number of daemons that ended before it was loaded.
    """

    model: str
    attempts: int = 0


class LoadedModels:
    """The models to load, in order, in a file.

    Without the file, models are loaded when they are first requested, so no method raises.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Remembered]:
        """The models that the last daemon stored; empty if the file cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Remembered])
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as problem:
            log.warning("cannot read %s: %s", self._path, problem)
            return []

    def write(self, models: Iterable[Remembered]) -> None:
        """Replace the stored models, durably."""
        try:
            write_atomically(self._path, msgspec.json.encode(list(models)))
        except OSError as problem:
            log.warning("cannot write %s: %s", self._path, problem.strerror)
