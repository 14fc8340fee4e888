"""``sire doctor``."""

import sys

from sire_cli.doctor import examine
from sire_cli.exit_codes import DONE, UNEXPECTED
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
        width = max(len(one.check) for one in findings)
        for one in findings:
            advice = f". {one.advice}" if one.advice else ""
            sys.stdout.write(f"{one.state:<7}  {one.check:<{width}}  {one.found}{advice}\n")
    return UNEXPECTED if any(one.state == "problem" for one in findings) else DONE
