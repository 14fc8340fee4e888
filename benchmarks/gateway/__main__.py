"""Measure the gateway, print the table and keep it in ``results/gateway.json``."""

import sys
from collections.abc import Iterator

from benchmarks import processes
from benchmarks.gateway.chat import chat
from benchmarks.gateway.footprint import footprint
from benchmarks.gateway.predictions import LARGE_GOALS, SMALL_GOALS, predictions
from benchmarks.report import RESULTS, Figure, hardware, save, summary, table
from benchmarks.served import serve
from benchmarks.workloads import LARGE, SMALL


def main() -> None:
    """Run every benchmark of the gateway; about four minutes."""
    figures = []
    for figure in _figures():
        figures.append(figure)
        print(f"  {figure.name}", file=sys.stderr)  # minutes pass
    print(f"{hardware()}\n\n{table(figures)}\n\n{summary(figures)}")
    save(figures, RESULTS.with_name("gateway.json"))


def _figures() -> Iterator[Figure]:
    with processes.private_daemon() as home:
        processes.wait_until_warm()
        small, large = serve(SMALL, home), serve(LARGE, home)
        yield from predictions(small, SMALL_GOALS)
        yield from predictions(large, LARGE_GOALS)
        yield from chat()
        yield from footprint()


if __name__ == "__main__":
    main()
