"""Keeps a model independent of what happens to its files after it was loaded from them.

Frameworks map files instead of copying them: what another process writes to a file would become
part of the loaded model, and a truncated file would end the worker with SIGBUS. A read lease on
each mapped file (``sired.store.file_leases``) costs nothing. When another process is about to
change the file, the kernel has it wait until a thread of the worker has copied what is mapped.
Files without a lease are copied right after the load.

1. Before the load: a lease on each file of the model, so that it is read as it is.
2. After it: a lease on each file that is mapped, by any library. The others are given up.
3. While the model loads, a process that writes has to wait. If that takes too long, the load fails.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sire.errors import LoadFailed, SireError
from sire.units import format_bytes
from sired.store import file_leases
from sired.store.file_states import FileState, state_of
from sired.workers.child.mapped_files import FileId, Mapping, mapped_files, maps_file
from sired.workers.child.setup import exit_process

# Leases are also checked at intervals: a library may have changed the signals of a thread.
_CHECK_SECONDS = 10.0
# A copy that takes longer may not have finished before the kernel let the other process write.
_SAFE_SECONDS = 20.0
# A descriptor each; a model of more files is copied.
_MOST = 512

log = logging.getLogger("sired.worker")


@dataclass(frozen=True, slots=True)
class _Held:
    """A file with a lease.

    Attributes:
        descriptor: open for reading.
        state: when the lease was taken.
        file: as the process's mappings name it; None before the load is complete.
        by_program: another process has mapped it, which ends when the file changes.
    """

    descriptor: int
    state: FileState
    file: FileId | None = None
    by_program: bool = False


class HeldFiles:
    """The files of one model; one object per process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._unleased: list[FileState] = []
        self._watched = False

    @contextlib.contextmanager
    def loading(self, files: Sequence[Path], known: Sequence[FileState]) -> Iterator[None]:
        """Keep files as they are while the block loads them, and afterwards while they are mapped.

        Args:
            files: that the block reads.
            known: states that files must still have.

        Raises:
            LoadFailed: a file has changed, or did while it was read.
        """
        try:
            with self._lock:  # a process that changes a file waits until the load is complete
                for path in files[:_MOST]:
                    self._take(path)
                self._check(known)
                yield
                self._check([*self._unleased, *(held.state for held in self._held.values())])
                self._keep_mapped()
        except BaseException:
            self.release()
            raise

    def _take(self, path: Path) -> _Held | None:
        """Take a lease on a file, if possible."""
        with contextlib.suppress(OSError):  # the load reports what is wrong with it
            name = str(path.resolve())
            state = state_of(path)
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if file_leases.take(descriptor) is not None:
                os.close(descriptor)
                self._unleased.append(state)
                return None
            # What was written before the lease was taken counts as a change.
            self._held[name] = held = _Held(descriptor, state)
            self._watch()
            return held
        return None

    def _check(self, states: Sequence[FileState]) -> None:
        for state in states:
            with contextlib.suppress(OSError):
                now = state_of(Path(state.path))
                if now.inode == state.inode and now.same_content(state):
                    continue
            raise LoadFailed(
                f"{state.path} changed while it was being loaded.",
                hint="Try again once it is complete.",
                path=state.path,
            )

    def _keep_mapped(self) -> None:
        """Keep the leases on files that are mapped; copy those that are mapped without a lease."""
        mapped: dict[str, _Held] = {}
        for file, mappings in mapped_files().items():
            held = self._lease_for(file, mappings) if len(mapped) < _MOST else None
            if held is None:
                _detach(mappings)
            else:
                mapped[mappings[0].path] = _Held(held.descriptor, held.state, file)
        for name, held in self._held.items():
            if name not in mapped:
                _release(held)
        self._held = mapped

    def _lease_for(self, file: FileId, mappings: list[Mapping]) -> _Held | None:
        """The lease on a mapped file, which may be one that only the model's code knows."""
        path = mappings[0].path
        held = self._held.get(path) or (self._take(Path(path)) if path else None)
        if held is None:
            return None
        # Another file may have the path now. Some file systems show other numbers in mappings, so
        # what was there before the load and still is counts as well.
        with contextlib.suppress(OSError):
            if file.inode == held.state.inode or state_of(Path(path)).inode == held.state.inode:
                return held
        return None

    def hold_for(self, processes: Sequence[int], files: Sequence[Path]) -> None:
        """End this process, and with it these others, before files that they have mapped change."""
        with self._lock:
            for path in files:
                resolved = path.resolve()
                mapped = any(maps_file(pid, resolved) for pid in processes)
                if mapped and (held := self._take(path)) is not None:
                    self._held[str(resolved)] = replace(held, by_program=True)

    # While it is loaded

    def _watch(self) -> None:
        """Start the thread that gives up leases, once."""
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._give_way, name="watch-files", daemon=True).start()

    def _give_way(self) -> None:
        while True:
            signal.sigtimedwait([file_leases.SIGNAL], _CHECK_SECONDS)
            with self._lock:
                for name, held in list(self._held.items()):
                    if not file_leases.is_held(held.descriptor):
                        self._copy(held)
                        del self._held[name]

    def _copy(self, held: _Held) -> None:
        """Copy what is mapped of a file, and let the process that changes it continue."""
        path = held.state.path
        if held.by_program:
            log.error("%s is being changed, and the program has mapped it: it is ended", path)
            exit_process(1)
        mappings = mapped_files().get(held.file, []) if held.file is not None else []
        size = sum(mapping.size for mapping in mappings)
        began = time.monotonic()
        try:
            _detach(mappings)
            if time.monotonic() - began > _SAFE_SECONDS:
                self._check([held.state])
        except (SireError, OSError) as problem:
            log.error(  # noqa: TRY400
                "%s is being changed, and the model in memory depends on it: %s", path, problem
            )
            exit_process(1)
        _release(held)
        log.warning(
            "%s is being changed; the loaded model stays as it was (%s copied)",
            path,
            format_bytes(size),
        )

    def release(self) -> None:
        """Give up all leases."""
        with self._lock:
            for held in self._held.values():
                _release(held)
            self._held.clear()


def _detach(mappings: Sequence[Mapping]) -> None:
    for mapping in mappings:
        mapping.detach()


def _release(held: _Held) -> None:
    file_leases.give_up(held.descriptor)
    os.close(held.descriptor)
