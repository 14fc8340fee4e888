"""``sire logs``."""

import sys
import time
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from sire_cli.arguments import ModelName
from sire_cli.output import say
from sired.errors import ModelNotFound
from sired.paths import find_paths
from sired.spec import check_name

_LOOK_SECONDS = 0.2


def logs(
    name: ModelName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines to begin with.")] = 50,
) -> None:
    """Show what a model's processes printed."""
    path = find_paths().model_log(check_name(name))
    if not path.exists() and not follow:
        from sire_cli.link import expect  # noqa: PLC0415
        from sired.protocol.replies import ModelInfo  # noqa: PLC0415
        from sired.protocol.requests import Show  # noqa: PLC0415

        expect(ModelInfo, Show(name=name))  # says when there is no such model
        say(f"{name} has not been loaded yet.")
        return
    show_log(path, lines, follow=follow)


def show_log(path: Path, lines: int, *, follow: bool) -> None:
    """Print the end of a log, and with ``follow`` what is added until ^C.

    Raises:
        ModelNotFound: there is no such log.
    """
    while not path.exists():
        if not follow:
            raise ModelNotFound(f"There is no log {path} yet.")
        time.sleep(_LOOK_SECONDS)
    with path.open("rb") as log:
        _print(b"".join(log.readlines()[-lines:] if lines > 0 else []))
        while follow:
            _print_more(path, log)
            time.sleep(_LOOK_SECONDS)


def _print_more(path: Path, log: BinaryIO) -> None:
    if path.exists() and path.stat().st_size < log.tell():
        log.seek(0)  # it was begun anew
    _print(log.read())


def _print(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
