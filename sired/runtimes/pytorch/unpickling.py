"""Reads what ``torch.save`` wrote, without running its code unless it is trusted."""

import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from sire.errors import InvalidModel, SireError, UntrustedModel
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.pytorch.model import TorchLoad
from sired.runtimes.support.classes import add_to_path, find_class
from sired.runtimes.support.library_errors import reason_of

# Of the standard library only these are left out of a checkpoint silently; what else a file could
# refer to there serves to run code.
_HARMLESS_MODULES = {"argparse", "pathlib", "datetime", "enum", "decimal", "fractions", "uuid"}
_HARMLESS = re.compile(
    r"collections\.\w+|builtins\.(dict|list|tuple|frozenset|slice|range|object)|"
    r"numpy\.(dtype|ndarray|dtypes\.\w+|_?core\.multiarray\.(scalar|_reconstruct))|"
    r"torch\.(optim|amp|cuda\.amp|torch_version|nn\.modules\.loss)\.[\w.]+"
)
_GLOBAL = re.compile(r"(?:GLOBAL|call reduce for unrecognized function) <?(?:function )?([^\s>]+)")
_INSTRUCTIONS = {one.code for one in pickletools.opcodes}
_OPERAND = re.compile(r"Unsupported operand (\d+)")
# Parts of PyTorch's messages, and what the file contains then.
_NEEDS_TRUST = {
    "legacy .tar format": "is in PyTorch's tar format of 2016, which runs code",
    "TorchScript archives": "is a TorchScript archive, which runs code",
    "persistent": "refers to objects that are not tensors, which may run code",
    "must be imported to load": "contains tensors of a class of their own, which run code",
    "Unsupported operand": "uses instructions of pickles that may run code",
}
_TRUST_HINT = (
    "If you trust its source: sire register --replace --trust. Better: save the state_dict as "
    "safetensors."
)
# How the unpickler says that an object is filled like a dict or a list.
_CONTAINER = re.compile(r"(dict|list).* but got <class '[\w.]*\.(Left\d+)'>", re.DOTALL)
_MOST_LEFT_OUT = 200


@dataclass(slots=True)
class Unpickled:
    """The content of a file.

    Attributes:
        content: without the objects that were left out, whose places are empty.
        left_out: the classes of these objects.
    """

    content: Any
    left_out: list[str] = field(default_factory=list)


def unpickle(job: TorchLoad, location: str = "cpu") -> Unpickled:
    """Read a file that ``torch.save`` wrote, onto a device.

    Without trust only tensors and plain containers are built. Objects of other classes, such as
    the settings of a training script, are left out; none of their code runs.

    Raises:
        UntrustedModel: it refers to functions, or is an object of a class, and is not trusted.
        InvalidModel: it cannot be read.
    """
    try:
        return Unpickled(_trusted(job, location)) if job.trusted else _plain(job.path, location)
    except SireError:
        raise
    except Exception as problem:
        if is_out_of_memory(problem):
            raise
        raise unreadable(job.path, problem) from None


def unpickle_plain(path: str) -> Any:
    """The content of a file with nothing but tensors and plain containers.

    Raises:
        Exception: it has something else, or cannot be read: see ``unreadable``.
    """
    return _plain(path, "cpu").content


def unreadable(path: str, problem: BaseException, hint: str = _TRUST_HINT) -> SireError:
    """The error of a file that PyTorch's unpickler does not read, in our words.

    Args:
        path: of the file.
        problem: the exception.
        hint: what to do about a file that needs trust.
    """
    text = str(problem)
    damaged = _OPERAND.search(text)
    if damaged is not None and chr(int(damaged[1])) not in _INSTRUCTIONS:
        return InvalidModel(f"{path} cannot be read: its pickle is damaged.")
    if not refuses(problem):
        return InvalidModel(f"{path} cannot be read: {reason_of(problem)}")
    if (found := _GLOBAL.search(text)) is not None:
        return untrusted(path, f"would run {found[1]}", hint)
    kinds = (what for words, what in _NEEDS_TRUST.items() if words in text)
    return untrusted(path, next(kinds, "contains more than weights"), hint)


