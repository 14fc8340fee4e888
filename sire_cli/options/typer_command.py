"""Typer commands with a fast parser and plain, grouped help.

Everything that works around Typer is in this file:

* Typer converts the text of options with pydantic, whose import takes as long as the rest of
  ``sire predict``. Text that stays text, and flags, bypass it.
* Typer shows help panels only through rich, whose import takes longer than most commands. Plain
  help is grouped here, by the same ``rich_help_panel`` names.
* Typer shows Python types (``NAME <str>``) and braces (``{NAME}``) for values. Here a value is
  shown as its metavar, or as the option's name in capitals.
* Typer takes the last value of an option that is given twice. Here that is an error, unless the
  option takes several values.
* Typer lists groups after all commands. Here both are listed in the order given by ``order``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import typer.core

_TAKEN_AS_GIVEN = (str, list[str], bool)
# A shorter list of options is easier to read in one piece.
_FEWEST_GROUPED_OPTIONS = 8
_DEFAULT_OPTIONS_PANEL = "Options"
_DEFAULT_COMMANDS_PANEL = "Commands"
# Spaces around the two columns of a list.
_MARGIN = 4

_Rows = list[tuple[str, str]]


def placeholder(parameter: Any) -> str:
    """The name that stands for a parameter's value: its metavar, or its own name in capitals."""
    return str(parameter.metavar or parameter.name.upper().replace("_", "-"))


class _PlainHelp:
    """Mixin: plain usage lines and grouped lists of options; repeated options are errors."""

    def parse_args(self: Any, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of one invocation."""
        _take_as_given(self.get_params(ctx))
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        _reject_repeated(given, ctx)
        rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return rest

    def collect_usage_pieces(self: Any, ctx: Any) -> list[str]:
        """The usage line, piece by piece: ``[OPTIONS] NAME [FILE...]``."""
        pieces = [self.options_metavar] if self.options_metavar else []
        arguments = _of_type(self.get_params(ctx), "argument")
        pieces += [_usage(argument) for argument in arguments]
        metavar = getattr(self, "subcommand_metavar", None)
        if metavar and self.invoke_without_command:
            metavar = f"[{metavar}]"
        return [*pieces, metavar] if metavar else pieces

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options by panel, then the commands of a group."""
        parameters = self.get_params(ctx)
        arguments = [
            (_repeated(one), one.get_help_record(ctx)[1])
            for one in _of_type(parameters, "argument")
        ]
        options = [one for one in _of_type(parameters, "option") if not one.hidden]
        _write_panels(formatter, {"Arguments": arguments} | _option_panels(options, ctx))
        if hasattr(self, "commands"):
            self.format_commands(ctx, formatter)


class Command(_PlainHelp, typer.core.TyperCommand):
    """A command."""


class CommandGroup(_PlainHelp, typer.core.TyperGroup):
    """A command with subcommands.

    Attributes:
        order: the subcommands as help lists them; those not named follow.
    """

    order: ClassVar[Sequence[str]] = ()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names of the subcommands, in the order of the help."""
        named = [name for name in self.order if name in self.commands]
        return [*named, *(name for name in self.commands if name not in named)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the first sentence of every subcommand, by panel."""
        shown = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        widest = max(len(name) for name, _ in shown)
        panels: dict[str, _Rows] = {}
        for name, command in shown:
            panel = getattr(command, "rich_help_panel", None)
            # Typer's own placeholder for "not given" is not text.
            title = panel if isinstance(panel, str) else _DEFAULT_COMMANDS_PANEL
            sentence = command.get_short_help_str(formatter.width - widest - _MARGIN)
            panels.setdefault(title, []).append((name, sentence))
        _write_panels(formatter, panels)


def _of_type(parameters: Iterable[Any], kind: str) -> list[Any]:
    return [one for one in parameters if one.param_type_name == kind]


def _repeated(argument: Any) -> str:
    return placeholder(argument) + ("..." if argument.nargs != 1 else "")


def _usage(argument: Any) -> str:
    return _repeated(argument) if argument.required else f"[{_repeated(argument)}]"


def _option_panels(options: list[Any], ctx: Any) -> dict[str, _Rows]:
    """The rows of each panel, in the order of the options; the default panel is last."""
    grouped = len(options) >= _FEWEST_GROUPED_OPTIONS
    panels: dict[str, _Rows] = {}
    for option in options:
        panel = getattr(option, "rich_help_panel", None) if grouped else None
        if option.metavar is None and not option.is_flag:
            option.metavar = placeholder(option)
        row = option.get_help_record(ctx)
        panels.setdefault(panel or _DEFAULT_OPTIONS_PANEL, []).append(row)
    return panels | {_DEFAULT_OPTIONS_PANEL: panels.pop(_DEFAULT_OPTIONS_PANEL, [])}


def _write_panels(formatter: Any, panels: dict[str, _Rows]) -> None:
    """Write each panel below its title, with descriptions that begin in the same column."""
    widest = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
    for title, rows in panels.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), text) for name, text in rows], widest)


def _reject_repeated(given: Sequence[Any], ctx: Any) -> None:
    """Fail if an option that takes one value is among these parameters more than once."""
    counts = Counter(one for one in given if one.param_type_name == "option" and not one.is_flag)
    for option, count in counts.items():
        if count > 1 and not option.multiple:
            ctx.fail(f"{option.opts[0]} must be given at most once (got {count} times).")


def _take_as_given(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        descriptor = getattr(parameter, "type_descriptor", None)
        # Other versions of Typer have no such attribute, and no pydantic either.
        plain = descriptor and descriptor.annotation in _TAKEN_AS_GIVEN and not descriptor.choices
        if plain and hasattr(parameter, "_runtime_param"):
            parameter._runtime_param = _AsGiven()  # noqa: SLF001


class _AsGiven:
    """Replaces the pydantic adapter of a parameter."""

    def coerce(self, value: str | Iterable[str] | None, param: Any, ctx: Any) -> Any:  # noqa: ARG002
        if param.multiple or param.nargs == -1:
            return list(value or ())
        return value
