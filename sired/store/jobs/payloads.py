"""Stores inputs and results: small ones in the database, large ones in files beside it."""

import mmap
import os
import secrets
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from sire.spec import TensorSpec

Kind = Literal["input", "result"]

# Up to this size SQLite is faster than files: https://sqlite.org/intern-v-extern-blob.html
INLINE_LIMIT = 64 * 1024

_tensors: msgspec.json.Decoder[tuple[TensorSpec, ...]] = msgspec.json.Decoder(
    tuple[TensorSpec, ...]
)


class JobPayload(NamedTuple):
    """A payload: its content type, the specifications of its arrays, and its frames."""

    content_type: str
    tensors: tuple[TensorSpec, ...]
    frames: tuple[bytes | bytearray | memoryview, ...]

    @property
    def size(self) -> int:
        """Total bytes of all frames."""
        return sum(memoryview(frame).nbytes for frame in self.frames)


class PayloadStore:
    """Payloads of jobs, whose files follow the database's transactions.

    Args:
        directory: an existing directory for large payloads, one file each.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: list[str] = []
        self._to_delete: list[str] = []

    def put(self, db: sqlite3.Connection, job: int, kind: Kind, data: JobPayload) -> None:
        """Store a payload.

        Raises:
            OSError: its file cannot be written.
        """
        small = data.size <= INLINE_LIMIT
        db.execute(
            "INSERT INTO payloads VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                kind,
                data.content_type,
                msgspec.json.encode(data.tensors).decode(),
                msgspec.json.encode([memoryview(frame).nbytes for frame in data.frames]).decode(),
                b"".join(data.frames) if small else None,
                None if small else self._write(data),
            ),
        )

    def get(self, db: sqlite3.Connection, job: int, kind: Kind) -> JobPayload | None:
        """A stored payload, None if there is none; large ones are mapped, not read.

        Raises:
            OSError: its file is missing.
        """
        row = db.execute(
            "SELECT content_type, tensors, lengths, content, file FROM payloads"
            " WHERE job = ? AND kind = ?",
            (job, kind),
        ).fetchone()
        if row is None:
            return None
        content_type, tensors, lengths, content, file = row
        whole = memoryview(content if file is None else self._map(file))
        ends = accumulate(msgspec.json.decode(lengths), initial=0)
        frames = tuple(whole[start:end] for start, end in pairwise(ends))
        return JobPayload(content_type, _tensors.decode(tensors), frames)

    def drop(self, db: sqlite3.Connection, jobs: Collection[int], kind: Kind | None = None) -> None:
        """Delete payloads of these jobs, of one kind or of both."""
        for job in jobs:
            deleted = db.execute(
                "DELETE FROM payloads WHERE job = ? AND kind = ifnull(?, kind) RETURNING file",
                (job, kind),
            )
            self._to_delete += [file for (file,) in deleted if file is not None]

    def before_commit(self) -> None:
        """Sync the names of new files before the rows that refer to them are committed."""
        if self._written:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def committed(self) -> None:
        """Delete the files whose rows the transaction deleted."""
        self._unlink(self._to_delete)

    def rolled_back(self) -> None:
        """Delete the files that were written for the transaction."""
        self._unlink(self._written)

    def sweep(self, db: sqlite3.Connection) -> None:
        """Delete files that no row refers to, as a crash can leave them."""
        known = {file for (file,) in db.execute("SELECT file FROM payloads WHERE file NOT NULL")}
        for path in self._directory.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)

    def _unlink(self, names: list[str]) -> None:
        for name in names:
            with suppress(OSError):  # ``sweep`` deletes it at the next start
                (self._directory / name).unlink()
        self._written, self._to_delete = [], []

    def _write(self, data: JobPayload) -> str:
        name = secrets.token_hex(8)
        self._written.append(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(self._directory / name, flags, 0o600), "wb", 0) as file:
            for frame in data.frames:
                left = memoryview(frame).cast("B")
                while left:
                    left = left[file.write(left) :]
            os.fsync(file.fileno())
        return name

    def _map(self, name: str) -> mmap.mmap:
        with (self._directory / name).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
