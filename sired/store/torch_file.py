"""What kind of file ``torch.save`` and its relatives wrote. Nothing is unpickled."""

import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO

from sire.errors import InvalidModel, error_text

# torch.save's format before zip files opens with this number, pickled.
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# The magic number, the protocol's version and facts of the machine come before the object.
_LEGACY_PICKLES_BEFORE = 3
# What programs were written to before they had a folder of their own.
_OLD_EXPORTED = "serialized_exported_program.json"
# The pickle of weights is a table of contents, about 200 bytes a tensor.
_LARGEST_TABLE = 16 << 20
# What the code in programs, which is packed, may take beyond the size of the file.
_MOST_UNPACKED = 256 << 20
# What a state_dict and the plain values that training scripts keep beside it are made of. This
# decides what a file is called; what may be unpickled is decided by torch when it is loaded.
_PLAIN = re.compile(
    r"torch\.\w+|torch\.(_utils|storage)\.\w+|torch\.nn\.parameter\.Parameter|"
    r"collections\.(OrderedDict|defaultdict|Counter)|numpy\..+|_codecs\.encode|"
    r"(builtins|__builtin__)\.(set|dict|list|tuple|complex|bytearray)"
)


def zipped_kind(path: Path) -> tuple[str, int] | None:
    """The format and the bytes of the weights of a zip file; None if PyTorch did not write it.

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
        # What unpacks zip files has as many ways to fail as there are kinds of packing.
        raise InvalidModel(
            f"{path} is a damaged zip file, perhaps cut short: {error_text(problem)}."
        ) from None


def _check_size(archive: zipfile.ZipFile, path: Path) -> None:
    """PyTorch stores weights as they are: what unpacks to far more than the file is none of it."""
    unpacked = sum(entry.file_size for entry in archive.infolist())
    size = path.stat().st_size
    if unpacked > size + _MOST_UNPACKED:
        raise InvalidModel(
            f"{path} unpacks from {size} bytes to {unpacked}; PyTorch packs no weights.",
            hint="Save it anew with torch.save.",
        )


def _kind(archive: zipfile.ZipFile) -> tuple[str, int] | None:
    # Everything lies in one folder, whose name is of no matter.
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
    """The format and the bytes of a file that ``torch.save`` wrote before it wrote zip files.

    Raises:
        InvalidModel: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            # In memory, a length that is a lie cannot have room made for it.
            table = io.BytesIO(file.read(_LARGEST_TABLE))
        for _ in range(_LEGACY_PICKLES_BEFORE):
            _is_plain(table)
        plain = _is_plain(table)
    except ValueError as problem:
        raise InvalidModel(
            f"{path} is damaged, perhaps cut short: {error_text(problem)}."
        ) from None
    return "state_dict" if plain else "pickle", path.stat().st_size


def _is_plain(file: IO[bytes]) -> bool:
    """Walk over one pickle: does it refer to nothing but what weights are made of?"""
    plain = True
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in {"GLOBAL", "INST"}:
            plain &= _PLAIN.fullmatch(str(argument).replace(" ", ".")) is not None
        # Names on the stack come with protocol 4, which torch does not load as weights.
        plain &= opcode.name != "STACK_GLOBAL"
    return plain
