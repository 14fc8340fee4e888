"""``sire logs``."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration
from sire.nearest import did_you_mean
from sire.paths import find_paths
from sire.printable import printable_output
from sire.protocol.log_lines import LEVELS, LogLine, read_line
from sire.spec import check_name
from sire.units import parse_duration
from sire_cli.options.completion import complete_model
from sire_cli.options.durations import parse_option
from sire_cli.options.numbers import whole_number
from sire_cli.terminal.output import AsJson, as_json, print_message
from sire_cli.terminal.tail import last_lines, new_lines

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


Component = Annotated[
    str | None,
    typer.Option(
        "--component",
        metavar="COMPONENT",
        help="Print lines of one part of the daemon: scheduler, models, jobs, requests, worker, …",
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        metavar="LEVEL",
        help="Print lines of at least this level: debug, info, warning or error.",
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
    component: Component = None,
    level: Level = None,
    json: AsJson = False,
) -> None:
    """Show the log of the daemon, or the output of a model.

    With NAME, shows what the processes of that model printed: on a terminal with control
    characters escaped, elsewhere unchanged. Lines can be selected by age, component and level only
    in the log of the daemon.
    """
    if name is None:
        show_daemon_log(LineFilter(since, component, level), follow=follow, lines=lines, json=json)
        return
    given = {"--since": since, "--component": component, "--level": level}
    if option := next((option for option, value in given.items() if value), None):
        raise InvalidConfiguration(
            f"{option} cannot be combined with NAME: the output of a model is plain text.",
            hint=f"Specify a number of lines instead: sire logs {name} -n 100",
        )
    _show_model_log(check_name(name), follow, _number_of(lines), json)


class LineFilter:
    """Selects lines of the daemon's log.

    Args:
        since: the longest age, as given on the command line; None for any.
        component: the component, or "worker" for all workers; None for any.
        level: the lowest level; None for any.

    Attributes:
        aged: whether lines are selected by their age.
        limited: whether lines are selected by component or level.

    Raises:
        InvalidConfiguration: ``since`` is not a duration, or ``level`` not a level.
    """

    def __init__(self, since: str | None, component: str | None, level: str | None) -> None:
        age = parse_option("--since", since, parse_duration) if since else math.inf
        self._earliest = time.time() - age
        self._component = component
        self._levels = LEVELS if level is None else LEVELS[_place(level) :]
        self.aged = since is not None
        self.limited = component is not None or level is not None

    def accepts(self, line: LogLine) -> bool:
        """Whether a line is selected."""
        components = {None, line.component, line.component.partition(" ")[0]}
        return (
            line.time.timestamp() >= self._earliest
            and self._component in components
            and line.level in self._levels
        )


def _place(level: str) -> int:
    if level not in LEVELS:
        raise InvalidConfiguration(
            f"{level!r} is not a valid level.",
            hint=f"{did_you_mean(level, LEVELS)}Valid levels: {', '.join(LEVELS)}.",
        )
    return LEVELS.index(level)


def show_daemon_log(selected: LineFilter, *, follow: bool, lines: str | None, json: bool) -> None:
    """Print the log of the daemon, including its rotated files.

    Raises:
        InvalidConfiguration: ``lines`` is not a whole number.
    """
    path = find_paths().daemon_log
    if not path.exists() and not follow:
        print_message(f"The log of the daemon does not exist yet: {path}")
        return

    def shown(text: bytes) -> bytes:
        """The line as it is printed; b"" if it is not selected."""
        line = read_line(text)
        if line is None:
            return b"" if selected.limited else _output(text)
        return _text(line, json) if selected.accepts(line) else b""

    most = None if selected.aged and lines is None else _number_of(lines)
    size = path.stat().st_size if path.exists() else 0
    # Of a selection, as many lines are shown as are asked for, wherever they are in the log.
    latest = filter(None, map(shown, last_lines(path, size, None if selected.limited else most)))
    _write_lines(deque(latest, most))
    if follow:
        _write_lines(filter(None, map(shown, new_lines(path, size))))


def _text(line: LogLine, json: bool) -> bytes:
    return as_json(line).encode() if json else f"{line.text()}\n".encode()


def _show_model_log(name: str, follow: bool, lines: int, json: bool) -> None:
    path = find_paths().model_log(name)
    if not path.exists() and not follow:
        from sire.protocol.replies import ModelInfo  # noqa: PLC0415
        from sire.protocol.requests import Show  # noqa: PLC0415
        from sire_cli.daemon_connection import expect  # noqa: PLC0415

        expect(ModelInfo, Show(name=name))  # raises ModelNotFound
        print_message(f"{name} has not been loaded yet and has no output.")
        return

    def shown(text: bytes) -> bytes:
        if not json:
            return _output(text)
        message = text.decode(errors="replace").rstrip("\n")
        entry = {"component": f"worker {name}", "model": name, "message": message}
        return as_json(entry).encode()

    size = path.stat().st_size if path.exists() else 0
    _write_lines(map(shown, last_lines(path, size, lines)))
    if follow:
        _write_lines(map(shown, new_lines(path, size)))


def _output(text: bytes) -> bytes:
    """What a process printed: escaped on a terminal, the bytes themselves elsewhere."""
    return printable_output(text) if sys.stdout.isatty() else text


def _number_of(lines: str | None) -> int:
    return _LINES if lines is None else whole_number("--lines", lines)


def _write_lines(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
