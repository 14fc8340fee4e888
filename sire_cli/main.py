"""The entry point: finds the verb, runs it, and turns what goes wrong into words and a code."""

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from sire.errors import SireError
from sire_cli.exit_codes import INTERRUPTED, UNEXPECTED, exit_code
from sire_cli.options.typer_command import Command, CommandGroup

# In the order of the help. A verb lives in the module of its name, as a function or as a group.
VERBS = (
    "register",
    "estimate",
    "ls",
    "show",
    "rm",
    "load",
    "unload",
    "pin",
    "unpin",
    "move",
    "reload",
    "predict",
    "submit",
    "job",
    "bench",
    "ps",
    "stats",
    "metrics",
    "top",
    "devices",
    "health",
    "doctor",
    "config",
    "logs",
    "daemon",
    "completion",
)
_GROUPS = ("config", "daemon", "job")
_ANYWHERE = ("--debug", "--no-autostart")


def main() -> NoReturn:
    """Run ``sire`` with the arguments of this process, and exit."""
    # As other filters do: end quietly when nobody reads on (`sire ls | head`).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(run(_global_options_first(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are said on stderr."""
    try:
        if not arguments and "_SIRE_COMPLETE" not in os.environ:
            from sire_cli.terminal.welcome import welcome  # noqa: PLC0415

            return welcome()
        code = _app_for(arguments)(arguments, prog_name="sire", standalone_mode=False)
    except TyperException as problem:
        context = getattr(problem, "ctx", None)
        path = context.command_path if context else "sire"
        _say_error(problem.format_message(), f"Try: {path} --help")
        return getattr(problem, "exit_code", UNEXPECTED)
    except SireError as error:
        _say_error(error.message, error.hint)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as problem:
        _say_error(f"Unexpected {type(problem).__name__}: {problem}", "See where: sire --debug …")
        return UNEXPECTED
    return code if isinstance(code, int) else 0


def full_app() -> typer.Typer:
    """The command with all of its verbs, for help, completion and the manual page."""
    return _app(VERBS)


def _app_for(arguments: list[str]) -> typer.Typer:
    """The command with the one verb that is called: importing the others takes time."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if "_SIRE_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
        return full_app()
    return _app((verb,)) if verb in VERBS else full_app()


def _app(verbs: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        cls=CommandGroup,
        add_completion=False,  # Typer's own scripts; ours are `sire completion`
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_sire)
    for verb in verbs:
        command = getattr(import_module(f"sire_cli.commands.{verb}"), verb)
        if verb in _GROUPS:
            app.add_typer(command, name=verb)
        else:
            app.command(verb, cls=Command)(command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from sire import __version__  # noqa: PLC0415

        typer.echo(f"sire {__version__}")
        raise typer.Exit


def _sire(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    no_autostart: Annotated[
        bool, typer.Option("--no-autostart", help="Fail when no daemon runs; start none.")
    ] = False,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run models on this machine's devices; one daemon shares them out among all who ask."""
    if debug:
        os.environ["SIRE_DEBUG"] = "1"
    if no_autostart:
        os.environ["SIRE_NO_AUTOSTART"] = "1"


def _global_options_first(arguments: list[str]) -> list[str]:
    """Let the options of ``sire`` itself stand behind the verb as well."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours = [word for word in arguments[:end] if word in _ANYWHERE]
    return ours + [word for word in arguments[:end] if word not in _ANYWHERE] + arguments[end:]


def _say_error(message: str, hint: str) -> None:
    if "SIRE_DEBUG" in os.environ:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    sys.stderr.write(f"sire: error: {message}\n" + (f"{hint}\n" if hint else ""))
