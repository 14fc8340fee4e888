"""``sire unload``."""

from sire_cli.arguments import ModelName
from sire_cli.link import expect
from sire_cli.output import AsJson, print_json, say
from sired.protocol.replies import Unloaded
from sired.protocol.requests import Unload


def unload(name: ModelName, json: AsJson = False) -> None:
    """Unload a model and free its memory; it stays registered."""
    reply = expect(Unloaded, Unload(name=name))
    if json:
        print_json(reply)
    say(f"Unloaded {name}." if reply.instances else f"{name} was not loaded.")
