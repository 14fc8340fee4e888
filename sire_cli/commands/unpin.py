"""``sire unpin``."""

from sire_cli.commands.pin import set_pinned
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson


def unpin(name: ModelName, json: AsJson = False) -> None:
    """Let a pinned model be unloaded like any other again."""
    set_pinned(name, json=json, pinned=False)
