"""Looks into the source of a model's class without importing it."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path

from sire.spec import ModelSpec

_PICKLED = "pickle:"


def mentions(spec: ModelSpec, package: str) -> bool:
    """Whether the source of a model's class names a package; true if it cannot be read."""
    source = _source(spec)
    with suppress(OSError):
        return source is None or package.encode() in source.read_bytes()
    return True


def _source(spec: ModelSpec) -> Path | None:
    """The file that the class of a model is in; None if it cannot be told."""
    if spec.model_class is None:
        return Path(spec.path)
    if spec.model_class.startswith(_PICKLED):
        return Path(spec.model_class.removeprefix(_PICKLED))
    place = spec.model_class.rpartition(":")[0]
    return Path(place) if place.endswith(".py") else _module_file(place, spec.python_path)


def _module_file(module: str, path: Iterable[str]) -> Path | None:
    """The file of a module, found without importing the packages that it is in."""
    places = [*path, *sys.path]
    with suppress(ImportError):
        for name in module.split("."):
            found = PathFinder.find_spec(name, places)
            if found is None:
                return None
            places = list(found.submodule_search_locations or ())
        return Path(found.origin) if found is not None and found.origin else None
    return None
