"""The directory of this process's temporary files, which the next daemon removes if need be.

The standard library's fork server puts its socket into a directory below TMPDIR, and removes it
when the process exits. A daemon that is killed leaves it behind, and nothing tells later whose it
was. So the daemon makes the directory itself, and first writes down where.
"""

import contextlib
import multiprocessing
import os
import secrets
import shutil
import tempfile
from pathlib import Path

PREFIX = "sired-"


def take_directory(record: Path) -> None:
    """Remove what a killed daemon left, and make a directory for this one.

    Without a writable TMPDIR nothing is made: multiprocessing then reports it where it is needed.

    Args:
        record: a file in a directory that only this user can write to.
    """
    remove_directory(record)
    directory = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        record.write_text(str(directory), "utf-8")
        directory.mkdir(mode=0o700)
        multiprocessing.current_process()._config["tempdir"] = str(directory)  # type: ignore[attr-defined]  # noqa: SLF001 (there is no other way)


def remove_directory(record: Path) -> None:
    """Remove the directory that was written down, and the record."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        directory = Path(record.read_text("utf-8"))
        # A damaged record must not make us remove anything else.
        if directory.name.startswith(PREFIX) and directory.lstat().st_uid == os.getuid():
            shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        record.unlink(missing_ok=True)
