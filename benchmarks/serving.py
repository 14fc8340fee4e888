"""Latency and throughput of the model itself, a bare echo, a peer, and sire.

Everything is started anew several times, echo and peer included: how fast a server is depends a
little on where its threads come to lie. What stands in the table are the medians of the starts.
"""

import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median as middle

from benchmarks.clients import Connect, SireClient
from benchmarks.crowd import crowd
from benchmarks.floors import EchoClient, echo_server
from benchmarks.peers.mosec import MosecClient, mosec_server
from benchmarks.report import Figure
from benchmarks.served import Served
from benchmarks.timing import in_turns, median, percentile, timed
from benchmarks.workloads import Workload
from sire.client.connection import Connection
from sire.protocol.content import Buffer
from sire.protocol.requests import Load, Unload

STARTS = 4
TURNS, CALLS = 12, 50
CLIENTS = 8
LOAD_SECONDS = 1.0
COLD_STARTS = 20

# The part of the peer's rate that sire's should be.
RATE_OF_PEER = 2.5


@dataclass(frozen=True, slots=True)
class Start:
    """The measurements of one start of everything: seconds of each call, and rates."""

    seconds: Mapping[str, list[float]]
    rates: Mapping[str, float]


def measure(served: Served) -> Iterator[Figure]:
    """Latency with one client and rates with several, beside their floors and the peer."""
    starts = [_start(served) for _ in range(STARTS)]
    if served.workload.batches > 1:
        _unload(served.workload.batched())

    def p50(name: str) -> float:
        return middle(median(start.seconds[name]) for start in starts)

    def p99(name: str) -> float:
        return middle(percentile(start.seconds[name], 99) for start in starts)

    def rate(name: str) -> float:
        return middle(start.rates[name] for start in starts)

    yield from _latency(served.workload, p50, p99)
    yield from _rates(served.workload, rate)


_Measured = Callable[[str], float]


def _latency(workload: Workload, p50: _Measured, p99: _Measured) -> Iterator[Figure]:
    size, goals = workload.size, workload.goals
    model, echo, sire, mosec = p50("model"), p50("echo"), p50("sire"), p50("mosec")
    beyond = goals.echoes * echo + goals.seconds
    yield Figure(f"{size}: model in this process, p50", model, "s")
    yield Figure(f"{size}: bare echo, one client, p50", echo, "s")
    yield Figure(f"{size}: sire, one client, p50", sire, "s", model + echo, goal=model + beyond)
    yield Figure(
        f"{size}: sire against mosec, one client, p50",
        sire,
        "s",
        peer=mosec,
        goal=goals.of_peer * mosec,
    )
    floor = p99("model") + p99("echo")
    yield Figure(f"{size}: sire, one client, p99", p99("sire"), "s", floor, goal=2 * sire)
    yield Figure(
        f"{size}: sire against mosec, one client, p99", p99("sire"), "s", peer=p99("mosec")
    )


def _rates(workload: Workload, rate: _Measured) -> Iterator[Figure]:
    size = workload.size
    yield Figure(f"{size}: sire, {CLIENTS} clients", rate("sire"), "/s", rate("echo"))
    yield _compared(f"{size}: sire against mosec, {CLIENTS} clients", rate("sire"), rate("mosec"))
    if workload.batches > 1:
        name = f"{size}: both with batches of {workload.batches}, {CLIENTS} clients"
        yield _compared(name, rate("sire, batched"), rate("mosec, batched"))


def _compared(name: str, sire: float, mosec: float) -> Figure:
    return Figure(name, sire, "/s", peer=mosec, goal=RATE_OF_PEER * mosec, better="more")


def _start(served: Served) -> Start:
    """Start everything, check the answers, and measure in turns."""
    data = served.workload.data
    with ExitStack() as stack:
        servers = stack.enter_context(_servers(served))
        clients = {name: stack.enter_context(closing(server())) for name, server in servers.items()}
        calls = {name: partial(client.ask, data) for name, client in clients.items()}
        _check({name: call for name, call in calls.items() if name != "echo"}, served.answer)
        single = {name: call for name, call in calls.items() if "batched" not in name}
        seconds = in_turns({"model": served.call, **single}, rounds=TURNS, calls=CALLS)
        return Start(seconds, {name: _rate(server, data) for name, server in servers.items()})


@contextmanager
def _servers(served: Served) -> Iterator[dict[str, Connect]]:
    """Provide everything that is measured, newly started, sire's workers included."""
    workload = served.workload
    with ExitStack() as stack:
        servers: dict[str, Connect] = {
            "echo": partial(EchoClient, stack.enter_context(echo_server()))
        }
        for name, each in _variants(workload).items():
            _unload(each)
            port = stack.enter_context(mosec_server(each, served.weights))
            servers[f"sire{name}"] = partial(SireClient, each)
            servers[f"mosec{name}"] = partial(MosecClient, port)
        yield servers


def _variants(workload: Workload) -> dict[str, Workload]:
    if workload.batches == 1:
        return {"": workload}
    return {"": workload, ", batched": workload.batched()}


def _check(calls: Mapping[str, Callable[[], Buffer]], expected: bytes) -> None:
    """Exit unless all servers answer what the model does, within rounding."""
    for name, call in calls.items():
        if not agrees(call(), expected):
            sys.exit(f"{name} does not answer what the model answers: nothing to compare.")


def agrees(answer: Buffer, expected: Buffer) -> bool:
    """Whether two buffers of float32 hold the same numbers within rounding."""
    one, other = array("f", bytes(answer)), array("f", bytes(expected))
    return len(one) == len(other) and all(
        math.isclose(*pair, rel_tol=1e-4, abs_tol=1e-5) for pair in zip(one, other, strict=True)
    )


def _rate(server: Connect, data: bytes) -> float:
    with crowd(server, data, CLIENTS) as clients:
        return clients.rate(LOAD_SECONDS)


def cold_start(workload: Workload) -> Iterator[Figure]:
    """Measure from worker start to first answer, with a warm zygote, and from an unload."""
    data = workload.data
    with Connection() as connection, closing(SireClient(workload)) as client:

        def swap() -> None:
            connection.ask(Unload(name=workload.model))
            connection.ask(Load(name=workload.model))
            client.ask(data)

        starts = []
        for _ in range(COLD_STARTS):
            connection.ask(Unload(name=workload.model))
            starts.append(timed(partial(client.ask, data)))
        swaps = [timed(swap) for _ in range(COLD_STARTS)]
    yield Figure("worker start to first answer, p50", median(starts), "s", goal=0.025)
    yield Figure("worker start to first answer, slowest", max(starts), "s")
    yield Figure("unload, load and first answer, p50", median(swaps), "s", goal=0.040)


def _unload(workload: Workload) -> None:
    with Connection() as connection:
        connection.ask(Unload(name=workload.model))
