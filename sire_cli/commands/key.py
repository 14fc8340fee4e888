"""``sire key``: make, list and revoke keys for ``sire serve``."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sire.errors import InvalidConfiguration
from sire.keys import SCOPES, ApiKey, KeyFile, Scope
from sire.paths import find_paths
from sire.units import parse_duration
from sire_cli.options.completion import complete_model
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

key = typer.Typer(cls=CommandGroup, help="Make, list and revoke API keys for sire serve.")

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smhd]))?")


class ListedKey(msgspec.Struct, frozen=True):
    """A key, without the key itself.

    Attributes:
        models: the only models that it may use; empty for all.
        requests_per_second: the most, on average; None for no limit.
        streams: requests in progress at once; None for the gateway's limit.
        created: when it was made, and ``expires`` when it ends, in seconds since the epoch; None
            for never.
    """

    name: str
    scope: Scope
    models: tuple[str, ...]
    requests_per_second: float | None
    streams: int | None
    created: float
    expires: float | None


KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Who or what has the key.")]
InFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="File of the keys, as given to sire serve --keys; keys.json beside config.toml by "
        "default.",
    ),
]


@key.command(cls=Command)
def add(
    name: KeyName,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="predict, or manage, which may load and unload models as well.",
        ),
    ] = "predict",
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="NAMES",
            help="The only models that it may use, like a,b; all by default.",
            autocompletion=complete_model,
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="RATE", help="Most requests on average, like 10/s; also /m, /h, /d."
        ),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            "--streams",
            metavar="N",
            min=1,
            help="Most requests in progress at once, streams among them; 512 by default.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="DURATION", help="How long it is valid, like 30d."),
    ] = None,
    file: InFile = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    made = _key_file(file).add(
        name,
        scope=_scope(scope),
        models=tuple(one for one in (models or "").split(",") if one),
        rate=None if rate is None else _rate(rate),
        streams=streams,
        seconds=None if expires is None else parse_duration(expires),
    )
    print_message(f"The key of {name}, which cannot be shown again:")
    typer.echo(made)


@key.command(cls=Command)
def ls(file: InFile = None, json: AsJson = False) -> None:
    """List keys by name, without the keys themselves."""
    known = _key_file(file).read()
    if json:
        print_json([_listed(one) for one in known])
        return
    print_table(("NAME", "SCOPE", "MODELS", "RATE", "CREATED", "EXPIRES"), map(_row, known))


@key.command(cls=Command)
def rm(name: KeyName, file: InFile = None) -> None:
    """Revoke a key, at once."""
    _key_file(file).remove(name)
    print_message(f"Revoked {name}.")


def _key_file(given: Path | None) -> KeyFile:
    return KeyFile(given or find_paths().keys)


def _scope(text: str) -> Scope:
    for known in SCOPES:
        if text == known:
            return known
    raise InvalidConfiguration(f"There is no scope {text}.", hint=f"Use {' or '.join(SCOPES)}.")


def _rate(text: str) -> float:
    """Requests per second."""
    found = _RATE.fullmatch(text)
    if found is None or not float(found[1]):
        raise InvalidConfiguration(f"{text} is not a rate.", hint="Write it like 10/s or 500/d.")
    return float(found[1]) / _PERIODS[found[2] or "s"]


def _listed(one: ApiKey) -> ListedKey:
    limits = one.rate, one.streams
    return ListedKey(one.name, one.scope, one.models, *limits, one.created, one.expires)


def _row(one: ApiKey) -> tuple[str, ...]:
    ending = "never" if one.expires is None else _day(one.expires)
    return (
        one.name,
        one.scope,
        ", ".join(one.models) or "all",
        "" if one.rate is None else f"{one.rate:.3g}/s",
        _day(one.created),
        "expired" if one.expired else ending,
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
