"""Arguments that several verbs take."""

from typing import Annotated

import typer

from sire_cli.completion import complete_device, complete_job, complete_model, complete_priority

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
