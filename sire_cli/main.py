"""The entry point: runs a command; an error becomes a message on stderr and an exit code."""

import errno
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from sire.errors import InvalidConfiguration, SireError
from sire.exit_codes import INTERRUPTED, UNEXPECTED
from sire.printable import printable
from sire_cli.daemon_connection import HOST_VARIABLE
from sire_cli.errors import OutputNotWritten
from sire_cli.options.typer_command import Command, CommandGroup

# The commands by the panel of the help that lists them, in that order. Each is a function or a
# group of the same name in the module of the same name.
_PANELS = {
    "Models": (
        "register",
        "estimate",
        "ls",
        "alias",
        "show",
        "verify",
        "rm",
        "load",
        "unload",
        "pin",
        "unpin",
        "move",
        "reload",
    ),
    "Requests": ("predict", "bench", "serve", "service", "key"),
    "Jobs": ("submit", "job"),
    "Observe": ("ps", "top", "stats", "metrics", "devices", "health", "logs"),
    "Daemon": ("daemon", "config", "doctor"),
    "Shell": ("completion",),
}
VERBS = tuple(verb for verbs in _PANELS.values() for verb in verbs)
_GROUPS = ("alias", "config", "daemon", "job", "key", "service")
# Those of which --host may name another machine.
_REMOTE = frozenset(
    {
        *("ls", "show", "load", "unload", "pin", "unpin", "move", "reload"),
        *("predict", "submit", "job"),
        *("ps", "top", "stats", "metrics", "devices", "health"),
    }
)
_GLOBAL_FLAGS = ("--debug", "--no-autostart")
_HOST = "--host"
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> NoReturn:
    """Run ``sire`` with the arguments of this process, and exit."""
    # As other filters do: exit silently when the reader closes the pipe (`sire ls | head`).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(run(_global_options_first(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are printed on stderr."""
    try:
        if not arguments and "_SIRE_COMPLETE" not in os.environ:
            from sire_cli.terminal.overview import print_overview  # noqa: PLC0415

            return print_overview()
        with _output_errors():
            code = _app_for(arguments)(arguments, prog_name="sire", standalone_mode=False)
    except TyperException as problem:
        context = getattr(problem, "ctx", None)
        path = context.command_path if context else "sire"
        _print_error(problem.format_message(), f"Try: {path} --help")
        return getattr(problem, "exit_code", UNEXPECTED)
    except SireError as error:
        _print_error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as problem:
        _print_error(
            f"Unexpected {type(problem).__name__}: {problem}",
            "For a traceback, run: sire --debug …",
        )
        return UNEXPECTED
    return code if isinstance(code, int) else 0


@contextmanager
def _output_errors() -> Iterator[None]:
    """Report that stdout cannot be written, as on a full disk, as an error of its own.

    Raises:
        OutputNotWritten: the device of stdout is full or failed.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as problem:
        if problem.errno not in _OUTPUT_ERRORS or problem.filename is not None:
            raise
        # Python would try once more to write what is buffered, when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputNotWritten(f"Cannot write the output: {problem.strerror}.") from None


def full_app() -> typer.Typer:
    """``sire`` with all commands, for help, completion and the manual page."""
    return _app(VERBS)


def _app_for(arguments: list[str]) -> typer.Typer:
    """``sire`` with only the command that is called, because importing the others takes time."""
    skipped = {at + 1 for at, word in enumerate(arguments) if word == _HOST}
    words = (word for at, word in enumerate(arguments) if at not in skipped)
    verb = next((word for word in words if not word.startswith("-")), None)
    if "_SIRE_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
        return full_app()
    return _app((verb,)) if verb in VERBS else full_app()


def _app(verbs: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        cls=_SireGroup,
        add_completion=False,  # Typer's own scripts; ours are `sire completion`
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_sire)
    for verb in verbs:
        command = getattr(import_module(f"sire_cli.commands.{verb}"), verb)
        panel = next(panel for panel, members in _PANELS.items() if verb in members)
        if verb in _GROUPS:
            app.add_typer(command, name=verb, rich_help_panel=panel)
        else:
            app.command(verb, cls=Command, rich_help_panel=panel)(command)
    return app


class _SireGroup(CommandGroup):
    """The command ``sire`` itself."""

    order = VERBS


def _print_version(requested: bool) -> None:
    if requested:
        from sire import __version__  # noqa: PLC0415

        typer.echo(f"sire {__version__}")
        raise typer.Exit


def _sire(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(
            _HOST,
            metavar="URL",
            envvar=HOST_VARIABLE,
            help="Use the daemon behind a gateway (sire serve), with the API key in SIRE_KEY.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error.")
    ] = False,
    no_autostart: Annotated[
        bool, typer.Option("--no-autostart", help="Fail if no daemon is running.")
    ] = False,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run models on this machine's devices through one shared daemon."""
    if debug:
        os.environ["SIRE_DEBUG"] = "1"
    if no_autostart:
        os.environ["SIRE_NO_AUTOSTART"] = "1"
    if host:
        _check_remote(context.invoked_subcommand or "")
        os.environ[HOST_VARIABLE] = host


def _check_remote(verb: str) -> None:
    """Refuse a command that another machine cannot answer."""
    if verb not in _REMOTE | {"completion"}:
        raise InvalidConfiguration(
            f"sire {verb} works with this machine's daemon only.",
            hint=f"Run it on the other machine, or unset {HOST_VARIABLE}. With {_HOST} work: "
            f"{', '.join(verb for verb in VERBS if verb in _REMOTE)}.",
        )


def _global_options_first(arguments: list[str]) -> list[str]:
    """Accept the options of ``sire`` itself after the command as well."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours: list[str] = []
    others: list[str] = []
    words = iter(arguments[:end])
    for word in words:
        if word == _HOST:
            ours += [word, *itertools.islice(words, 1)]
        elif word in _GLOBAL_FLAGS or word.startswith(f"{_HOST}="):
            ours.append(word)
        else:
            others.append(word)
    return ours + others + arguments[end:]


def _print_error(message: str, hint: str) -> None:
    if "SIRE_DEBUG" in os.environ:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    text = f"sire: error: {message}\n" + (f"{hint}\n" if hint else "")
    sys.stderr.write(printable(text))
