"""Recognises the files that PyTorch writes. Nothing is unpickled."""

import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO

from sire.errors import InvalidModel, error_text

# torch.save's format before zip files begins with this number, pickled.
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# The magic number, the protocol version and the machine's properties precede the object.
_LEGACY_PICKLES_BEFORE = 3
# In older exported programs, which had no folder of their own.
_OLD_EXPORTED = "serialized_exported_program.json"
# The pickle of weights is a table of contents, about 200 bytes per tensor.
_LARGEST_TABLE = 16 << 20
# Code in programs is compressed; it may unpack to this much more than the file's size.
_MOST_UNPACKED = 256 << 20
# The globals that pickles of a state_dict, and of plain values beside it, refer to. This determines
# the format that is reported; torch decides what may be unpickled when the file is loaded.
_PLAIN = re.compile(
    r"torch\.\w+|torch\.(_utils|storage)\.\w+|torch\.nn\.parameter\.Parameter|"
    r"collections\.(OrderedDict|defaultdict|Counter)|numpy\..+|_codecs\.encode|"
    r"(builtins|__builtin__)\.(set|dict|list|tuple|complex|bytearray)"
)


def zipped_kind(path: Path) -> tuple[str, int] | None:
    """The format, and the bytes of the weights, of a zip file; None if PyTorch did not write it.

    Raises:
        InvalidModel: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive, path)
            return _kind(archive)
    except InvalidModel:
        raise
    except Exception as problem:
        # Each decompressor raises exceptions of its own.
        raise InvalidModel(
            f"{path} is a damaged or truncated zip file: {error_text(problem)}."
        ) from None


def _check_size(archive: zipfile.ZipFile, path: Path) -> None:
    """Reject files that unpack to far more than their size: PyTorch does not compress weights."""
    unpacked = sum(entry.file_size for entry in archive.infolist())
    size = path.stat().st_size
    if unpacked > size + _MOST_UNPACKED:
        raise InvalidModel(
            f"{path} unpacks from {size} bytes to {unpacked}; PyTorch does not compress weights.",
            hint="Save it again with torch.save.",
        )


def _kind(archive: zipfile.ZipFile) -> tuple[str, int] | None:
    # All entries are in one folder, whose name is arbitrary.
    entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    size = sum(entry.file_size for entry in entries.values())
    weights = sum(e.file_size for name, e in entries.items() if name.startswith("data/"))
    if any(name.startswith("data/aotinductor/") for name in entries):
        return "aoti", size
    if "archive_format" in entries or _OLD_EXPORTED in archive.namelist():
        return "exported", weights or size
    if "constants.pkl" in entries and any(name.startswith("code/") for name in entries):
        return "torchscript", weights
    if "data.pkl" not in entries:
        return None
    if entries["data.pkl"].file_size > _LARGEST_TABLE:
        return "state_dict", weights
    with archive.open(entries["data.pkl"]) as table:
        return "state_dict" if _is_plain(table) else "pickle", weights


def legacy_kind(path: Path) -> tuple[str, int]:
    """The format, and the size, of a file in the format that ``torch.save`` used before zip files.

    Raises:
        InvalidModel: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            # In memory, a wrong length in the file cannot cause a large allocation.
            table = io.BytesIO(file.read(_LARGEST_TABLE))
        for _ in range(_LEGACY_PICKLES_BEFORE):
            _is_plain(table)
        plain = _is_plain(table)
    except ValueError as problem:
        raise InvalidModel(f"{path} is damaged or truncated: {error_text(problem)}.") from None
    return "state_dict" if plain else "pickle", path.stat().st_size


def _is_plain(file: IO[bytes]) -> bool:
    """Parse one pickle; returns whether it refers only to the globals of weights."""
    plain = True
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in {"GLOBAL", "INST"}:
            plain &= _PLAIN.fullmatch(str(argument).replace(" ", ".")) is not None
        # STACK_GLOBAL is of protocol 4, which torch does not load as weights.
        plain &= opcode.name != "STACK_GLOBAL"
    return plain
