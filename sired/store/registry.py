"""The registered models: one TOML file each, which people may edit."""

import os
from collections.abc import Callable, Collection
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from sire.atomic import write_atomically
from sire.errors import InvalidModel, ModelExists, ModelNotFound, SireError, shown
from sire.nearest import nearest
from sire.options.table import WITH_DEFAULTS
from sire.paths import file_stem, model_of_stem
from sire.spec import LONGEST_NAME, ModelSpec, check_name
from sired.store.model_file import from_toml, to_toml

_DIRECTORY_MODE = 0o700

Fill = Callable[[ModelSpec, Collection[str]], ModelSpec]


class Registry:
    """The models by name.

    Args:
        directory: where their files are.
        fill: completes a model with defaults for the options that it was registered without, but
            for those named.

    Attributes:
        models: every model whose file can be read, completed.
        damaged: the errors of the others, by file name.
    """

    def __init__(self, directory: Path, fill: Fill = lambda spec, _: spec) -> None:
        self._directory = directory
        self._registered: dict[str, tuple[ModelSpec, Collection[str]]] = {}
        self.fill = fill
        self.models: dict[str, ModelSpec] = {}
        self.damaged: dict[str, str] = {}

    def load(self) -> None:
        """Read every file; the errors of damaged ones are recorded in ``damaged``."""
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self.models.clear()
        self._registered.clear()
        self.damaged.clear()
        for file in sorted(self._directory.glob("*.toml"), key=attrgetter("name")):
            try:
                spec, explicit = _read(file)
            except SireError as problem:
                self.damaged[file.name] = str(problem)
            else:
                self._hold(spec, explicit)

    def get(self, name: str) -> ModelSpec:
        """The model of that name.

        Raises:
            ModelNotFound: no model has this name; the hint names the nearest one.
        """
        if name in self.models:
            return self.models[name]
        if why := self.damaged.get(f"{file_stem(name)}.toml"):
            file = self._directory / f"{file_stem(name)}.toml"
            raise ModelNotFound(f"The registry file {file} is damaged: {why}", model=name)
        near = nearest(name[:LONGEST_NAME], self.models)
        hint = f"Did you mean {near}? See: sire ls" if near else "See: sire ls"
        raise ModelNotFound(
            f"No model {shown(name)} is registered.", hint=hint, model=name[:LONGEST_NAME]
        )

    def defaulted(self, name: str) -> tuple[str, ...]:
        """The names of the options that a model was registered without and that defaults give.

        Raises:
            ModelNotFound: no model has this name.
        """
        filled = self.get(name)
        registered, _ = self._registered[name]
        return tuple(
            option.name
            for option in WITH_DEFAULTS
            if option.value_in(filled) != option.value_in(registered)
        )

    def add(self, spec: ModelSpec, explicit: Collection[str] = (), *, replace: bool) -> ModelSpec:
        """Store a model, on disk first; returns it completed.

        Args:
            spec: the model as registered.
            explicit: options registered with their built-in default, which has to stay.
            replace: whether it replaces a model of the same name.

        Raises:
            ModelExists: the name is taken, and ``replace`` is false.
            InvalidModel: it has an argument that TOML cannot represent.
            SireError: the file cannot be written.
        """
        file = self.file(spec.name)
        if not replace:
            self.check_free(spec.name)
        try:
            write_atomically(file, to_toml(spec, explicit))
        except OSError as problem:
            raise SireError(f"Cannot write {file}: {os.strerror(problem.errno or 0)}.") from None
        self.damaged.pop(file.name, None)
        return self._hold(spec, explicit)

    def check_free(self, name: str) -> None:
        """Ensure that a name is not taken.

        Raises:
            ModelExists: it is.
        """
        if name in self.models or self.file(name).exists():
            raise ModelExists(
                f"A model {name!r} is already registered.",
                hint="Register it under another name, or replace it: --replace",
                model=name,
            )

    def update(self, name: str, **values: Any) -> ModelSpec:
        """Change fields of a model as registered; returns it completed.

        Raises:
            ModelNotFound: no model has this name.
            SireError: the file cannot be written.
        """
        self.get(name)
        spec, explicit = self._registered[name]
        changed = {option.name for option in WITH_DEFAULTS if option.field in values}
        spec = msgspec.structs.replace(spec, **values)
        return self.add(spec, {*explicit, *changed}, replace=True)

    def _hold(self, spec: ModelSpec, explicit: Collection[str]) -> ModelSpec:
        self._registered[spec.name] = spec, explicit
        self.models[spec.name] = self.fill(spec, explicit)
        return self.models[spec.name]

    def remove(self, name: str) -> None:
        """Delete a model, also one whose file is damaged.

        Raises:
            ModelNotFound: no model has this name.
            SireError: the file cannot be deleted.
        """
        file = self.file(check_name(name))
        if file.name not in self.damaged:
            self.get(name)
        try:
            file.unlink(missing_ok=True)
        except OSError as problem:
            raise SireError(f"Cannot remove {file}: {problem.strerror}.") from None
        self.models.pop(name, None)
        self._registered.pop(name, None)
        self.damaged.pop(file.name, None)

    def file(self, name: str) -> Path:
        """The file of a model, whether it exists or not.

        Raises:
            InvalidModel: it is not the name of a model.
        """
        return self._directory / f"{file_stem(check_name(name))}.toml"


def _read(file: Path) -> tuple[ModelSpec, Collection[str]]:
    try:
        return from_toml(check_name(model_of_stem(file.stem)), file.read_text("utf-8"))
    except UnicodeDecodeError:
        raise InvalidModel("it is not UTF-8 text.") from None
    except OSError as problem:
        raise InvalidModel(f"it cannot be read: {problem.strerror}.") from None
