"""``sire config``: the effective settings, and the file that sets them."""

import os
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration
from sire.paths import find_paths
from sire_cli.host.config_file import (
    apply_settings,
    check_settings,
    edit_copy,
    edit_file,
    effective_settings,
    lock_directory,
    read_text,
)
from sire_cli.options.completion import complete_setting
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table
from sired.config import SettingSource, kind_of

config = typer.Typer(cls=CommandGroup, invoke_without_command=True)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Setting, such as daemon.grace.", autocompletion=complete_setting
    ),
]


@config.callback()
def _config(context: typer.Context, json: AsJson = False) -> None:
    """Show, set and edit the settings.

    Without a subcommand, print every effective setting and its source.
    """
    if context.invoked_subcommand is not None:
        return
    report = effective_settings()
    if json:
        print_json(report)
        return
    rows = [(setting.key, setting.value, setting.source) for setting in report.settings]
    print_table(("SETTING", "VALUE", "SOURCE"), rows)
    print_message(f"Settings file: {report.path}")


@config.command(cls=Command)
def get(key: Key) -> None:
    """Print the effective value of one setting."""
    kind_of(key)
    found = [setting for setting in effective_settings().settings if setting.key == key]
    typer.echo(found[0].value if found else "")


@config.command("set", cls=Command)
def set_(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Value, such as 5s or 2GiB.")],
) -> None:
    """Set a value in the settings file and apply it.

    Comments and layout of the file are kept. An invalid value is rejected before anything is
    written. A running daemon reads the file again; some settings take effect only after it is
    restarted.
    """
    try:
        kind_of(key).read(value)
    except InvalidConfiguration as problem:
        if key in problem.message:
            raise
        raise InvalidConfiguration(f"{key}: {problem.message}", hint=problem.hint) from None
    from sired.config.editing import set_value  # noqa: PLC0415 (its import is slow)

    file = find_paths().config_file
    with lock_directory(file.parent):
        check_settings("--set", f"{key}={value}")
        edit_file(file, set_value(read_text(file), key, value))
    apply_settings([SettingSource(key, value, "file")])


@config.command(cls=Command)
def edit() -> None:
    """Edit the settings file with $VISUAL or $EDITOR.

    You edit a copy. It replaces the file only if it is valid; an invalid copy is kept for the next
    edit.
    """
    file = find_paths().config_file
    with lock_directory(file.parent):
        changed = edit_copy(file, os.environ)
    if changed:
        apply_settings(changed)
    else:
        print_message("No setting was changed.")


@config.command(cls=Command)
def path() -> None:
    """Print the path of the settings file."""
    typer.echo(find_paths().config_file)


@config.command(cls=Command)
def check() -> None:
    """Check the settings as the daemon would read them.

    Fails and prints the place of the first error if a setting is invalid.
    """
    check_settings()
    print_message(f"{find_paths().config_file} is valid.")
