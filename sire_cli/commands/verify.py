"""``sire verify``."""

from typing import Annotated

import typer

from sire.exit_codes import DONE, NOT_LOADABLE
from sire.protocol.replies import VerifyReport
from sire.protocol.requests import Verify
from sire.units import format_bytes
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

_COLUMNS = ("STATE", "SIZE>", "SHA256", "FILE")


def verify(
    name: ModelName,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Trust the model as it is now: changed files, or a registration from elsewhere.",
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Compare a model's files with those that were registered.

    All files are hashed; hashes that were not known before are recorded. The exit status is 9 if a
    file has changed, is new or is missing. With --trust, a registry file that was copied from
    another machine may run the code that it names.
    """
    report = expect(VerifyReport, Verify(name=name, trust=trust))
    if json:
        print_json(report)
    elif report.files:
        print_table(
            _COLUMNS,
            [
                (one.state, format_bytes(one.size_bytes), one.sha256, one.path)
                for one in report.files
            ],
        )
    if trust:
        print_message(f"{name} is trusted as it is now.")
    elif not report.files:
        print_message(f"{name} has no files of its own.")
    elif not report.unchanged:
        print_message(f"The files of {name} are not those that were registered.")
    return DONE if report.unchanged else NOT_LOADABLE
