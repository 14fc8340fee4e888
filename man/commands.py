"""The commands of sire(1), from the same descriptions as ``--help``."""

from collections.abc import Iterator
from typing import Any

import typer.main

from man.roff import bold, heading, italic, item, paragraphs, text
from sire_cli.main import full_app
from sire_cli.options.typer_command import placeholder


def global_options() -> str:
    """The options that precede a command."""
    return "".join(map(_option, _options(_sire())))


def commands_section() -> str:
    """Every command with its synopsis, description, arguments and options."""
    return "".join(_command(path, command) for path, command in _walk("sire", _sire()))


def _sire() -> Any:
    return typer.main.get_command(full_app())


def _walk(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Every command below a group, with its full name; groups that do nothing are skipped."""
    for name in group.list_commands(None):
        command = group.commands[name]
        if getattr(command, "commands", None):
            if command.invoke_without_command:
                yield f"{path} {name}", command
            yield from _walk(f"{path} {name}", command)
        elif not command.hidden:
            yield f"{path} {name}", command


def _command(path: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    called = [bold(path), *map(_bracketed, _options(command)), *map(_argument, arguments)]
    explained = [item(italic(placeholder(one)), one.help) for one in arguments if one.help]
    return "".join(
        [
            heading(path.removeprefix("sire ")),
            " ".join(called) + "\n.PP\n",
            paragraphs(command.help or ""),
            *explained,
            *map(_option, _options(command)),
        ]
    )


def _options(command: Any) -> list[Any]:
    """The options to describe; --help is described once for all commands."""
    options = [one for one in command.params if one.param_type_name == "option"]
    return [one for one in options if not one.hidden and "--help" not in one.opts]


def _option(option: Any) -> str:
    names = [*sorted(option.opts, key=len), *option.secondary_opts]
    value = "" if option.is_flag else f" {italic(placeholder(option))}"
    description = option.help or ""
    if option.default and option.default is not True and not callable(option.default):
        description += f" Default: {option.default}."
    return item(", ".join(map(bold, names)) + value, description)


def _bracketed(option: Any) -> str:
    value = "" if option.is_flag else f" {italic(placeholder(option))}"
    name = bold(max(option.opts, key=len))
    more = text("...") if option.multiple else ""
    return f"{name}{value}{more}" if option.required else f"[{name}{value}]{more}"


def _argument(argument: Any) -> str:
    name = italic(placeholder(argument))
    more = text(" ...") if argument.nargs != 1 else ""
    return f"{name}{more}" if argument.required else f"[{name}{more}]"
