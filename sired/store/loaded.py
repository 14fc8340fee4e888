"""Which models are to be loaded by the next daemon, as this one leaves them."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sired.store.atomic import write_atomically

log = logging.getLogger(__name__)


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model to load; ``attempts`` by daemons that did not live to see it loaded."""

    model: str
    attempts: int = 0


class LoadedModels:
    """The models in the order they are to be loaded, in a file.

    Losing it costs a load when a model is first asked for, so nothing here raises.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Remembered]:
        """What the last daemon left; nothing if it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Remembered])
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as problem:
            log.warning("cannot read %s: %s", self._path, problem)
            return []

    def write(self, models: Iterable[Remembered]) -> None:
        """Put these in its place, durably."""
        try:
            write_atomically(self._path, msgspec.json.encode(list(models)))
        except OSError as problem:
            log.warning("cannot write %s: %s", self._path, problem.strerror)
