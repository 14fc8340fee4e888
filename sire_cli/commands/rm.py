"""``sire rm``."""

from typing import Annotated

import typer

from sire.protocol.requests import Remove
from sire_cli.daemon_connection import connect
from sire_cli.options.completion import complete_model
from sire_cli.terminal.output import print_message


def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Registered models.", autocompletion=complete_model),
    ],
) -> None:
    """Unload and unregister models; their files are kept."""
    with connect() as daemon:
        for name in names:
            daemon.ask(Remove(name=name))
            print_message(f"Removed {name}.")
