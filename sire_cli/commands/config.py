"""``sire config``."""

from sire_cli.link import expect
from sire_cli.output import AsJson, print_json, print_table, say
from sired.protocol.replies import ConfigReport
from sired.protocol.requests import ShowConfig


def config(json: AsJson = False) -> None:
    """Show every setting in force and where it came from."""
    report = expect(ConfigReport, ShowConfig())
    if json:
        print_json(report)
        return
    rows = [(setting.key, setting.value, setting.source) for setting in report.settings]
    print_table(("SETTING", "VALUE", "FROM"), rows)
    say(f"The file is {report.path}")
