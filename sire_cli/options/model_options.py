"""A model's options on the command line, from their declaration.

Typer reads a command's parameters from its signature. Commands that take options of a model declare
one parameter ``options``; ``takes_model_options`` replaces it in the signature.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from sire.options.option import ModelOption
from sire.options.table import settable_in
from sire_cli.options.arguments import parse_arguments
from sire_cli.options.completion import complete_device, complete_priority

_PARAMETER = "options"
_COMPLETION = {"device": complete_device, "priority": complete_priority}


def takes_model_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a model, all of them or those named.

    The command gets those that the user gave, by name, as a dict in its parameter ``options``.
    """
    options = [one for one in settable_in("cli") if not names or one.name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(context: typer.Context, **parameters: Any) -> None:
            values = {option.name: parameters.pop(option.name) for option in options}
            given = {
                name: parse_arguments(value) if name == "args" else value
                for name, value in values.items()
                if _is_given(context, name)
            }
            command(**parameters, **{_PARAMETER: given})

        _set_signature(run, inspect.signature(command), options)
        return run

    return decorate


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _set_signature(
    run: Callable[..., None], signature: inspect.Signature, options: list[ModelOption]
) -> None:
    parameters = [_positional("context", typer.Context)]
    for parameter in signature.parameters.values():
        if parameter.name == _PARAMETER:
            parameters.extend(map(_parameter, options))
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD))
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__  # type: ignore[attr-defined]


def _positional(name: str, annotation: Any, **default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, annotation=annotation, **default)


def _parameter(option: ModelOption) -> inspect.Parameter:
    """The option as a parameter whose annotation Typer understands."""
    info = typer.Option(
        *_names(option),
        metavar=option.metavar or None,
        help=option.help,
        autocompletion=_COMPLETION.get(option.name),
        rich_help_panel=option.group,
        show_default=not option.switch,
    )
    kind: Any = bool if option.switch else list[str] if option.repeatable else str | None
    default: Any = False if option.switch else [] if option.repeatable else None
    return _positional(option.name, Annotated[kind, info], default=option.default_text or default)


def _names(option: ModelOption) -> Iterator[str]:
    """Its names; a switch that ``[defaults]`` may turn on can be turned off."""
    can_be_off = option.switch and "defaults" in option.settable
    yield f"{option.flag}/--no-{option.flag[2:]}" if can_be_off else option.flag
