"""A private daemon, with the lifetime of its owner."""

import os
import shutil
import signal
import subprocess
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from sire.client.autostart import start_daemon
from sire.paths import Paths, find_paths

_EXIT_SECONDS = 15.0


class PrivateDaemon:
    """A daemon that stops with its owner: by ``end``, at exit, or when the owner is killed."""

    def __init__(self, home: str | Path | None) -> None:
        # A Unix socket path is at most 107 bytes; TMPDIR is rarely too long.
        root = Path(home) if home else Path(tempfile.mkdtemp(prefix="sire-"))
        self.paths: Paths = find_paths({"SIRE_HOME": str(root)})
        temporary = None if home else root
        try:
            process = start_daemon(self.paths, arguments=["--die-with-parent"])
        except BaseException:
            _remove(temporary)
            raise
        self.end = weakref.finalize(self, _end_daemon, process, temporary, os.getpid())


def _end_daemon(process: "subprocess.Popen[bytes]", temporary: Path | None, owner: int) -> None:
    if os.getpid() != owner:
        return  # A forked child of the owner exits; the daemon is not its own.
    process.terminate()
    try:
        process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _remove(temporary)


def _remove(directory: Path | None) -> None:
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
