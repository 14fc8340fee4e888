"""The options of ``sire bench`` that describe the load."""

from typing import Annotated

import typer

_PANEL = "Load"

BenchInputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        "-i",
        metavar="[NAME=]FILE",
        help="Input to send, or - for stdin; repeatable.",
        rich_help_panel="Input",
    ),
]
RequestCount = Annotated[
    str | None,
    typer.Option(
        "--requests",
        "-n",
        metavar="N",
        help="Number of requests to send.",
        rich_help_panel=_PANEL,
    ),
]
LoadDuration = Annotated[
    str | None,
    typer.Option(
        "--seconds",
        "-s",
        metavar="DURATION",
        help="How long to send requests; 10s by default.",
        rich_help_panel=_PANEL,
    ),
]
Clients = Annotated[
    str | None,
    typer.Option(
        "--concurrency",
        "-c",
        metavar="N",
        help="Number of concurrent clients; 8 by default.",
        rich_help_panel=_PANEL,
    ),
]
Pause = Annotated[
    str | None,
    typer.Option(
        "--delay",
        metavar="DURATION",
        help="Pause of a client between an answer and its next request.",
        rich_help_panel=_PANEL,
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="RATE",
        help="Requests per second, sent whether or not earlier ones are answered.",
        rich_help_panel=_PANEL,
    ),
]
Even = Annotated[
    bool,
    typer.Option(
        "--even",
        help="With --rate, send at equal intervals instead of random ones.",
        rich_help_panel=_PANEL,
    ),
]
AtRandom = Annotated[
    bool,
    typer.Option(
        "--random",
        help="Choose models and inputs at random instead of in turn.",
        rich_help_panel=_PANEL,
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Seed of all random choices, to repeat an earlier run.",
        rich_help_panel=_PANEL,
    ),
]
AsJobs = Annotated[
    bool,
    typer.Option("--jobs", help="Submit jobs and read their results.", rich_help_panel=_PANEL),
]
NoResults = Annotated[
    bool,
    typer.Option(
        "--no-results",
        help="Discard answers; with --jobs, do not wait for results.",
        rich_help_panel=_PANEL,
    ),
]
