"""Stores the services that the daemon keeps, so that the next daemon starts them again."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sire.atomic import write_atomically
from sire.errors import SireError
from sire.protocol.services import ServiceSpec

log = logging.getLogger(__name__)


class StoredServices:
    """The services, in a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[ServiceSpec]:
        """The services that were stored last; empty if the file cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ServiceSpec])
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as problem:
            log.warning("cannot read %s: %s", self._path, problem)
            return []

    def write(self, services: Iterable[ServiceSpec]) -> None:
        """Replace the stored services, durably.

        Raises:
            SireError: the file cannot be written.
        """
        try:
            write_atomically(self._path, msgspec.json.encode(list(services)))
        except OSError as problem:
            raise SireError(
                f"{self._path} cannot be written: {problem.strerror}.",
                hint="A service that is not stored would be gone after a restart.",
            ) from None
