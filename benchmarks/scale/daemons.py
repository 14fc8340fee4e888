"""A daemon with many models compared with one with few, and with many waiting requests."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import zmq

from benchmarks.report import Figure
from benchmarks.scale.homes import SLEEPER, Home, home_of
from benchmarks.timing import in_turns, median, timed
from benchmarks.workloads import SMALL
from sire.protocol.framing import encode
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Predict

FEW, MANY, WAITING = 10, 10_000, 1_000
# What many models may cost beyond what few do.
ALLOWED = 1.1
STARTS, COMMANDS = 5, 15
ROUNDS, CALLS = 60, 40

Homes = Mapping[str, Home]


def measure() -> Iterator[Figure]:
    """Start, `sire ls`, `sire predict` and answers, each daemon in its turn; two minutes."""
    with home_of(FEW) as few, home_of(MANY) as many:
        homes = {f"{FEW} models": few, f"{MANY:,} models": many}
        yield from _starts(homes)
        for home in homes.values():
            home.warm_up()
        yield from _commands(homes, "ls")
        data = few.paths.data / "input.npy"
        np.save(data, np.zeros(SMALL.shape, np.float32))
        yield from _commands(homes, "predict", SMALL.model, "-i", str(data), goal=ALLOWED)
        yield from _answers(homes, "answer")
        with ExitStack() as stack:
            for home in homes.values():
                stack.enter_context(_many_wait(home))
            yield from _answers(homes, f"answer while {WAITING:,} requests wait")


def _starts(homes: Homes) -> Iterator[Figure]:
    """Measure from start to first answer; the daemons keep running."""
    seconds: dict[str, list[float]] = {name: [] for name in homes}
    for _ in range(STARTS + 1):
        for name, home in homes.items():
            home.stop()
            seconds[name].append(timed(home.start))
    # The first start of each found its files on disk only.
    yield from _compared("daemon start to first answer", {n: s[1:] for n, s in seconds.items()})


def _commands(homes: Homes, *command: str, goal: float | None = None) -> Iterator[Figure]:
    """Measure a whole ``sire`` process."""
    actions = {name: partial(_run, home, *command) for name, home in homes.items()}
    seconds = in_turns(actions, rounds=COMMANDS)
    yield from _compared(f"`sire {command[0]}`, whole process", seconds, goal)


def _answers(homes: Homes, what: str) -> Iterator[Figure]:
    """Measure a prediction of a ready model, over an open connection."""
    with ExitStack() as stack:
        connections = {name: stack.enter_context(home.connect()) for name, home in homes.items()}
        actions = {
            name: partial(connection.ask, SMALL.request, [SMALL.data])
            for name, connection in connections.items()
        }
        seconds = in_turns(actions, rounds=ROUNDS, calls=CALLS)
    yield from _compared(what, seconds, ALLOWED)


def _compared(
    what: str, seconds: Mapping[str, list[float]], goal: float | None = None
) -> Iterator[Figure]:
    """Return the medians, and the ratio of many models to few."""
    medians = {name: median(taken) for name, taken in seconds.items()}
    for name, value in medians.items():
        yield Figure(f"{what}, {name}, p50", value, "s")
    few, many = medians.values()
    yield Figure(f"{what}: {MANY:,} against {FEW} models", many / few, "x", goal=goal)


@contextmanager
def _many_wait(home: Home) -> Iterator[None]:
    """Keep that many requests waiting for a model that takes a second for each."""
    request = encode(
        Predict(
            id=0,
            model=SLEEPER,
            content_type=SMALL.request.content_type,
            tensors=SMALL.request.tensors,
            timeout=3600.0,
        )
    )
    client = zmq.Context.instance().socket(zmq.DEALER)
    client.setsockopt(zmq.LINGER, 0)
    client.setsockopt(zmq.SNDHWM, 0)
    client.connect(f"ipc://{home.paths.socket}")
    for _ in range(WAITING):
        client.send_multipart([b"", request, SMALL.data])
    with home.connect() as connection:
        while connection.expect(HealthReport, Health()).queued < WAITING - 10:
            time.sleep(0.05)
    yield
    client.close()


def _run(home: Home, *command: str) -> None:
    sire = Path(sys.executable).with_name("sire")
    subprocess.run([sire, *command], env=home.environment, stdout=subprocess.DEVNULL, check=True)
