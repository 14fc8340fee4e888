"""Measure what ten thousand models and a thousand queued requests cost; three minutes."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Figure, hardware, save, table
from benchmarks.scale import daemons, decisions


def main() -> None:
    """Measure the scheduler alone, then two daemons; print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    given = parser.parse_args()
    figures = []
    for figure in _figures():
        figures.append(figure)
        # Minutes pass: say what there is so far, to people only.
        print(f"  {figure.name}", file=sys.stderr)
    print(f"{hardware()}\n\n{table(figures)}")
    if given.json:
        save(figures, given.json)


def _figures() -> Iterator[Figure]:
    yield from decisions.measure()
    yield from daemons.measure()


if __name__ == "__main__":
    main()
