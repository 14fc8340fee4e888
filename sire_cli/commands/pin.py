"""``sire pin``."""

from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Pin
from sire_cli.link import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, say


def pin(name: ModelName, json: AsJson = False) -> None:
    """Keep a model loaded once it is: neither idleness nor other models end it."""
    set_pinned(name, json=json, pinned=True)


def set_pinned(name: str, *, json: bool, pinned: bool) -> None:
    """Have a model pinned or not, and say so."""
    model = expect(ModelInfo, Pin(name=name, pinned=pinned))
    if json:
        print_json(model)
    loaded = (
        "it stays loaded."
        if model.instances
        else f"once it is loaded, it stays. Try: sire load {name}"
    )
    say(f"Pinned {name}: {loaded}" if pinned else f"{name} is pinned no more.")
