"""``sire pin``."""

from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Pin
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, print_message


def pin(name: ModelName, json: AsJson = False) -> None:
    """Exempt a model from eviction and idle unloading."""
    set_pinned(name, json=json, pinned=True)


def set_pinned(name: str, *, json: bool, pinned: bool) -> None:
    """Pin or unpin a model and print the result."""
    model = expect(ModelInfo, Pin(name=name, pinned=pinned))
    if json:
        print_json(model)
    loaded = (
        "it stays loaded."
        if model.instances
        else f"it stays loaded once it is loaded. Load it: sire load {name}"
    )
    print_message(f"Pinned {name}: {loaded}" if pinned else f"Unpinned {name}.")
