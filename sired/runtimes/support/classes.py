"""From the name of a model's class to the class."""

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
        name: where the class is.
        python_path: directories to look for the module in, before all others.

    Raises:
        InvalidModel: there is no such module or class.
        LoadFailed: importing the module failed.
    """
    sys.path[:0] = [path for path in python_path if path not in sys.path]
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
            f"There is no class {attribute!r} in {module_name}.",
            hint=f"There are: {', '.join(own)}." if own else "It defines no classes.",
        )
    return found


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
        InvalidModel: there is no such module or file.
        LoadFailed: importing it failed.
    """
    try:
        return _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except SireError:
        raise
    except ModuleNotFoundError as problem:
        raise InvalidModel(
            f"Importing {name} failed: {problem}.",
            hint="Register it from the directory it lies in, or name the file: file.py:Class.",
        ) from problem
    except Exception as problem:
        said = f"{type(problem).__name__}: {problem}"
        raise LoadFailed(f"Importing {name} failed: {said}") from problem


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidModel(f"There is no file {path} to find the model's class in.")
    # The file's neighbours are importable, as they are when it is run.
    sys.path.insert(0, str(path.parent))
    # A file called as a module that is in use must not take its place.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_model_class"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _unpickle(path: Path) -> type:
    """Load a class that a Python caller registered by value."""
    if not path.is_file():
        raise InvalidModel(f"The class kept in {path} is gone.", hint="Register the model again.")
    found = cloudpickle.loads(path.read_bytes())
    if not isinstance(found, type):
        raise InvalidModel(f"{path} does not hold a class.")
    return found
