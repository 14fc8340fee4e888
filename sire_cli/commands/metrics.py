"""``sire metrics``."""

import sys

from sire.protocol.replies import MetricsReport
from sire.protocol.requests import Metrics
from sire_cli.daemon_connection import expect
from sire_cli.terminal.output import AsJson, print_json


def metrics(json: AsJson = False) -> None:
    """Print all metrics in Prometheus text format.

    Prometheus can fetch the same text over HTTP if the setting metrics.port is set.
    """
    report = expect(MetricsReport, Metrics())
    if json:
        print_json(report)
        return
    from sire.metrics import exposition  # noqa: PLC0415 (it takes a while to import)

    sys.stdout.buffer.write(exposition(report))
