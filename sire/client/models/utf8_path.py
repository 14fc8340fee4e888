"""Paths that are not UTF-8, as old shares have them; messages and the registry cannot hold them."""

import contextlib
import hashlib
import os
from pathlib import Path

from sire.errors import SireError
from sire.paths import find_paths, private_directory


def in_utf8(path: str) -> str:
    """A path in UTF-8 that leads to the same file or directory.

    If the path is not UTF-8, it leads through a symbolic link below the user's data directory: to
    the directory if the file's own name is UTF-8, so that files beside it are found, else to the
    file.

    Raises:
        SireError: the link cannot be made.
    """
    if _is_utf8(path):
        return path
    whole = Path(path)
    target = whole.parent if _is_utf8(whole.name) else whole
    digest = hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    link = find_paths().data / "links" / digest / _escaped(target.name)
    try:
        private_directory(link.parent.parent)
        private_directory(link.parent)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(target)
    except OSError as problem:
        raise SireError(f"Cannot create {link}: {problem.strerror}.") from None
    return str(link if target == whole else link / whole.name)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace").replace("\\x", "%") or "root"
