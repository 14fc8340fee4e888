"""Reads JSON files that come with models, with a limit on their size."""

from pathlib import Path
from typing import Any

import msgspec

from sire.errors import InvalidModel, error_text

# The index of a model's weights names every tensor.
LARGEST = 64 << 20


def read_json(path: Path, kind: type = dict) -> Any:
    """The content of a JSON file; an empty ``kind`` if it is missing or of another type.

    Raises:
        InvalidModel: it is not JSON, or exceeds the maximum size.
    """
    if not _is_file(path):
        return kind()
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidModel(f"{path} has {path.stat().st_size} bytes; the maximum is {LARGEST}.")
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidModel(f"{path} cannot be read: {error_text(problem)}.") from None
    return found if isinstance(found, kind) else kind()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False
