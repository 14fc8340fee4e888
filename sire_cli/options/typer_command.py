"""How every verb becomes a Typer command, without paying for what it does not use."""

from collections.abc import Iterable
from typing import Any

import typer.core

# Typer converts the text of an option by pydantic, whose import takes as long as everything else
# `sire predict` does. Text that stays text and flags need no conversion.
_AS_THEY_ARE = (str, list[str], bool)


class Command(typer.core.TyperCommand):
    """A command whose text parameters and flags are taken as they are given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of one invocation."""
        _take_as_given(self.get_params(ctx))
        return super().parse_args(ctx, args)


class CommandGroup(typer.core.TyperGroup):
    """A command of commands; its own options are taken as they are given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments in front of the verb."""
        _take_as_given(self.get_params(ctx))
        return super().parse_args(ctx, args)


def _take_as_given(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        descriptor = getattr(parameter, "type_descriptor", None)
        # Other versions of Typer have no such attribute, and no pydantic either.
        plain = descriptor and descriptor.annotation in _AS_THEY_ARE and not descriptor.choices
        if plain and hasattr(parameter, "_runtime_param"):
            parameter._runtime_param = _AsGiven()  # noqa: SLF001


class _AsGiven:
    """Stands where Typer would put a pydantic adapter."""

    def coerce(self, value: str | Iterable[str] | None, param: Any, ctx: Any) -> Any:  # noqa: ARG002
        if param.multiple or param.nargs == -1:
            return list(value or ())
        return value
