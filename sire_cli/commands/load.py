"""``sire load``."""

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load
from sire.units import format_bytes, format_duration
from sire_cli.link import expect
from sire_cli.options.arguments import DeviceName, ModelName
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.loading_bar import loading_bar
from sire_cli.terminal.output import AsJson, print_json, say


def load(
    name: ModelName,
    device: DeviceName = "auto",
    timeout: Timeout = None,
    json: AsJson = False,
) -> None:
    """Load a model now, so that its first answer does not wait for it.

    On a terminal a bar shows how much of a large file has been read, and how fast.
    """
    wanted = None if device == "auto" else device
    request = Load(name=name, device=wanted, timeout=seconds(timeout))
    with loading_bar(name):
        instance = expect(InstanceInfo, request)
    tell(instance, json)


def tell(instance: InstanceInfo, json: bool) -> None:
    """Say where a model has been loaded."""
    if json:
        print_json(instance)
    took = "" if instance.load_seconds is None else f" in {format_duration(instance.load_seconds)}"
    say(
        f"Loaded {instance.model} on {instance.device}{took}; "
        f"it takes {format_bytes(instance.memory_bytes)}."
    )
