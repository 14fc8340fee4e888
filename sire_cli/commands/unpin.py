"""``sire unpin``."""

from sire_cli.commands.pin import set_pinned
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson


def unpin(name: ModelName, json: AsJson = False) -> None:
    """Allow a pinned model to be unloaded again."""
    set_pinned(name, json=json, pinned=False)
