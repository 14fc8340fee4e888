"""``sire doctor``."""

import sys

from sire_cli.doctor import examine
from sire_cli.exit_codes import DONE, UNEXPECTED
from sire_cli.terminal.output import AsJson, print_json


def doctor(json: AsJson = False) -> int:
    """Look for what keeps models from running well here, and say what to do about it.

    Driver, packages, directories, disk, limits, settings and the daemon: each is ok, a warning or a
    problem. The exit status is 1 when there are problems.
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
