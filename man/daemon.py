"""The options of sired(8), from its own parser."""

import argparse

from man.roff import bold, italic, item
from sired.__main__ import parser


def daemon_options() -> str:
    """Every option with its description."""
    actions = parser()._actions  # noqa: SLF001  # argparse has no other way to list them
    return "".join(_option(action) for action in actions)


def _option(action: argparse.Action) -> str:
    takes_value = action.nargs != 0
    value = f" {italic(str(action.metavar or action.dest.upper()))}" if takes_value else ""
    description = action.help or ""
    return item(
        ", ".join(map(bold, action.option_strings)) + value,
        f"{description[:1].upper()}{description[1:]}.",
    )
