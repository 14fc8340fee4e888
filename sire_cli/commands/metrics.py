"""``sire metrics``."""

import sys

from sire.protocol.replies import MetricsReport
from sire.protocol.requests import Metrics
from sire_cli.link import expect
from sire_cli.terminal.output import AsJson, print_json


def metrics(json: AsJson = False) -> None:
    """Print what is counted and how things stand, as Prometheus reads it.

    The same can be fetched over HTTP from the port that the setting metrics.port names.
    """
    report = expect(MetricsReport, Metrics())
    if json:
        print_json(report)
        return
    from sire.metrics import exposition  # noqa: PLC0415 (it takes a while to import)

    sys.stdout.buffer.write(exposition(report))
