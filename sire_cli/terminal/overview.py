"""``sire`` without arguments: the current state and what to type next."""

import sys
from pathlib import Path

from sire.client.autostart import daemon_runs
from sire.paths import Paths, find_paths

_MOST_NAMES = 5


def print_overview() -> int:
    """Print the state and suitable next commands, without starting a daemon; returns 0."""
    paths = find_paths()
    names = _registered(paths)
    lines = _with_models(names, running=daemon_runs(paths)) if names else _without_models()
    sys.stdout.write("\n".join(lines))
    sys.stdout.write("\n\nAll commands: sire --help. Manual: man sire\n")
    return 0


def _registered(paths: Paths) -> list[str]:
    """The names of the registered models, latest first."""

    def changed(file: Path) -> float:
        return file.stat().st_mtime

    return [file.stem for file in sorted(paths.models.glob("*.toml"), key=changed, reverse=True)]


def _without_models() -> list[str]:
    return [
        "No model is registered. Register one; anything its file states can be omitted:",
        "",
        "  sire register digits digits.onnx",
        "  sire register digits digits.safetensors --class model.py:DigitNet",
        "",
        "Then run it. The daemon starts and the model is loaded automatically:",
        "",
        "  sire predict digits -i seven.png",
    ]


def _with_models(names: list[str], *, running: bool) -> list[str]:
    shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    noun = "model" if len(names) == 1 else "models"
    daemon = "running" if running else "not running; the next command starts it"
    commands = (
        (f"sire predict {names[0]} -i FILE", "run the model; - is stdin"),
        (f"sire show {names[0]}", "show everything known about it"),
        ("sire ps", "list loaded models; live: sire top"),
        ("sire logs -f", "follow the log of the daemon"),
    )
    width = max(len(command) for command, _ in commands)
    explained = [f"  {command:<{width}}   {text}" for command, text in commands]
    return [f"{len(names)} registered {noun}: {shown}", f"Daemon: {daemon}.", "", *explained]
