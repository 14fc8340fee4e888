"""Fingerprints of files, which identify a model without reading all of it."""

import hashlib
from pathlib import Path

_SAMPLE = 1 << 20
_SAMPLES_BETWEEN = 8


def is_file(path: Path) -> bool:
    """Whether the path is a file; False for a name that is too long."""
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False


def fingerprint(path: Path) -> str:
    """A digest of a file's size and of samples of its content, as 32 hexadecimal digits.

    Reading all of a 15 GB file would take half a minute, and registration has to be fast. The ends
    contain headers and indices, and training changes weights everywhere.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    step = max(_SAMPLE, size // (_SAMPLES_BETWEEN + 1))
    offsets = {0, max(0, size - _SAMPLE), *range(0, size, step)}
    with path.open("rb") as file:
        for offset in sorted(offsets):
            file.seek(offset)
            digest.update(file.read(_SAMPLE if offset in {0, size - _SAMPLE} else _SAMPLE // 16))
    return digest.hexdigest()[:32]
