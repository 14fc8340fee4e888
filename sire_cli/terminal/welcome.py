"""``sire`` alone: what to do next, which depends on what there is."""

import sys
from pathlib import Path

from sire.client.autostart import daemon_runs
from sire.paths import Paths, find_paths

_NAMED = 5


def welcome() -> int:
    """Say how things stand and what to type next; starts no daemon. Returns the exit code."""
    paths = find_paths()
    names = _registered(paths)
    lines = _next(names, running=daemon_runs(paths)) if names else _first()
    sys.stdout.write("\n".join(lines))
    sys.stdout.write("\n\nEvery command: sire --help. All about them: man sire\n")
    return 0


def _registered(paths: Paths) -> list[str]:
    """The models' names, the latest first."""

    def changed(file: Path) -> float:
        return file.stat().st_mtime

    return [file.stem for file in sorted(paths.models.glob("*.toml"), key=changed, reverse=True)]


def _first() -> list[str]:
    return [
        "No model is registered yet. Give one a name; its file says most of what there is to say:",
        "",
        "  sire register digits digits.onnx",
        "  sire register digits digits.safetensors --class model.py:DigitNet",
        "",
        "Then run it. The daemon starts by itself, and the model is loaded when it is asked:",
        "",
        "  sire predict digits -i seven.png",
    ]


def _next(names: list[str], *, running: bool) -> list[str]:
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    noun = "model is" if len(names) == 1 else "models are"
    how = "The daemon runs." if running else "No daemon runs; the next command starts it."
    commands = (
        (f"sire predict {names[0]} -i FILE", "run it; - is stdin"),
        (f"sire show {names[0]}", "what is known of it"),
        ("sire ps", "what is loaded; live: sire top"),
        ("sire logs -f", "what the daemon does"),
    )
    width = max(len(command) for command, _ in commands)
    told = [f"  {command:<{width}}   {words}" for command, words in commands]
    return [f"{len(names)} {noun} registered: {shown}. {how}", "", *told]
