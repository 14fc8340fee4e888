"""Arguments and options shared by several commands."""

from typing import Annotated, Any

import msgspec
import typer

from sire.errors import InvalidConfiguration
from sire_cli.files import WRITABLE
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
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Device to load the model on, or auto for any.",
        autocompletion=complete_device,
    ),
]
PriorityName = Annotated[
    str | None,
    typer.Option(
        "--priority",
        metavar="PRIORITY",
        help="Priority: high, normal or low.",
        autocompletion=complete_priority,
        rich_help_panel="Scheduling",
    ),
]
_INPUT = typer.Option(
    "--input",
    "-i",
    metavar="[NAME=]FILE",
    help="Input file, or - for stdin; repeatable. NAME=FILE is one of several inputs.",
    rich_help_panel="Input",
)
InputFiles = Annotated[list[str], _INPUT]
OptionalInputFiles = Annotated[list[str] | None, _INPUT]
InputDirectory = Annotated[
    str | None,
    typer.Option(
        "--from-dir",
        metavar="DIR",
        help="Directory; each file in it is an input.",
        rich_help_panel="Input",
    ),
]
InputType = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TYPE",
        help="Type of the input: json, jsonl, npy, csv, …; detected if omitted.",
        rich_help_panel="Input",
    ),
]
HeaderLine = Annotated[
    str | None,
    typer.Option(
        "--header",
        metavar="YES|NO",
        help="Whether the first line of a CSV or TSV input has names: yes or no.",
        rich_help_panel="Input",
    ),
]
AnswerPath = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR",
        help="File or directory for the answers; stdout by default.",
        rich_help_panel="Output",
    ),
]
AnswerType = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TYPE",
        help=f"Type of the answer: {', '.join(WRITABLE[:-1])} or {WRITABLE[-1]}.",
        rich_help_panel="Output",
    ),
]
AsStream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Print the answer while it is generated, as text or with --to json.",
        rich_help_panel="Output",
    ),
]
KeepLoaded = Annotated[
    str | None,
    typer.Option(
        "--keep-alive",
        metavar="DURATION",
        help="How long the model stays loaded when idle: 5m, forever or 0.",
        rich_help_panel="Scheduling",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job id.", autocompletion=complete_job)]
JobIds = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Job ids.", autocompletion=complete_job)
]


def parse_arguments(given: list[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` pairs; a value that is valid JSON is decoded, any other is text.

    Raises:
        InvalidConfiguration: a pair is not ``KEY=VALUE``, or KEY is not an identifier.
    """
    arguments = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InvalidConfiguration(
                f"--arg must be in the form KEY=VALUE (got {pair!r}).",
                hint="Example: --arg layers=4",
            )
        try:
            arguments[key] = msgspec.json.decode(value)
        except ValueError:
            arguments[key] = value
    return arguments
