"""Check on a GPU what the tests show with stand-ins: minutes, a line per check.

`--device cpu` tries what needs no GPU.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.gpu.first_run.checks import lines
from benchmarks.gpu.first_run.machine import Machine
from benchmarks.processes import private_daemon, wait_until_warm

# What `sire` says with the same number: there is no such device.
NO_DEVICE = 3


def main() -> int:
    """Read the options, run the checks, print their lines; returns 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.first_run", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="what to check (default cuda:0)")
    device: str = parser.parse_args().device
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no NVIDIA GPU here: nothing was checked. To try it: --device cpu")
        return NO_DEVICE
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="first-run-") as directory,
        private_daemon('[tiers]\ndram = "2GiB"\n'),
    ):
        wait_until_warm()
        for passed, line in lines(Machine(device, Path(directory))):
            failed += passed is False
            print(line, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
