"""Checks the file of a tokenizer without the library that reads it."""

from pathlib import Path

import msgspec

from sire.errors import InvalidModel, error_text
from sire.json_file import LARGEST


class _Tokenizer(msgspec.Struct):
    """What every tokenizer.json has. Raw values are parsed, but not built."""

    model: msgspec.Raw


def check_tokenizer(file: Path) -> None:
    """Reject a tokenizer.json that is damaged, such as one that was copied in part.

    A file that does not exist is not damaged, and one of more than ``LARGEST`` bytes is not read.

    Raises:
        InvalidModel: it is not JSON, or has no model.
    """
    if not file.is_file() or file.stat().st_size > LARGEST:
        return
    try:
        msgspec.json.decode(file.read_bytes(), type=_Tokenizer)
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidModel(
            f"{file} is damaged: {error_text(problem)}.",
            hint="Check that it was copied or downloaded completely, or save the tokenizer again, "
            "by its save_pretrained.",
        ) from None
