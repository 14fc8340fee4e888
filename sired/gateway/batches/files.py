"""The files of ``/v1/files``: a record and a content each, in one directory."""

import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from sire.atomic import write_atomically
from sire.errors import InvalidInput, SireError, shown
from sire.units import format_bytes
from sired.gateway.errors import HttpError

MOST_FILES = 10_000
MOST_BYTES = 16 << 30
_ID = re.compile(r"file-[0-9a-z]{1,64}", re.ASCII)


class StoredFile(msgspec.Struct, frozen=True):
    """What is known of a file.

    Attributes:
        bytes: its size.
        created_at: in seconds since the epoch.
        owner: the name of the key that it was uploaded with; "" if none was demanded.
    """

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    owner: str = ""

    def described(self) -> dict[str, Any]:
        """The file as OpenAI's clients read it."""
        known = msgspec.structs.asdict(self)
        del known["owner"]
        return {**known, "object": "file", "status": "processed"}


class FileStore:
    """All files.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, content: bytes, filename: str, purpose: str, owner: str) -> StoredFile:
        """Store a file, durably.

        Raises:
            InvalidInput: there are too many, or they would take too much room.
            SireError: the disk is full or cannot be written to.
        """
        known = self.all()
        taken = sum(one.bytes for one in known) + len(content)
        if len(known) >= MOST_FILES or taken > MOST_BYTES:
            raise InvalidInput(
                f"The files would be {len(known) + 1} with {format_bytes(taken)}; the limits are "
                f"{MOST_FILES} and {format_bytes(MOST_BYTES)}.",
                hint="Delete files that are not needed any more.",
            )
        name = f"file-{uuid.uuid4().hex}"
        try:
            write_atomically(self.content_of(name), content)
            return self._record(name, filename, purpose, owner)
        except OSError as problem:
            raise SireError(f"The file cannot be stored: {problem.strerror}.") from None

    def take(self, path: Path, name: str, filename: str, owner: str) -> StoredFile:
        """Make a file of a batch's output; doing it again after a crash is the same.

        Raises:
            OSError: the disk is full or cannot be written to.
        """
        if path.exists():
            path.replace(self.content_of(name))
        return self._record(name, filename, "batch_output", owner)

    def _record(self, name: str, filename: str, purpose: str, owner: str) -> StoredFile:
        size = self.content_of(name).stat().st_size
        record = StoredFile(name, size, int(time.time()), filename, purpose, owner)
        write_atomically(self._record_of(name), msgspec.json.encode(record))
        return record

    def get(self, name: str) -> StoredFile:
        """One file.

        Raises:
            HttpError: there is none of this id.
        """
        if _ID.fullmatch(name):
            try:
                return msgspec.json.decode(self._record_of(name).read_bytes(), type=StoredFile)
            except (OSError, msgspec.MsgspecError):
                pass
        raise HttpError(404, f"There is no file {shown(name)}.")

    def all(self) -> list[StoredFile]:
        """All files, the latest first."""
        found = []
        for path in self._directory.glob("file-*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=StoredFile))
            except (OSError, msgspec.MsgspecError):  # deleted meanwhile, or damaged
                continue
        return sorted(found, key=lambda one: (-one.created_at, one.id))

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        for path in (self._record_of(name), self.content_of(name)):
            path.unlink(missing_ok=True)

    def content_of(self, name: str) -> Path:
        """Where the content of a file is."""
        return self._directory / f"{name}.jsonl"

    def _record_of(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def append_durably(path: Path, content: bytes) -> None:
    """Add to a file.

    Raises:
        OSError: the disk is full or cannot be written to; a part may have been added.
    """
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
