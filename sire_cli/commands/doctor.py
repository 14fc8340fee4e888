"""``sire doctor``."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

from sire.exit_codes import DONE, UNEXPECTED
from sire.printable import printable
from sire_cli.doctor import Finding, examine
from sire_cli.terminal.output import AsJson, print_json


def doctor(json: AsJson = False) -> int:
    """Check this machine for problems and suggest remedies.

    Checks the driver, packages, directories, disk, limits, settings and the daemon; each is
    reported as ok, warning or problem. The exit status is 1 if there are problems.
    """
    findings = examine()
    if json:
        print_json(findings)
    else:
        _print_findings(findings)
    return UNEXPECTED if any(one.state == "problem" for one in findings) else DONE


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print one line per finding; on a terminal, wrapped below its beginning."""
    width = max(len(one.check) for one in findings)
    columns = shutil.get_terminal_size().columns
    for one in findings:
        heading = f"{one.state:<7}  {one.check:<{width}}  "
        text = heading + one.found + (f". {one.advice}" if one.advice else "")
        if sys.stdout.isatty():
            indent = " " * len(heading)
            wrapped = textwrap.wrap(
                text,
                columns,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            text = "\n".join(wrapped)
        sys.stdout.write(f"{printable(text)}\n")
