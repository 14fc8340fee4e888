"""``sire completion``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration

_SCRIPTS = {"bash": "sire.bash", "zsh": "_sire", "fish": "sire.fish"}
# Inside the package when installed; at the top of the tree in a checkout.
_PLACES = (Path(__file__).parents[1] / "completions", Path(__file__).parents[2] / "completions")


def complete_shell(incomplete: str) -> list[str]:
    """Supported shells whose names start with this text."""
    return [shell for shell in _SCRIPTS if shell.startswith(incomplete)]


def completion(
    shell: Annotated[
        str,
        typer.Argument(
            metavar="SHELL", help="Shell: bash, zsh or fish.", autocompletion=complete_shell
        ),
    ],
) -> None:
    """Print the completion script for a shell.

    It completes commands, options, models, devices and jobs. Save the script to this file, and new
    shells load it:

    bash: ~/.local/share/bash-completion/completions/sire

    zsh: a file named _sire in a directory of $fpath

    fish: ~/.config/fish/completions/sire.fish

    For the current shell only, in bash or zsh: source <(sire completion bash)
    """
    if shell not in _SCRIPTS:
        raise InvalidConfiguration(
            f"No completion script exists for {shell!r}.",
            hint=f"Supported shells: {', '.join(_SCRIPTS)}.",
        )
    files = (place / _SCRIPTS[shell] for place in _PLACES)
    sys.stdout.write(next(file for file in files if file.exists()).read_text("utf-8"))
