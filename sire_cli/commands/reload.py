"""``sire reload``."""

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Reload
from sire_cli.commands.load import tell
from sire_cli.link import expect
from sire_cli.options.arguments import ModelName
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.loading_bar import loading_bar
from sire_cli.terminal.output import AsJson


def reload(name: ModelName, timeout: Timeout = None, json: AsJson = False) -> None:
    """Read a model's file again: unload it, then load it."""
    request = Reload(name=name, timeout=seconds(timeout))
    with loading_bar(name):
        instance = expect(InstanceInfo, request)
    tell(instance, json)
