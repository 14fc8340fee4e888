"""``sire config``: the settings, in force and in their file."""

import os
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration
from sire.paths import find_paths
from sire_cli.host.config_file import (
    adopt,
    check_settings,
    edit_copy,
    edit_file,
    in_force,
    one_at_a_time,
    read_text,
)
from sire_cli.options.completion import complete_setting
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_table, say
from sired.config import SettingSource, kind_of
from sired.config.editing import set_value

config = typer.Typer(cls=CommandGroup, invoke_without_command=True)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="A setting, like daemon.grace.", autocompletion=complete_setting
    ),
]


@config.callback()
def _config(context: typer.Context, json: AsJson = False) -> None:
    """Show every setting in force and where it came from; set one, or edit the file."""
    if context.invoked_subcommand is not None:
        return
    report = in_force()
    if json:
        print_json(report)
        return
    rows = [(setting.key, setting.value, setting.source) for setting in report.settings]
    print_table(("SETTING", "VALUE", "FROM"), rows)
    say(f"The file is {report.path}")


@config.command(cls=Command)
def get(key: Key) -> None:
    """Print the value of one setting, as it is in force."""
    kind_of(key)
    found = [setting for setting in in_force().settings if setting.key == key]
    typer.echo(found[0].value if found else "")


@config.command("set", cls=Command)
def set_(
    key: Key, value: Annotated[str, typer.Argument(metavar="VALUE", help="Like 5s or 2GiB.")]
) -> None:
    """Write a setting into the file; the running daemon reads it again.

    The rest of the file stays as it is. What cannot be is refused, and nothing is written.
    """
    try:
        kind_of(key).read(value)
    except InvalidConfiguration as problem:
        if key in problem.message:
            raise
        raise InvalidConfiguration(f"{key}: {problem.message}", hint=problem.hint) from None
    file = find_paths().config_file
    with one_at_a_time(file.parent):
        check_settings("--set", f"{key}={value}")
        text, comments = set_value(read_text(file), key, value)
        edit_file(file, text)
    if not comments:
        say(f"{file} was written anew; its comments are gone.")
    adopt([SettingSource(key, value, "file")])


@config.command(cls=Command)
def edit() -> None:
    """Edit the file with $VISUAL or $EDITOR; it is checked before it takes the old one's place."""
    file = find_paths().config_file
    with one_at_a_time(file.parent):
        changed = edit_copy(file, os.environ)
    if changed:
        adopt(changed)
    else:
        say("Nothing has changed.")


@config.command(cls=Command)
def path() -> None:
    """Print where the file is, or would be."""
    typer.echo(find_paths().config_file)


@config.command(cls=Command)
def check() -> None:
    """Read the settings as a daemon would; fail, and say where, when something is wrong."""
    check_settings()
    say(f"{find_paths().config_file} is as it should be.")
