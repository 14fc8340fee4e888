"""The entry point: runs a command; an error becomes a message on stderr and an exit code."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from sire.errors import SireError
from sire.exit_codes import INTERRUPTED, UNEXPECTED
from sire.printable import printable
from sire_cli.errors import OutputNotWritten
from sire_cli.options.typer_command import Command, CommandGroup

# The commands by the panel of the help that lists them, in that order. Each is a function or a
# group of the same name in the module of the same name.
_PANELS = {
    "Models": (
        "register",
        "estimate",
        "ls",
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
    "Requests": ("predict", "bench", "serve", "key"),
    "Jobs": ("submit", "job"),
    "Observe": ("ps", "top", "stats", "metrics", "devices", "health", "logs"),
    "Daemon": ("daemon", "config", "doctor"),
    "Shell": ("completion",),
}
VERBS = tuple(verb for verbs in _PANELS.values() for verb in verbs)
_GROUPS = ("config", "daemon", "job", "key")
_GLOBAL_OPTIONS = ("--debug", "--no-autostart")
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
    verb = next((word for word in arguments if not word.startswith("-")), None)
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


def _global_options_first(arguments: list[str]) -> list[str]:
    """Accept the options of ``sire`` itself after the command as well."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours = [word for word in arguments[:end] if word in _GLOBAL_OPTIONS]
    others = [word for word in arguments[:end] if word not in _GLOBAL_OPTIONS]
    return ours + others + arguments[end:]


def _print_error(message: str, hint: str) -> None:
    if "SIRE_DEBUG" in os.environ:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    text = f"sire: error: {message}\n" + (f"{hint}\n" if hint else "")
    sys.stderr.write(printable(text))
