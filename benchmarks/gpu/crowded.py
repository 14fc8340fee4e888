"""More models than fit, requested in random order: no request may run out of memory."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks.clients import SireClient
from benchmarks.gpu import files
from benchmarks.report import Figure
from benchmarks.timing import median
from sire.client.connection import Connection
from sire.errors import SireError
from sire.protocol.counts import StatsTotals
from sire.protocol.replies import StatsReport
from sire.protocol.requests import Stats
from sire.units import exact_bytes


def crowded(count: int, size: int, device: str, directory: Path, asked: int) -> Iterator[Figure]:
    """Request one answer after the other from that many models of one size.

    They share one file, which is sparse: their place in memory is what is tried here.
    """
    made = files.write_blocks(directory / "shared.safetensors", size, sparse=True)
    random, failures, seconds = Random(0), 0, []
    before = _totals()
    with ExitStack() as stack:
        clients = []
        for number in range(count):
            link = directory / f"model-{number}.safetensors"
            os.link(made.file, link)
            model = files.register(f"model-{number}", replace(made, file=link), device)
            clients.append(stack.enter_context(closing(SireClient(model))))
        for _ in range(asked):
            start = time.perf_counter()
            try:
                files.ask(random.choice(clients), made)
            except SireError as problem:
                failures += 1
                print(f"  {type(problem).__name__}: {problem}", file=sys.stderr)
            seconds.append(time.perf_counter() - start)
    after = _totals()
    name = f"{count} models of {exact_bytes(size)}, {asked} requests"
    yield Figure(f"{name}: failed", failures, "", goal=0)
    yield Figure(f"{name}: loads", after.loads - before.loads, "")
    yield Figure(f"{name}: evictions", after.evictions - before.evictions, "")
    yield Figure(f"{name}: answer, p50", median(seconds), "s")
    yield Figure(f"{name}: answer, slowest", max(seconds), "s")


def _totals() -> StatsTotals:
    with Connection(autostart=False) as connection:
        return connection.expect(StatsReport, Stats()).totals
