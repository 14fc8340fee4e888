"""One model as TOML that people can read and edit, and back."""

import json
import tomllib
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import tomli_w

from sire.errors import InvalidConfiguration, InvalidModel, error_text, shown
from sire.options.derived import check_values, explicit_defaults
from sire.options.table import OPTIONS, WITH_DEFAULTS
from sire.spec import AudioOptions, ImageOptions, ModelSpec, Signature, TensorSpec
from sire.values import SWITCH

# The options that a file states with units, as people write them.
_WITH_UNITS = [one for one in WITH_DEFAULTS if one.kind.name in {"size", "duration"}]


def to_toml(spec: ModelSpec, explicit: Collection[str] = ()) -> bytes:
    """Write a model; its name is that of the file and is not in it.

    Args:
        spec: the model.
        explicit: options to write although they have their built-in default.

    Raises:
        InvalidModel: it has text or an argument that TOML cannot represent.
    """
    # Bytes would become text here; as bytes they are rejected below.
    builtins = msgspec.to_builtins(spec, builtin_types=(bytes,))
    content = {key: value for key, value in builtins.items() if value is not None}
    del content["name"]
    for option in WITH_DEFAULTS:
        if option.name in explicit:
            content.setdefault(option.field, option.value_in(spec))
    for option in _WITH_UNITS:
        if option.field in content:
            content[option.field] = option.kind.write(content[option.field])
    try:
        if _has_null(spec.args):
            content["args"] = json.dumps(spec.args)
        return tomli_w.dumps(content).encode()
    except TypeError as problem:
        raise InvalidModel(f"An argument cannot be written as TOML: {problem}.") from None
    except UnicodeEncodeError as problem:
        raise InvalidModel(f"{shown(problem.object)} is not valid text.") from None


def from_toml(name: str, text: str) -> tuple[ModelSpec, tuple[str, ...]]:
    """Read a model.

    Returns:
        The model, and the options that the file states with their built-in default.

    Raises:
        InvalidModel: it is no TOML, or a key or value in it is none that a model has.
    """
    try:
        content = tomllib.loads(text)
        _read_values(content)
        spec = msgspec.convert({**content, "name": name}, ModelSpec)
    except (ValueError, RecursionError) as problem:
        # TOML's own errors are among them; a number of thousands of digits is another.
        kind = "" if isinstance(problem, msgspec.ValidationError) else "it is not valid TOML: "
        raise InvalidModel(f"{kind}{error_text(problem)}.") from None
    if (unknown := next(_unknown(content), None)) is not None:
        raise InvalidModel(f"it has a key {shown(unknown)} that no model has.")
    check_values(spec)
    if spec.path and not spec.path.startswith("/"):
        raise InvalidModel(f"its path {shown(spec.path)} is not absolute.")
    stated = {option.name: option.value_in(spec) for option in OPTIONS if option.field in content}
    return spec, explicit_defaults(stated)


def _read_values(content: dict[str, Any]) -> None:
    """Read sizes and durations with their units, and arguments that are JSON because of nulls."""
    for option in WITH_DEFAULTS:
        try:
            if option.field in content and option.kind is not SWITCH:
                content[option.field] = option.read(content[option.field], option.field)
        except InvalidConfiguration as problem:
            raise InvalidModel(problem.message, hint=problem.hint) from None
    if "args" in content:
        content["args"] = _read_args(content["args"])


def _read_args(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as problem:
        raise InvalidModel(f"args: it is not valid JSON: {problem}.") from None


def _has_null(value: Any) -> bool:
    """Whether a value contains None, which TOML cannot represent but JSON can."""
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_null, value))
    return value is None


def _unknown(content: dict[str, Any]) -> Iterator[str]:
    """Keys that would be ignored, dotted; the values have the right types by now."""
    yield from _strange(content, ModelSpec, "")
    if "name" in content:
        yield "name"
    yield from _strange(content.get("image", {}), ImageOptions, "image.")
    yield from _strange(content.get("audio", {}), AudioOptions, "audio.")
    for field in ("signature", "stated"):
        signature = content.get(field, {})
        yield from _strange(signature, Signature, f"{field}.")
        for side in ("inputs", "outputs"):
            for tensor in signature.get(side, ()):
                yield from _strange(tensor, TensorSpec, f"{field}.{side}.")


def _strange(content: dict[str, Any], struct: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    known = struct.__struct_encode_fields__
    yield from (f"{prefix}{key}" for key in content if key not in known)
