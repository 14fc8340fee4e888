"""The ``--timeout`` option, and durations in other options."""

import math
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from sire.errors import InvalidConfiguration
from sire.units import parse_duration

_Value = TypeVar("_Value")

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
    limit = math.inf if timeout is None else parse_option("--timeout", timeout, parse_duration)
    return None if math.isinf(limit) else limit


def parse_option(option: str, text: str, parse: Callable[[str], _Value]) -> _Value:
    """Parse the value of an option.

    Raises:
        InvalidConfiguration: ``parse`` rejects the text; the message names the option.
    """
    try:
        return parse(text)
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(f"{option}: {problem.message}", hint=problem.hint) from None
