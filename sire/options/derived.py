"""What is derived from the declaration: reading, defaults, validation, display."""

import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from sire.errors import InvalidConfiguration, InvalidModel, shown
from sire.nearest import nearest
from sire.options.option import ModelOption
from sire.options.table import BY_NAME, OPTIONS, WITH_DEFAULTS
from sire.spec import AudioOptions, ImageOptions, ModelSpec, Signature
from sire.units import LARGEST_BYTES

_DEEPEST_ARGUMENT = 32
# Of the arguments in the docstring of a method.
_WIDTH = 88

Method = TypeVar("Method", bound=Callable[..., Any])


def options_among(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the arguments of a function, by name."""
    return {option.name: arguments[option.name] for option in OPTIONS if option.name in arguments}


def documents_options(method: Method) -> Method:
    """Replace the line ``{options}`` of a docstring with a line for each option it takes."""
    taken = inspect.signature(method).parameters
    lines = [f"{one.name}: {one.help[0].lower()}{one.help[1:]}" for one in OPTIONS]
    before, _, after = (method.__doc__ or "").partition("{options}")
    margin = before.rpartition("\n")[2]  # Python 3.13 has removed the indentation of the method
    text = f"\n{margin}".join(
        textwrap.fill(line, _WIDTH, subsequent_indent=f"{margin}    ")
        for line, one in zip(lines, OPTIONS, strict=True)
        if one.name in taken
    )
    method.__doc__ = f"{before}{text}{after}"
    return method


def read_options(
    given: Mapping[str, Any], place: Callable[[ModelOption], str] = lambda option: option.name
) -> dict[str, Any]:
    """Read options by name; those that are None count as not given.

    Args:
        given: values by the options' names.
        place: what an error calls an option.

    Raises:
        InvalidModel: an option does not exist, or has an invalid value.
        InvalidConfiguration: a value is not of its option's kind.
    """
    if unknown := next((name for name in given if name not in BY_NAME), None):
        near = nearest(unknown, BY_NAME)
        hint = f"Did you mean {near}?" if near else f"Options are: {', '.join(BY_NAME)}."
        raise InvalidModel(f"A model has no option {unknown}.", hint=hint)
    values = {
        option.name: option.read(given[option.name], place(option))
        for option in OPTIONS
        if given.get(option.name) is not None
    }
    return {name: value for name, value in values.items() if value is not None}


def fields_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``ModelSpec`` that hold these values, which ``read_options`` returned."""
    fields: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, key = BY_NAME[name].field.rpartition(".")
        if group:
            nested.setdefault(group, {})[key] = value
        else:
            fields[key] = value
    if args := fields.get("args", {}) | nested.get("args", {}):
        fields["args"] = args
    if "signature" in nested:
        fields.setdefault("signature", Signature(**nested["signature"]))
    if "image" in nested:
        fields["image"] = ImageOptions(**nested["image"])
    if "audio" in nested:
        fields["audio"] = AudioOptions(**nested["audio"])
    return fields


def explicit_defaults(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The options among these whose value is the built-in default, and overrides ``[defaults]``."""
    return tuple(
        option.name
        for option in WITH_DEFAULTS
        if option.name in values and values[option.name] == option.default
    )


def options_shown(spec: ModelSpec, defaulted: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """The label and the value, as text, of each option that ``sire show`` prints for a model.

    Args:
        spec: the model.
        defaulted: names of options whose value is that of ``[defaults]``, which the text says.
    """
    for option in OPTIONS:
        value = option.value_in(spec)
        given = value not in (None, (), {}) and value != option.default
        if option.label and (given or option.always_shown):
            text = "yes" if value is True else option.kind.write(value)
            if text:
                source = " (from [defaults])" if option.name in defaulted else ""
                yield option.label, text + source


def check_values(spec: ModelSpec) -> None:
    """Check a model that came from a client or a file: ranges of options, sizes and arguments.

    Raises:
        InvalidModel: a value is out of range; the message names it.
    """
    for option in WITH_DEFAULTS:
        value = option.value_in(spec)
        try:
            if value is not None:
                option.read(value)
        except InvalidConfiguration as problem:
            raise InvalidModel(problem.message, hint=problem.hint) from None
    if not 0 <= spec.weight_bytes <= LARGEST_BYTES:
        raise InvalidModel(f"weight_bytes: {spec.weight_bytes} is not a number of bytes.")
    _check_argument(spec.args, _DEEPEST_ARGUMENT)


def _check_argument(value: Any, depth: int) -> None:
    """Check that every message and file can hold an argument: its depth and its integers."""
    if depth == 0:
        raise InvalidModel(f"An argument is nested deeper than {_DEEPEST_ARGUMENT} levels.")
    if isinstance(value, int) and not -LARGEST_BYTES - 1 <= value <= LARGEST_BYTES:
        raise InvalidModel(f"An argument is {shown(value)}, which does not fit in 64 bits.")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for item in value if isinstance(value, list | tuple) else ():
        _check_argument(item, depth - 1)
