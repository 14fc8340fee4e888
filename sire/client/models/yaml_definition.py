"""A model said in a YAML file, by the names other servers use or by those of `describe_model`."""

import contextlib
import inspect
from pathlib import Path
from typing import Any

from sire.client.models.definition import describe_model
from sire.errors import InvalidConfiguration, InvalidModel, SireError
from sire.nearest import nearest
from sire.spec import ModelSpec
from sire.yaml_text import read_yaml

_ALSO = {
    "model_id": "name",
    "model_path": "path",
    "model_type": "runtime",
    "max_memory_mb": "max_memory",
    "config": "args",
}
# Only who registers a model can say this, not who wrote a file about it.
_NOT_HERE = {"trust": "Say --trust beside --file.", "python_path": "Say where with model_class."}
_KNOWN = [name for name in inspect.signature(describe_model).parameters if name not in _NOT_HERE]


def read_model_file(path: Path, *, name: str | None = None, trust: bool = False) -> ModelSpec:
    """Read the definition of a model.

    Args:
        path: the YAML file; relative paths in it start in its directory.
        name: what to call the model; None for what the file calls it.
        trust: allow loading to run code from the model's file.

    Raises:
        InvalidModel: a field is missing, unknown or cannot be what was given.
        InvalidConfiguration: it is no YAML, or has a size or duration that cannot be read.
    """
    given = _fields(read_yaml(path), path)
    given["name"] = name or given.get("name")
    if given["name"] is None:
        raise InvalidModel(f"{path}: the model has no name.", hint="Write model_id into it.")
    try:
        with contextlib.chdir(path.parent):
            return describe_model(**{"path": None, **given, "trust": trust})
    except SireError as problem:
        raise type(problem)(f"{path}: {problem.message}", hint=problem.hint) from None
    except (TypeError, ValueError, AttributeError) as problem:
        raise InvalidModel(f"{path}: a field has a value of the wrong type: {problem}.") from None


def _fields(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The file's fields by the names of ``describe_model``; those without a value are left out."""
    fields: dict[str, Any] = {}
    for key, value in content.items():
        name = _ALSO.get(key, key)
        if name not in _KNOWN:
            near = nearest(key, [*_ALSO, *_KNOWN])
            meant = f"Did you mean {near}?" if near else f"There are: {', '.join(_ALSO)}, …"
            raise InvalidModel(
                f"{path}: a model has no field {key}.", hint=_NOT_HERE.get(key, meant)
            )
        if name in fields:
            raise InvalidModel(f"{path}: {key} is given twice, under two names.")
        if value is not None:
            fields[name] = _value(key, value)
    return fields


def _value(key: str, value: Any) -> Any:
    if key == "max_memory_mb":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidConfiguration(f"max_memory_mb: {value!r} is not a number.")
        return int(value * 1_000_000)
    if key == "warmup" and isinstance(value, bool):
        if value:
            raise InvalidModel(
                "warmup is an input to run once after loading, not a switch.",
                hint="Name a file: warmup: input.json. Graphs and programs are tried on zeros "
                "by themselves; leave it out for them.",
            )
        return None
    if key in {"config", "args"} and not isinstance(value, dict):
        raise InvalidModel(f"{key} is a table of names and values, not {value!r}.")
    if key in {"name", "model_id", "runtime", "model_type", "device", "model_path", "path"}:
        return str(value)
    if key in {"batch_size", "concurrency"} and (type(value) is not int or value < 1):
        raise InvalidModel(f"{key}: {value!r} is not a whole number of at least 1.")
    return value
