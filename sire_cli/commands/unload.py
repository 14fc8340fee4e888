"""``sire unload``."""

from sire.protocol.replies import Unloaded
from sire.protocol.requests import Unload
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, print_message


def unload(name: ModelName, json: AsJson = False) -> None:
    """Unload a model and free its memory; it stays registered."""
    reply = expect(Unloaded, Unload(name=name))
    if json:
        print_json(reply)
    print_message(f"Unloaded {name}." if reply.instances else f"{name} was not loaded.")
