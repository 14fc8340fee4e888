"""Arguments that several verbs take."""

from typing import Annotated, Any

import msgspec
import typer

from sire.errors import InvalidModel
from sire_cli.options.completion import (
    complete_device,
    complete_job,
    complete_model,
    complete_priority,
)

ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="A registered model.", autocompletion=complete_model)
]
ModelNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Registered models.", autocompletion=complete_model),
]
DeviceName = Annotated[
    str,
    typer.Option("--device", help="A device, or auto.", autocompletion=complete_device),
]
ModelClass = Annotated[
    str | None,
    typer.Option("--class", metavar="CLASS", help="Its class: module:Class or file.py:Class."),
]
ModelArguments = Annotated[
    list[str],
    typer.Option("--arg", metavar="K=V", help="An argument of its class or runtime; repeatable."),
]
PriorityName = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="CLASS",
        help="high, normal or low.",
        autocompletion=complete_priority,
    ),
]
InputType = Annotated[
    str | None,
    typer.Option("--from", metavar="TYPE", help="What the input is: json, npy, png, …"),
]
AnswerType = Annotated[
    str | None,
    typer.Option("--to", metavar="TYPE", help="What to answer: json, npy, npz, csv, text."),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job.", autocompletion=complete_job)]
JobIds = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="Jobs.", autocompletion=complete_job)
]


def parse_arguments(given: list[str]) -> dict[str, Any]:
    """Read ``k=v`` pairs; a value is JSON where it reads as such, else text.

    Raises:
        InvalidModel: one is no pair.
    """
    arguments = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InvalidModel(f"{pair!r} is no argument.", hint="Write it like --arg layers=4")
        try:
            arguments[key] = msgspec.json.decode(value)
        except ValueError:
            arguments[key] = value
    return arguments
