"""A package's own answer, in a process of its own: python -m benchmarks.real.truth CASE DIRECTORY.

Runs in the environment of the packages. Leaves the input files and truth.pickle in the directory.
"""

import pickle
import sys
from pathlib import Path

from benchmarks.real.cases import CASES

FILE = "truth.pickle"


def main() -> None:
    """Write what one case's package answers."""
    name, directory = sys.argv[1], Path(sys.argv[2])
    case = next(case for case in CASES if case.name == name)
    answer = dict(case.truth(directory))
    (directory / FILE).write_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    main()
