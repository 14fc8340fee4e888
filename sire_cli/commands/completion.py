"""``sire completion``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration

_SCRIPTS = {"bash": "sire.bash", "zsh": "_sire", "fish": "sire.fish"}
# Beside the commands where sire is installed; in a checkout, where they are kept.
_PLACES = (Path(__file__).parents[1] / "completions", Path(__file__).parents[2] / "completions")


def complete_shell(incomplete: str) -> list[str]:
    """The shells whose names begin so."""
    return [shell for shell in _SCRIPTS if shell.startswith(incomplete)]


def completion(
    shell: Annotated[
        str,
        typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=complete_shell),
    ],
) -> None:
    """Print the script by which a shell completes commands, options, models, devices and jobs.

    A shell reads it from a file; a new shell then knows it:
    bash from ~/.local/share/bash-completion/completions/sire,
    zsh from a file _sire in a directory of its $fpath,
    fish from ~/.config/fish/completions/sire.fish.
    For this shell alone, in bash and zsh: source <(sire completion bash)
    """
    if shell not in _SCRIPTS:
        raise InvalidConfiguration(
            f"There is no completion for {shell!r}.", hint=f"There is: {', '.join(_SCRIPTS)}."
        )
    files = (place / _SCRIPTS[shell] for place in _PLACES)
    sys.stdout.write(next(file for file in files if file.exists()).read_text("utf-8"))
