"""The registered models: one TOML file each, which people may edit."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from sired.errors import InvalidModel, ModelExists, ModelNotFound, SireError
from sired.spec import ModelSpec, check_name
from sired.store.atomic import write_atomically
from sired.units import FOREVER, parse_bytes, parse_duration

_DIRECTORY_MODE = 0o700


class Registry:
    """The models by name, in memory as on disk.

    Attributes:
        models: every model whose file can be read.
        damaged: why the others cannot, by file name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.models: dict[str, ModelSpec] = {}
        self.damaged: dict[str, str] = {}

    def load(self) -> None:
        """Read every file; a damaged one is noted and stops nothing."""
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self.models.clear()
        self.damaged.clear()
        for file in sorted(self._directory.glob("*.toml")):
            try:
                spec = _read(file)
            except (OSError, ValueError, SireError) as problem:
                self.damaged[file.name] = str(problem)
            else:
                self.models[spec.name] = spec

    def get(self, name: str) -> ModelSpec:
        """The model of that name.

        Raises:
            ModelNotFound: there is none; the hint names the nearest.
        """
        if name in self.models:
            return self.models[name]
        if why := self.damaged.get(f"{name}.toml"):
            file = self._directory / f"{name}.toml"
            raise ModelNotFound(f"The registry file {file} is damaged: {why}", model=name)
        near = difflib.get_close_matches(name, self.models, n=1)
        hint = f"Did you mean {near[0]}? See: sire ls" if near else "See: sire ls"
        raise ModelNotFound(f"No model {name!r} is registered.", hint=hint, model=name)

    def add(self, spec: ModelSpec, *, replace: bool) -> None:
        """Keep a model, on disk first.

        Raises:
            ModelExists: one of that name is there, and ``replace`` is false.
            InvalidModel: it has an argument that a TOML file cannot hold.
            SireError: the disk does not take it.
        """
        file = self._file(spec.name)
        if not replace and (spec.name in self.models or file.exists()):
            raise ModelExists(
                f"A model {spec.name!r} is registered already.",
                hint="Register it under another name, or replace it: --replace",
                model=spec.name,
            )
        content = msgspec.to_builtins(spec)
        del content["name"]
        try:
            text = tomli_w.dumps(_without_none(content))
        except TypeError as problem:
            raise InvalidModel(f"An argument cannot be written to TOML: {problem}.") from None
        try:
            write_atomically(file, text.encode())
        except OSError as problem:
            raise SireError(f"Cannot write {file}: {os.strerror(problem.errno or 0)}.") from None
        self.models[spec.name] = spec
        self.damaged.pop(file.name, None)

    def remove(self, name: str) -> None:
        """Forget a model, a damaged one too.

        Raises:
            ModelNotFound: there is none of that name.
        """
        file = self._file(check_name(name))
        if file.name not in self.damaged:
            self.get(name)
        file.unlink(missing_ok=True)
        self.models.pop(name, None)
        self.damaged.pop(file.name, None)

    def _file(self, name: str) -> Path:
        return self._directory / f"{check_name(name)}.toml"


def _read(file: Path) -> ModelSpec:
    content = tomllib.loads(file.read_text("utf-8"))
    known = {field.name for field in msgspec.structs.fields(ModelSpec)} - {"name"}
    if unknown := content.keys() - known:
        raise InvalidModel(f"it has a key {min(unknown)!r} that no model has.")
    content["name"] = check_name(file.stem)
    _read_units(content)
    spec = msgspec.convert(content, ModelSpec)
    if not spec.path.startswith("/"):
        raise InvalidModel(f"its path {spec.path!r} is not absolute.")
    return spec


def _read_units(content: dict[str, Any]) -> None:
    """People write sizes and durations with their units."""
    if isinstance(content.get("max_memory"), str):
        content["max_memory"] = parse_bytes(content["max_memory"])
    if isinstance(keep := content.get("keep_alive"), str):
        seconds = parse_duration(keep)
        content["keep_alive"] = "forever" if seconds == FOREVER else seconds


def _without_none(content: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(content, dict):
        return {key: _without_none(value) for key, value in content.items() if value is not None}
    return content
