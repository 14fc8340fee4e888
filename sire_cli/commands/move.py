"""``sire move``."""

from typing import Annotated

import typer

from sire.protocol.replies import InstanceInfo, Unloaded
from sire.protocol.requests import Move
from sire.units import format_bytes
from sire_cli.commands.load import tell as tell_loaded
from sire_cli.link import expect
from sire_cli.options.arguments import ModelName
from sire_cli.options.completion import complete_tier
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.output import AsJson, print_json, say

Tier = Annotated[
    str,
    typer.Argument(
        metavar="TO", help="A device, or auto; dram; or disk.", autocompletion=complete_tier
    ),
]


def move(name: ModelName, to: Tier, timeout: Timeout = None, json: AsJson = False) -> None:
    """Bring a model to a device, to sleep in main memory (dram), or back to disk.

    A model that sleeps wakes when it is asked for, much faster than it would load.
    """
    asked = Move(name=name, to=to, timeout=seconds(timeout))
    if to == "disk":
        reply = expect(Unloaded, asked)
        if json:
            print_json(reply)
        say(f"Moved {name} to disk." if reply.instances else f"{name} was not loaded.")
    elif to == "dram":
        _tell_asleep(expect(InstanceInfo, asked), json)
    else:
        tell_loaded(expect(InstanceInfo, asked), json)


def _tell_asleep(instance: InstanceInfo, json: bool) -> None:
    if json:
        print_json(instance)
    say(
        f"{instance.model} sleeps: {format_bytes(instance.dram_bytes)} of main memory, and still "
        f"{format_bytes(instance.memory_bytes)} of {instance.device}."
    )
