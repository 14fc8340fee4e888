"""What the files of a model were when they were last looked at, to detect that they changed."""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from sire.errors import InvalidModel
from sired.store.file_leases import is_written

# Files are hashed at registration if they have no more bytes together: less than half a second.
HASHED_AT_ONCE = 256 * 1024 * 1024
# A file that another process has open for writing counts as complete once it has not changed for so
# long.
QUIET_SECONDS = 60.0
# What copies several files writes one right after another.
SETTLED_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.05


class FileState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file at a time.

    Attributes:
        path: absolute.
        size: bytes.
        modified_ns: when its content was last written, as programs may set it.
        changed_ns: when its content or its metadata last changed, by the kernel's clock.
        inode: differs once another file is renamed over it.
        sha256: of its content; "" if it was not read.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    sha256: str = ""

    def same_metadata(self, other: "FileState") -> bool:
        """Whether nothing has happened to the file: the kernel updates these on every change."""
        return msgspec.structs.replace(self, sha256="") == msgspec.structs.replace(other, sha256="")

    def same_content(self, other: "FileState") -> bool:
        """Whether the content is the same: by hash if both are known, else by size and date."""
        if self.size != other.size:
            return False
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return self.modified_ns == other.modified_ns


def state_of(path: Path) -> FileState:
    """The state of a file, without a hash.

    Raises:
        OSError: it cannot be found.
    """
    at = path.stat()
    return FileState(str(path), at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino)


def hashed(state: FileState) -> FileState:
    """The state with the hash of all of the file's content.

    Raises:
        OSError: it cannot be read.
    """
    with Path(state.path).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return msgspec.structs.replace(state, sha256=digest)


def states_of(files: Iterable[Path], *, hash_up_to: int = 0) -> tuple[FileState, ...]:
    """The states of files; hashed if they have at most ``hash_up_to`` bytes together.

    Raises:
        InvalidModel: a file is missing, cannot be read, or changed meanwhile.
    """
    try:
        states = [state_of(path) for path in files]
        if sum(state.size for state in states) <= hash_up_to:
            states = [hashed(state) for state in states]
            for state in states:
                if not state.same_metadata(state_of(Path(state.path))):
                    raise changing(Path(state.path))
    except OSError as problem:
        name = problem.filename or "A file of the model"
        raise InvalidModel(f"{name} cannot be read: {problem.strerror}.") from None
    return tuple(states)


def differing(
    before: Sequence[FileState], now: Sequence[FileState], *, exactly: bool = False
) -> tuple[str, ...]:
    """The paths of files whose content differs, that are new, or that are gone.

    Args:
        before: what they were.
        now: what they are.
        exactly: compare the metadata of files that have no hash by a time that cannot be set back.
    """
    old = {state.path: state for state in before}
    new = {state.path: state for state in now}

    def same(path: str) -> bool:
        if path not in old or path not in new:
            return False
        hashes = old[path].sha256 and new[path].sha256
        if exactly and not hashes:
            return old[path].same_metadata(new[path])
        return old[path].same_content(new[path])

    return tuple(path for path in dict.fromkeys((*old, *new)) if not same(path))


def wait_until_written(
    files: Sequence[Path], *, settled: float = 0.0, patience: float = PATIENCE_SECONDS
) -> None:
    """Wait while other processes write to the files; for use in a thread.

    Args:
        files: the files.
        settled: seconds for which all of them have to be unchanged.
        patience: seconds to wait.

    Raises:
        InvalidModel: one is still being written after ``patience`` seconds.
    """
    until = time.monotonic() + patience
    while True:
        busy = next((file for file in files if _is_busy(file, settled)), None)
        if busy is None:
            return
        if time.monotonic() >= until:
            raise changing(busy)
        time.sleep(_POLL_SECONDS)


def _is_busy(path: Path, settled: float) -> bool:
    try:
        seconds = time.time() - path.stat().st_ctime
    except OSError:  # reported by what reads it
        return False
    # A negative age means that the clock was set back.
    if not 0 <= seconds < QUIET_SECONDS:
        return False
    return seconds < settled or is_written(path)


def changing(path: Path) -> InvalidModel:
    """The error that reports a file that is being written."""
    return InvalidModel(
        f"{path} is being written by another process.",
        hint="Try again once it is complete.",
        path=str(path),
    )
