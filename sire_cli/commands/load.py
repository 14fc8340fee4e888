"""``sire load``."""

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load
from sire.units import format_bytes, format_duration
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import DeviceName, ModelName
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.loading_bar import loading_bar
from sire_cli.terminal.output import AsJson, print_json, print_message


def load(
    name: ModelName,
    device: DeviceName = "auto",
    timeout: Timeout = None,
    json: AsJson = False,
) -> None:
    """Load a model now, before a request needs it.

    On a terminal, a bar shows how much of a large file has been read, and how fast.
    """
    chosen = None if device == "auto" else device
    request = Load(name=name, device=chosen, timeout=seconds(timeout))
    with loading_bar(name):
        instance = expect(InstanceInfo, request)
    print_loaded(instance, json)


def print_loaded(instance: InstanceInfo, json: bool) -> None:
    """Print where a model was loaded, how fast, and its memory."""
    if json:
        print_json(instance)
    took = "" if instance.load_seconds is None else f" in {format_duration(instance.load_seconds)}"
    print_message(
        f"Loaded {instance.model} on {instance.device}{took}; "
        f"it uses {format_bytes(instance.memory_bytes)}."
    )
    for file in instance.changed_files:
        print_message(
            f"{file} has changed since {instance.model} was registered; its size, fingerprint and "
            "footprint were taken anew."
        )
