"""What an AOTInductor package states about itself. It names neither its inputs nor their dtypes."""

import re
import zipfile
from pathlib import Path

import msgspec

_METADATA = "_metadata.json"
_LARGEST = 1 << 16
_WORDS = re.compile(r"[\w .+-]{1,100}", re.ASCII)


class _Metadata(msgspec.Struct):
    device: str = msgspec.field(name="AOTI_DEVICE_KEY", default="")
    instructions: str = msgspec.field(name="AOTI_CPU_ISA", default="")
    capability: str = msgspec.field(name="AOTI_COMPUTE_CAPABILITY", default="")


def compiled_for(path: Path) -> str:
    """The kind of device that a package was compiled for, like ``cpu (AVX2)`` or ``cuda (90)``.

    Args:
        path: of a file that is known to be an AOTInductor package.

    Returns:
        "" if it is not stated.

    Raises:
        OSError: the file cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        entries = (entry for entry in archive.infolist() if entry.filename.endswith(_METADATA))
        entry = next(entries, None)
        if entry is None or entry.file_size > _LARGEST:
            return ""
        try:
            found = msgspec.json.decode(archive.read(entry), type=_Metadata)
        except OSError:
            raise
        except Exception:
            # Each decompressor raises exceptions of its own.
            return ""
    detail = found.capability or found.instructions
    words = f"{found.device} {detail}".strip()
    if not found.device or not _WORDS.fullmatch(words):
        return ""
    return f"{found.device} ({detail})" if detail else found.device
