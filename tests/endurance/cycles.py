"""Loads, predicts and unloads again and again, and looks at what that leaves behind."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from sire.client.connection import Connection
from sire.protocol.requests import Load, Predict, Unload
from tests.waiting import wait_until

# Above this a payload travels in shared memory.
SMALL_INPUT = b"[[1.0, 1.0, 1.0, 1.0]]"
LARGE_INPUT = b"[" + b",".join([SMALL_INPUT[1:-1]] * 5000) + b"]"


@dataclass(frozen=True)
class Held:
    """What a daemon and its zygote hold when no model is loaded; ``memory`` in bytes."""

    memory: int
    descriptors: int
    threads: int
    processes: int
    segments: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All but the memory."""
        return self.descriptors, self.threads, self.processes, self.segments


def settled(pid: int) -> Held:
    """What the daemon of that pid holds once two looks in a row count the same.

    A thread or a descriptor that is about to come up or to go is counted by the next look.
    """
    looks = [look(pid)]

    def same() -> bool:
        looks.append(look(pid))
        return looks[-1].counts == looks[-2].counts

    wait_until(same)
    return looks[-1]


def look(pid: int) -> Held:
    """What the daemon of that pid holds now."""
    daemon = psutil.Process(pid)
    children = daemon.children(recursive=True)
    there = [daemon, *children]
    return Held(
        memory=sum(process.memory_full_info().uss for process in there),
        descriptors=sum(process.num_fds() for process in there),
        threads=sum(process.num_threads() for process in there),
        processes=len(there),
        segments=len(list(Path("/dev/shm").glob(f"*sire*{os.getuid()}*"))),
    )


def cycle(connection: Connection, pid: int, model: str, count: int, every: int) -> Iterator[Held]:
    """Load a model, have it answer a small and a large input, and unload it, ``count`` times.

    Yields:
        What is held after each ``every`` of them.
    """
    for number in range(1, count + 1):
        connection.ask(Load(name=model))
        for body in (SMALL_INPUT, LARGE_INPUT):
            connection.ask(Predict(model=model), [body])
        connection.ask(Unload(name=model))
        if number % every == 0:
            yield settled(pid)


def growth(values: list[int], every: int) -> float:
    """By how much values grow per cycle, the largest step left out.

    One step is no growth: the zygote takes one when it brings its memory into huge pages.
    """
    steps = sorted(later - value for value, later in pairwise(values))
    return sum(steps[:-1]) / (every * len(steps[:-1]))
