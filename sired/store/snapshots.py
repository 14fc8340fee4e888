"""Stores the states of models' files at registration, so that a change is noticed at the next load.

A file per model: registering one of a thousand writes one.
"""

import hashlib
import logging
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from sire.atomic import write_atomically
from sire.errors import SireError
from sire.paths import file_stem, model_of_stem, private_directory
from sire.spec import ModelSpec
from sired.store.file_states import FileState

log = logging.getLogger(__name__)


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The files of a model at one time.

    Attributes:
        files: their states.
        changed: the paths of those that had changed when they were last read anew.
        changed_at: when that was, in seconds since the epoch; 0 if they never changed.
        code: the ``code_digest`` of what was registered or trusted on this machine; None if an
            earlier version of sire registered it, which recorded none.
    """

    files: tuple[FileState, ...] = ()
    changed: tuple[str, ...] = ()
    changed_at: float = 0.0
    code: str | None = None


def code_digest(spec: ModelSpec) -> str:
    """A digest of all that decides which code a model runs.

    It is kept apart from the registry, so that a registry file from elsewhere does not bring it.
    """
    decisive = (
        spec.name,
        spec.path,
        spec.runtime,
        spec.model_class,
        spec.python_path,
        spec.args,
        spec.trusted,
    )
    return hashlib.sha256(msgspec.json.encode(decisive, order="deterministic")).hexdigest()


class Snapshots:
    """The snapshots of all models, below one directory; reads and writes the disk.

    A damaged one is the same as none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def adopt(self, registered: Collection[str], *, earlier: bool) -> None:
        """Begin to keep snapshots, unless that has been done.

        Args:
            registered: the names of the registered models.
            earlier: whether a version of sire ran here that kept no snapshots. What it has
                registered is taken for registered on this machine.
        """
        if not self._directory.exists():
            for name in registered if earlier else ():
                self.put(name, Snapshot())
            with suppress(SireError):  # the first snapshot reports it
                private_directory(self._directory)

    def get(self, name: str) -> Snapshot | None:
        """The snapshot of a model; None if there is none, or it cannot be read."""
        try:
            return self.read(name)
        except OSError as problem:
            log.warning("cannot read %s: %s", self._file(name), problem)
            return None

    def read(self, name: str) -> Snapshot | None:
        """The snapshot of a model; None if there is none, or it is damaged.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return msgspec.json.decode(self._file(name).read_bytes(), type=Snapshot)
        except FileNotFoundError:
            return None
        except ValueError as problem:
            log.warning("%s is damaged: %s", self._file(name), problem)
            return None

    def put(self, name: str, snapshot: Snapshot) -> bool:
        """Store the snapshot of a model; an error is logged, as the next load takes another.

        Returns:
            Whether it is stored.
        """
        with self._lock:
            return self._write(name, snapshot)

    def renew(self, name: str, old: Snapshot | None, new: Snapshot) -> None:
        """Replace the snapshot of a model, unless the model was registered again meanwhile.

        Args:
            name: of the model.
            old: the snapshot that the new one was made from; None if there was none.
            new: the snapshot to store.
        """
        with self._lock:
            if self.get(name) == old:
                self._write(name, new)

    def _write(self, name: str, snapshot: Snapshot) -> bool:
        try:
            private_directory(self._directory)
            write_atomically(self._file(name), msgspec.json.encode(snapshot))
        except (OSError, ValueError, SireError) as problem:
            log.warning("cannot write %s: %s", self._file(name), problem)
            return False
        return True

    def forget(self, name: str) -> None:
        """Delete the snapshot of a model."""
        with self._lock, suppress(OSError):
            self._file(name).unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> None:
        """Delete the snapshots of models that are not registered any more."""
        with suppress(OSError):
            for file in self._directory.glob("*.json"):
                if model_of_stem(file.stem) not in known:
                    file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._directory / f"{file_stem(name)}.json"
