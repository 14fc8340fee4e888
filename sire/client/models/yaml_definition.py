"""A model defined in a YAML file, by the names of its options or by those other servers use."""

import contextlib
from pathlib import Path
from typing import Any

from sire.client.models.definition import Definition, define_model
from sire.errors import InvalidModel, SireError, UntrustedModel
from sire.nearest import nearest
from sire.options.table import settable_in
from sire.spec import ModelSpec, named_code
from sire.values import TEXT, Kind
from sire.yaml_text import read_yaml

_OPTIONS = settable_in("yaml")
# Every field, with the option or parameter it sets and, where that differs, its kind of value.
_FIELDS: dict[str, tuple[str, Kind]] = {
    "model_id": ("name", TEXT),
    "name": ("name", TEXT),
    "model_path": ("path", TEXT),
    "path": ("path", TEXT),
    **{also: (option.name, kind) for option in _OPTIONS for also, kind in option.also},
    **{option.name: (option.name, option.kind) for option in _OPTIONS},
}
_ELSEWHERE = {
    "trust": "Specify --trust beside --file.",
    "python_path": "Specify the file in model_class, or --path beside --file.",
    "signature": "Specify inputs.",
}


def read_model_file(path: Path, *, name: str | None = None, trust: bool = False) -> Definition:
    """Read the definition of a model.

    Args:
        path: the YAML file; relative paths in it start in its directory.
        name: the model's name; None for the one in the file.
        trust: allow code that this file names, and the model's own file, to run.

    Raises:
        InvalidModel: a field is missing, unknown, or has an invalid value.
        UntrustedModel: the file names code, such as a class or a command, and is not trusted.
        InvalidConfiguration: the file is not YAML, or a size or duration in it is not valid.
    """
    content = read_yaml(path)
    try:
        with contextlib.chdir(path.parent):
            values = _values(content)
            model = name or values.pop("name", None)
            if model is None:
                raise InvalidModel("the model has no name.", hint="Add the field model_id.")
            values.pop("name", None)
            defined = define_model(model, values.pop("path", None), {**values, "trust": trust})
    except SireError as problem:
        raise type(problem)(f"{path}: {problem.message}", hint=problem.hint) from None
    if not trust:
        _check_code(path, defined.spec)
    return defined


def _check_code(file: Path, spec: ModelSpec) -> None:
    """Raise UntrustedModel if a definition names code: a file must not decide what runs."""
    if code := named_code(spec):
        raise UntrustedModel(
            f"{file} names code that would run: {' and '.join(code)}.",
            hint="Read the file and the code. If you trust both, add --trust.",
        )


def _values(content: dict[str, Any]) -> dict[str, Any]:
    """The file's fields by the names of the options they set, without those that are null."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in _FIELDS:
            raise _unknown(key)
        name, kind = _FIELDS[key]
        if name in values:
            raise InvalidModel(f"{key} is given twice, under two names.")
        if value is None:
            continue
        try:
            values[name] = kind.read(value)
        except SireError as problem:
            raise type(problem)(f"{key}: {problem.message}", hint=problem.hint) from None
    return values


def _unknown(key: str) -> InvalidModel:
    near = nearest(str(key), _FIELDS)
    hint = f"Did you mean {near}?" if near else f"Fields are: {', '.join(_FIELDS)}."
    return InvalidModel(f"a model has no field {key}.", hint=_ELSEWHERE.get(key, hint))
