"""The parameters that a TorchScript archive states, read as text: nothing is unpickled or run.

The archive's code is text, a function per method. The root's class is the first global that
``data.pkl`` refers to.
"""

import pickletools
import re
import zipfile
from pathlib import Path

_CLASS = re.compile(r"__torch__(?:\.\w+)* \w+", re.ASCII)
# The pickle begins with the class; a file of code of a model with 10,000 layers takes 1 MB.
_BEGINNING, _LARGEST_CODE = 1 << 16, 4 << 20
# Of what is repeated from the file.
_LONGEST = 300
_PARAMETERS = re.compile(
    r"[ \t]+def forward\(self: [\w.]+,?([^()]*(?:\([^()]*\)[^()]*)*)\) ->", re.ASCII
)
_PLAIN = re.compile(r"[\w\[\], .:=\-+()\"']*", re.ASCII)


def torchscript_parameters(path: Path) -> str:
    """The parameters of the function ``forward``, like ``x: Tensor, sr: int=16000``.

    Args:
        path: of a file that is known to be a TorchScript archive.

    Returns:
        "" if the file states them in another form.

    Raises:
        OSError: the file cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        try:
            return _parameters(archive)
        except OSError:
            raise
        except Exception:
            # Each decompressor raises exceptions of its own, and so do damaged pickles.
            return ""


def _parameters(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    root = next(
        name.removesuffix("constants.pkl") for name in names if name.endswith("constants.pkl")
    )
    with archive.open(f"{root}data.pkl") as file:
        beginning = file.read(_BEGINNING)
    module, _, name = _root_class(beginning).rpartition(" ")
    code = f"{root}code/{module.replace('.', '/')}.py"
    if not module or archive.getinfo(code).file_size > _LARGEST_CODE:
        return ""
    text = archive.read(code).decode()
    begin = text.find(f"\nclass {name}(Module):") if not text.startswith(f"class {name}(") else 0
    following = text.find("\nclass ", begin + 1)
    found = _PARAMETERS.search(text, begin, following if following > 0 else len(text))
    if begin < 0 or found is None:
        return ""
    words = " ".join(found[1].split())
    return words if len(words) <= _LONGEST and _PLAIN.fullmatch(words) else ""


def _root_class(beginning: bytes) -> str:
    """The first class of the archive's own that a pickle refers to, as "module name"."""
    for opcode, argument, _ in pickletools.genops(beginning):
        if opcode.name == "GLOBAL":
            return str(argument) if _CLASS.fullmatch(str(argument)) else ""
    return ""
