"""``sire reload``."""

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Reload
from sire_cli.commands.load import print_loaded
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.loading_bar import loading_bar
from sire_cli.terminal.output import AsJson


def reload(name: ModelName, timeout: Timeout = None, json: AsJson = False) -> None:
    """Unload a model and load it again from its file."""
    request = Reload(name=name, timeout=seconds(timeout))
    with loading_bar(name):
        instance = expect(InstanceInfo, request)
    print_loaded(instance, json)