def refuses(problem: BaseException) -> bool:
    """Whether an exception is PyTorch's refusal to run code of a file that is not trusted."""
    return "weights only load failed" in str(problem).lower() or "weights_only=" in str(problem)


def untrusted(
    path: str, what: str = "contains more than weights", hint: str = _TRUST_HINT
) -> UntrustedModel:
    """The error of a file that needs trust, because of what it would do or contains."""
    return UntrustedModel(f"{path} {what} when loaded; none of its code has run.", hint=hint)


def cannot_import(path: str, name: str, reason: str) -> InvalidModel:
    """The error of a file that refers to a class that cannot be imported."""
    return InvalidModel(
        f"{path} refers to {name}, which cannot be imported: {reason}.",
        hint="Specify the directory of its code: --path DIRECTORY; or its class: "
        "--class file.py:Class",
    )


def _load(path: str, location: str, **how: Any) -> Any:
    # A file in the old format cannot be mapped.
    return torch.load(path, location, mmap=zipfile.is_zipfile(path), **how)


class _Left:
    """Stands for an object that is left out: takes anything, and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _placeholder(number: int, kind: str = "") -> type:
    """A class whose objects are empty; those of a container are filled and ignored."""
    made = {"dict": OrderedDict, "list": list}.get(kind)
    construct = object.__new__ if made is None else (lambda _: made())

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return construct(cls)

    return type(f"Left{number}", (_Left,), {"__new__": new})


def _plain(path: str, location: str) -> Unpickled:
    """Read a file without trust; objects of unknown classes are left out."""
    left: dict[str, type] = {}
    while True:
        try:
            allowed: list[Any] = [(kind, name) for name, kind in left.items()]
            with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # their advice is not for who reads the log
                content = _load(path, location, weights_only=True)
        except pickle.UnpicklingError as problem:
            if not _leave_out(str(problem), left):
                raise
            continue
        if isinstance(content, _Left):
            raise untrusted(path, f"would run {next(iter(left))}")
        return Unpickled(content, list(left))


def _leave_out(problem: str, left: dict[str, type]) -> bool:
    """Have the class that an error is about left out next time; False if that is not possible."""
    if (container := _CONTAINER.search(problem)) is not None:
        for name, kind in left.items():
            if kind.__name__ == container[2]:
                left[name] = _placeholder(len(left) * 1000, container[1])
                return True
        return False
    wanted = _GLOBAL.search(problem)
    if wanted is None or len(left) >= _MOST_LEFT_OUT:
        return False
    # The message names built-in ones without their module.
    name = wanted[1] if "." in wanted[1] else f"builtins.{wanted[1]}"
    if name in left or not _is_harmless(name):
        return False
    left[name] = _placeholder(len(left))
    return True


def _is_harmless(name: str) -> bool:
    package = name.partition(".")[0]
    if package in _HARMLESS_MODULES or _HARMLESS.fullmatch(name) is not None:
        return True
    # Pickles name modules of the standard library as Python 2 did.
    standard = package in sys.stdlib_module_names or package in IMPORT_MAPPING
    return not standard and package not in {"torch", "numpy"}


def _trusted(job: TorchLoad, location: str) -> Any:
    """Read a file with all of its objects; classes are imported from the model's directories."""
    add_to_path(job.python_path)
    given = None
    if job.model_class is not None:
        given = sys.modules.get(find_class(job.model_class, job.python_path).__module__)

    class Unpickler(pickle.Unpickler):
        """Finds classes that were defined in a script beside the class that is given."""

        def find_class(self, module: str, name: str) -> Any:
            beside = getattr(given, name, None)
            if module == "__main__" and beside is not None:
                return beside
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError) as problem:
                if beside is not None:
                    return beside
                raise cannot_import(job.path, f"{module}.{name}", str(problem)) from None

    names: Mapping[str, Any] = {**vars(pickle), "Unpickler": Unpickler}
    module = SimpleNamespace(**names)
    return _load(job.path, location, weights_only=False, pickle_module=module)
