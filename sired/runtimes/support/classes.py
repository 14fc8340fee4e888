"""Imports and constructs a model's class."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from sire.errors import InvalidModel, LoadFailed, SireError

PICKLED = "pickle:"


def find_class(name: str, python_path: Sequence[str] = ()) -> type:
    """Import the class ``module:Class``, ``/abs/file.py:Class`` or ``pickle:/abs/file.pkl``.

    Args:
        name: reference to the class.
        python_path: directories to search for the module first.

    Raises:
        InvalidModel: the module or class does not exist.
        LoadFailed: importing the module failed.
    """
    add_to_path(python_path)
    if name.startswith(PICKLED):
        return _unpickle(Path(name.removeprefix(PICKLED)))
    module_name, _, attribute = name.rpartition(":")
    module = import_module(module_name)
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        own = [
            n
            for n, c in inspect.getmembers(module, inspect.isclass)
            if c.__module__ == module.__name__
        ]
        raise InvalidModel(
            f"The class {attribute!r} is not defined in {module_name}.",
            hint=f"It defines: {', '.join(own)}." if own else "It defines no classes.",
        )
    return found


def add_to_path(directories: Sequence[str]) -> None:
    """Import modules from these directories first."""
    sys.path[:0] = [path for path in directories if path not in sys.path]


def construct(kind: type, arguments: dict[str, Any]) -> Any:
    """An object of the model's class; raises as ``check_constructor``."""
    check_constructor(kind, arguments)
    return kind(**arguments)


def check_constructor(kind: type, arguments: dict[str, Any]) -> None:
    """Ensure that the constructor of the model's class takes these arguments.

    Raises:
        InvalidModel: it does not.
    """
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as problem:
        raise InvalidModel(
            f"{kind.__name__}{inspect.signature(kind)} cannot be constructed with "
            f"{', '.join(arguments) or 'no arguments'}: {problem}.",
            hint="Specify its arguments when registering: --arg name=value",
        ) from None


def import_module(name: str) -> ModuleType:
    """Import a module by its name, or by its file if the name ends in ``.py``.

    Raises:
        InvalidModel: the module or file does not exist.
        LoadFailed: importing it failed.
    """
    try:
        return _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except SireError:
        raise
    except ModuleNotFoundError as problem:
        raise InvalidModel(
            f"Importing {name} failed: {problem}.",
            hint="Register it from the module's directory, or specify the file: file.py:Class.",
        ) from problem
    except Exception as problem:
        reported = f"{type(problem).__name__}: {problem}"
        raise LoadFailed(f"Importing {name} failed: {reported}") from problem


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidModel(f"The file {path} of the model's class does not exist.")
    # Modules beside the file can be imported, as when the file is run.
    sys.path.insert(0, str(path.parent))
    # A file with the name of an imported module must not replace that module.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_model_class"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _unpickle(path: Path) -> type:
    """Load a class that a Python client registered by value."""
    if not path.is_file():
        raise InvalidModel(
            f"The file {path} of the pickled class does not exist.",
            hint="Register the model again.",
        )
    found = cloudpickle.loads(path.read_bytes())
    if not isinstance(found, type):
        raise InvalidModel(f"{path} does not contain a class.")
    return found
