"""Measure everything once, print the table and keep it in ``results/latest.json``."""

import sys
from collections.abc import Iterator

import numpy as np

from benchmarks import processes, serving
from benchmarks.loading import loading
from benchmarks.report import Figure, hardware, save, summary, table
from benchmarks.served import serve
from benchmarks.workloads import LARGE, SMALL


def main() -> None:
    """Run every benchmark; about four minutes."""
    figures = []
    for figure in _figures():
        figures.append(figure)
        # Minutes pass: say what there is so far, to people only.
        print(f"  {figure.name}", file=sys.stderr)
    print(f"{hardware()}\n\n{table(figures)}\n\n{summary(figures)}")
    save(figures)


def _figures() -> Iterator[Figure]:
    with processes.private_daemon() as home:
        yield from processes.start_up()
        processes.wait_until_warm()
        small, large = serve(SMALL, home), serve(LARGE, home)
        yield from serving.measure(small)
        yield from serving.measure(large)
        yield from serving.cold_start(SMALL)
        yield from loading(home)
        data = home / "input.npy"
        np.save(data, np.zeros(SMALL.shape, np.float32))
        yield from processes.commands(SMALL, small.weights, data)
        yield from processes.footprints()


if __name__ == "__main__":
    main()
