"""``sire logs``."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration
from sire.paths import find_paths
from sire.protocol.log_lines import LogLine, read_line
from sire.spec import check_name
from sire.units import parse_duration
from sire_cli.options.completion import complete_model
from sire_cli.terminal.output import AsJson, print_json, say
from sire_cli.terminal.tail import kept_lines, new_lines

Show = Callable[[bytes], None]

_LINES = 50

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")]
Lines = Annotated[
    int | None, typer.Option("--lines", "-n", help="How many lines to begin with; else 50.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="DURATION", help="Begin so long ago, like 10m; the daemon's."),
]


def logs(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A registered model.", autocompletion=complete_model),
    ] = None,
    follow: Follow = False,
    lines: Lines = None,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show what the daemon logged, or with NAME what that model's processes printed."""
    if name is None:
        show_daemon_log(follow=follow, lines=lines, since=since, json=json)
    else:
        _show_model_log(check_name(name), follow, lines, since, json)


def show_daemon_log(*, follow: bool, lines: int | None, since: str | None, json: bool) -> None:
    """Print the daemon's log, which may be in several files by now.

    Raises:
        InvalidConfiguration: ``since`` is no duration.
    """
    path = find_paths().daemon_log
    first = time.time() - parse_duration(since) if since else 0.0
    if not path.exists() and not follow:
        say(f"No daemon has logged anything yet: {path}")
        return

    def show(text: bytes) -> None:
        line = read_line(text)
        if line is None:
            _write(text)
        elif line.time.timestamp() >= first:
            _show_line(line, json)

    most = lines if lines is not None else None if since else _LINES
    _show(path, show, most, follow)


def _show_line(line: LogLine, json: bool) -> None:
    if json:
        print_json(line)
    else:
        _write(f"{line.words()}\n".encode())


def _show_model_log(
    name: str, follow: bool, lines: int | None, since: str | None, json: bool
) -> None:
    if since:
        raise InvalidConfiguration(
            "What a model prints does not say when it was printed.",
            hint=f"Count lines instead: sire logs {name} -n 100",
        )
    path = find_paths().model_log(name)
    if not path.exists() and not follow:
        from sire.protocol.replies import ModelInfo  # noqa: PLC0415
        from sire.protocol.requests import Show  # noqa: PLC0415
        from sire_cli.link import expect  # noqa: PLC0415

        expect(ModelInfo, Show(name=name))  # says when there is no such model
        say(f"{name} has not been loaded yet.")
        return

    def show(text: bytes) -> None:
        message = text.decode(errors="replace").rstrip("\n")
        print_json({"component": f"worker {name}", "model": name, "message": message})

    _show(path, show if json else _write, _LINES if lines is None else lines, follow)


def _show(path: Path, show: Show, most: int | None, follow: bool) -> None:
    seen = path.stat().st_size if path.exists() else 0
    _each(kept_lines(path, seen, most), show)
    if follow:
        _each(new_lines(path, seen), show)


def _each(lines: Iterable[bytes], show: Show) -> None:
    for line in lines:
        show(line)
        sys.stdout.buffer.flush()


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
