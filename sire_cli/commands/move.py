"""``sire move``."""

from typing import Annotated

import typer

from sire.protocol.replies import InstanceInfo, Unloaded
from sire.protocol.requests import Move
from sire.units import format_bytes
from sire_cli.commands.load import print_loaded
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.options.completion import complete_tier
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.output import AsJson, print_json, print_message

Tier = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A device, auto, dram or disk.", autocompletion=complete_tier
    ),
]


def move(name: ModelName, to: Tier, timeout: Timeout = None, json: AsJson = False) -> None:
    """Move a model to a device, to main memory or to disk.

    In main memory (dram) a model is asleep: the next request wakes it, which is much faster than
    loading it. Moving a model to disk unloads it.
    """
    request = Move(name=name, to=to, timeout=seconds(timeout))
    if to == "disk":
        reply = expect(Unloaded, request)
        if json:
            print_json(reply)
        print_message(f"Moved {name} to disk." if reply.instances else f"{name} was not loaded.")
    elif to == "dram":
        _print_asleep(expect(InstanceInfo, request), json)
    else:
        print_loaded(expect(InstanceInfo, request), json)


def _print_asleep(instance: InstanceInfo, json: bool) -> None:
    if json:
        print_json(instance)
    print_message(
        f"{instance.model} is asleep: it uses {format_bytes(instance.dram_bytes)} of main memory "
        f"and {format_bytes(instance.memory_bytes)} on {instance.device}."
    )
