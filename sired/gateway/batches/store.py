"""The batches on disk: a record each, and the answers of those that run."""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from sire.atomic import write_atomically
from sire.errors import shown
from sired.gateway.errors import HttpError

Status = Literal["in_progress", "cancelling", "completed", "cancelled", "expired"]
Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
UNFINISHED = frozenset({"in_progress", "cancelling"})
_ID = re.compile(r"batch_[0-9a-f]{32}", re.ASCII)
_TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class BatchCounts(msgspec.Struct, frozen=True):
    """Requests of a batch: in all, answered, and answered with an error."""

    total: int
    completed: int
    failed: int


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch.

    Attributes:
        total: the number of its requests.
        times: when it got into a state, in seconds since the epoch.
        owner: the name of the key that it was created with; "" if none was demanded.
        models: the only models that it may use; empty for all.
    """

    id: str
    endpoint: Endpoint
    input_file_id: str
    created_at: int
    expires_at: int
    total: int
    status: Status = "in_progress"
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    times: dict[str, int] = {}
    owner: str = ""
    models: tuple[str, ...] = ()

    @property
    def unfinished(self) -> bool:
        """Whether it still has to run."""
        return self.status in UNFINISHED

    def described(self, counts: BatchCounts) -> dict[str, Any]:
        """The batch as OpenAI's clients read it."""
        known = msgspec.structs.asdict(self)
        for name in ("total", "times", "owner", "models"):
            del known[name]
        times = {f"{state}_at": self.times.get(state) for state in _TIMES}
        return {**known, **times, "object": "batch", "errors": None, "request_counts": counts}


class BatchStore:
    """All batches.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, batch: Batch) -> None:
        """Store a batch.

        Raises:
            OSError: the disk is full or cannot be written to.
        """
        write_atomically(self._file(batch.id, "json"), msgspec.json.encode(batch))

    def get(self, name: str) -> Batch:
        """One batch.

        Raises:
            HttpError: there is none of this id.
        """
        if _ID.fullmatch(name):
            try:
                return msgspec.json.decode(self._file(name, "json").read_bytes(), type=Batch)
            except (OSError, msgspec.MsgspecError):
                pass
        raise HttpError(404, f"There is no batch {shown(name)}.")

    def all(self) -> list[Batch]:
        """All batches, the latest first."""
        found = []
        for path in self._directory.glob("batch_*.json"):
            try:
                found.append(self.get(path.stem))
            except HttpError:  # damaged
                continue
        return sorted(found, key=lambda one: (-one.created_at, one.id))

    def update(self, name: str, change: Callable[[Batch], Batch]) -> Batch:
        """Change a batch, as it is now; other processes may change it as well.

        Raises:
            HttpError: there is none of this id.
            OSError: the disk is full or cannot be written to.
        """
        with (self._directory / "changing.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            changed = change(self.get(name))
            self.put(changed)
        return changed

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Hold a batch, so that no other gateway runs it; whether that is possible."""
        with self._file(name, "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def output(self, name: str) -> Path:
        """The answers so far."""
        return self._file(name, "output.jsonl")

    def errors(self, name: str) -> Path:
        """The errors so far."""
        return self._file(name, "errors.jsonl")

    def answered(self, name: str) -> tuple[set[int], int, int]:
        """The numbers of the lines that have been answered, and how many well and with an error.

        What a killed gateway has written of a line is removed. The batch has to be held.
        """
        good, bad = (_numbers(_whole(path)) for path in (self.output(name), self.errors(name)))
        return {*good, *bad}, len(good), len(bad)

    def counts(self, batch: Batch) -> BatchCounts:
        """How far a batch is that another gateway runs, or none."""
        done = [
            path.read_bytes().count(b"\n") if path.exists() else 0
            for path in (self.output(batch.id), self.errors(batch.id))
        ]
        return BatchCounts(batch.total, *done)

    def _file(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}.{suffix}"


class _Answered(msgspec.Struct):
    id: str


_answered = msgspec.json.Decoder(_Answered)


def request_id(batch: str, number: int) -> str:
    """The id of a request, by its line."""
    return f"batch_req_{batch.removeprefix('batch_')}_{number}"


def _whole(path: Path) -> list[bytes]:
    """The lines of a file, without a last one that is not complete."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return content[:end].splitlines()


def _numbers(lines: list[bytes]) -> set[int]:
    return {int(_answered.decode(line).id.rpartition("_")[2]) for line in lines}
