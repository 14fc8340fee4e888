"""The ``--timeout`` option."""

import math
from typing import Annotated

import typer

from sire.units import parse_duration

Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="DURATION", help="Give up after this long, like 30s or 5m."),
]


def seconds(timeout: str | None) -> float | None:
    """The duration in seconds; None where there is no limit.

    Raises:
        InvalidConfiguration: it is no duration.
    """
    limit = math.inf if timeout is None else parse_duration(timeout)
    return None if math.isinf(limit) else limit
