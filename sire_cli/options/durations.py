"""The ``--timeout`` option."""

import math
from typing import Annotated

import typer

from sire.units import parse_duration

Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Fail after this long, such as 30s or 5m.",
        rich_help_panel="Scheduling",
    ),
]


def seconds(timeout: str | None) -> float | None:
    """The timeout in seconds; None if there is no limit.

    Raises:
        InvalidConfiguration: the text is not a valid duration.
    """
    limit = math.inf if timeout is None else parse_duration(timeout)
    return None if math.isinf(limit) else limit
