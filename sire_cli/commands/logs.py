"""``sire logs``."""

import math
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
from sire_cli.options.durations import parse_option
from sire_cli.options.numbers import whole_number
from sire_cli.terminal.output import AsJson, print_json, print_message
from sire_cli.terminal.tail import last_lines, new_lines

Printer = Callable[[bytes], None]

_LINES = 50

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Print new lines as they are written.")
]
Lines = Annotated[
    str | None,
    typer.Option("--lines", "-n", metavar="N", help="Number of latest lines; 50 by default."),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="DURATION", help="Print lines since this long ago, such as 10m."
    ),
]


def logs(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A registered model.", autocompletion=complete_model),
    ] = None,
    follow: Follow = False,
    lines: Lines = None,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show the log of the daemon, or the output of a model.

    With NAME, shows what the processes of that model printed; --since applies to the log of the
    daemon only.
    """
    if name is None:
        show_daemon_log(follow=follow, lines=lines, since=since, json=json)
    else:
        _show_model_log(check_name(name), follow, _number_of(lines), since, json)


def show_daemon_log(*, follow: bool, lines: str | None, since: str | None, json: bool) -> None:
    """Print the log of the daemon, including its rotated files.

    Raises:
        InvalidConfiguration: ``lines`` is not a whole number, or ``since`` not a duration.
    """
    path = find_paths().daemon_log
    age = parse_option("--since", since, parse_duration) if since else math.inf
    earliest = time.time() - age
    if not path.exists() and not follow:
        print_message(f"The log of the daemon does not exist yet: {path}")
        return

    def print_entry(text: bytes) -> None:
        line = read_line(text)
        if line is None:
            _write(text)
        elif line.time.timestamp() >= earliest:
            _print_line(line, json)

    most = None if since and lines is None else _number_of(lines)
    _print_file(path, print_entry, most, follow)


def _print_line(line: LogLine, json: bool) -> None:
    if json:
        print_json(line)
    else:
        _write(f"{line.text()}\n".encode())


def _show_model_log(name: str, follow: bool, lines: int, since: str | None, json: bool) -> None:
    if since:
        raise InvalidConfiguration(
            "--since cannot be combined with NAME: the output of a model has no timestamps.",
            hint=f"Specify a number of lines instead: sire logs {name} -n 100",
        )
    path = find_paths().model_log(name)
    if not path.exists() and not follow:
        from sire.protocol.replies import ModelInfo  # noqa: PLC0415
        from sire.protocol.requests import Show  # noqa: PLC0415
        from sire_cli.daemon_connection import expect  # noqa: PLC0415

        expect(ModelInfo, Show(name=name))  # raises ModelNotFound
        print_message(f"{name} has not been loaded yet and has no output.")
        return

    def print_as_json(text: bytes) -> None:
        message = text.decode(errors="replace").rstrip("\n")
        print_json({"component": f"worker {name}", "model": name, "message": message})

    _print_file(path, print_as_json if json else _write, lines, follow)


def _number_of(lines: str | None) -> int:
    return _LINES if lines is None else whole_number("--lines", lines)


def _print_file(path: Path, printer: Printer, most: int | None, follow: bool) -> None:
    size = path.stat().st_size if path.exists() else 0
    _print_lines(last_lines(path, size, most), printer)
    if follow:
        _print_lines(new_lines(path, size), printer)


def _print_lines(lines: Iterable[bytes], printer: Printer) -> None:
    for line in lines:
        printer(line)
        sys.stdout.buffer.flush()


def _write(text: bytes) -> None:
    sys.stdout.buffer.write(text)
