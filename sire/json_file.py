"""Reads JSON files that come with models, with a limit on their size."""

from pathlib import Path
from typing import Any

import msgspec

from sire.errors import InvalidModel, error_text

# The index of a model's weights names every tensor.
LARGEST = 64 << 20
# A million tensors. Each value takes up to a hundred bytes of memory, however short its text is.
MOST_VALUES = 2_000_000
_BEFORE_VALUES = (b",", b"[", b"{")


def read_json(path: Path, kind: type = dict) -> Any:
    """The content of a JSON file; an empty ``kind`` if it is missing or of another type.

    Raises:
        InvalidModel: it is not JSON, or exceeds the maximum size or number of values.
    """
    if not _is_file(path):
        return kind()
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidModel(f"{path} has {path.stat().st_size} bytes; the maximum is {LARGEST}.")
        content = path.read_bytes()
        values = sum(map(content.count, _BEFORE_VALUES))  # at least as many as there are
        if values > MOST_VALUES:
            raise InvalidModel(f"{path} has up to {values} values; the maximum is {MOST_VALUES}.")
        found = msgspec.json.decode(content)
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidModel(f"{path} cannot be read: {error_text(problem)}.") from None
    return found if isinstance(found, kind) else kind()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False
