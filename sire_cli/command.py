"""How every verb becomes a Typer command, without paying for what it does not use."""

from collections.abc import Iterable
from typing import Any

import typer.core

# Typer converts the text of an option by pydantic, whose import takes as long as everything else
# `sire predict` does. Text that stays text needs no conversion.
_TEXT = (str, list[str])


class Command(typer.core.TyperCommand):
    """A command whose text parameters are taken as they are given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of one invocation."""
        for parameter in self.params:
            descriptor = getattr(parameter, "type_descriptor", None)
            # Other versions of Typer have no such attribute, and no pydantic either.
            text = descriptor and descriptor.annotation in _TEXT and not descriptor.choices
            if text and hasattr(parameter, "_runtime_param"):
                parameter._runtime_param = _AsGiven()  # noqa: SLF001
        return super().parse_args(ctx, args)


class _AsGiven:
    """Stands where Typer would put a pydantic adapter."""

    def coerce(self, value: str | Iterable[str] | None, param: Any, ctx: Any) -> Any:  # noqa: ARG002
        if param.multiple or param.nargs == -1:
            return list(value or ())
        return value
