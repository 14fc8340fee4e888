"""``sire rm``."""

from typing import Annotated

import typer

from sire.protocol.requests import Remove
from sire_cli.link import connect
from sire_cli.options.completion import complete_model
from sire_cli.terminal.output import say


def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Registered models.", autocompletion=complete_model),
    ],
) -> None:
    """Unload models and forget them; their files stay."""
    with connect() as daemon:
        for name in names:
            daemon.ask(Remove(name=name))
            say(f"Removed {name}.")
