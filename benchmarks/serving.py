"""How fast answers come: from the model itself, from a bare echo, and from sire."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from benchmarks.floors import EchoClient, echo_server
from benchmarks.report import Figure
from benchmarks.timing import in_turns, median, percentile, timed
from benchmarks.workloads import SMALL, Workload
from sired.client.connection import Connection
from sired.protocol.requests import Unload

CLIENTS = 8
LOAD_SECONDS = 3.0
WARM_UP_CALLS = 20
COLD_STARTS = 20

_SPAWN = multiprocessing.get_context("spawn")


def measure(workload: Workload, model: Callable[[], object]) -> Iterator[Figure]:
    """Latency with one client and throughput with several, beside their floors.

    Args:
        workload: what to send.
        model: one call of the same model on the same input, in this process.
    """
    with echo_server() as address:
        yield from _latency(workload, model, address)
        echo = _requests_per_second(workload, address)
        yield Figure(f"{workload.size}: bare echo, {CLIENTS} clients", echo, "/s")
        yield Figure(
            f"{workload.size}: sire, {CLIENTS} clients",
            _requests_per_second(workload, None),
            "/s",
            floor=echo,
        )


def _latency(workload: Workload, model: Callable[[], object], address: str) -> Iterator[Figure]:
    with _asking(workload, address) as echo, _asking(workload, None) as sire:
        seconds = in_turns({"model": model, "echo": echo, "sire": sire}, rounds=40, calls=50)
    in_process, round_trip = median(seconds["model"]), median(seconds["echo"])
    yield Figure(f"{workload.size}: model in this process, p50", in_process, "s")
    yield Figure(f"{workload.size}: bare echo, one client, p50", round_trip, "s")
    yield Figure(
        f"{workload.size}: sire, one client, p50",
        median(seconds["sire"]),
        "s",
        floor=in_process + round_trip,
        # Two hops instead of one is what a broker between client and model costs at least.
        goal=in_process + 2 * round_trip if workload is SMALL else None,
    )
    yield Figure(
        f"{workload.size}: sire, one client, p99",
        percentile(seconds["sire"], 99),
        "s",
        floor=percentile(seconds["model"], 99) + percentile(seconds["echo"], 99),
    )


def cold_start(workload: Workload) -> Iterator[Figure]:
    """From the start of a worker to its first answer, with the zygote warm."""
    with Connection() as connection, _asking(workload, None) as ask:
        seconds = []
        for _ in range(COLD_STARTS):
            connection.ask(Unload(name=workload.model))
            seconds.append(timed(ask))
    yield Figure("worker start to first answer, p50", median(seconds), "s", goal=0.050)
    yield Figure("worker start to first answer, slowest", max(seconds), "s")


@contextmanager
def _asking(workload: Workload, echo: str | None) -> Iterator[Callable[[], object]]:
    """A call that asks the echo at that address, or sire when there is none, and waits."""
    data, request = workload.data, workload.request
    client = EchoClient(echo) if echo else Connection(autostart=False)
    if isinstance(client, EchoClient):
        yield lambda: client.ask(data)
    else:
        yield lambda: client.ask(request, [data])
    client.close()


def _requests_per_second(workload: Workload, echo: str | None) -> float:
    """Answers a second to several client processes together."""
    together = _SPAWN.Barrier(CLIENTS)
    rates: SimpleQueue[float] = _SPAWN.SimpleQueue()
    clients = [
        _SPAWN.Process(target=_keep_asking, args=(workload, echo, together, rates), daemon=True)
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        if client.exitcode != 0:
            raise RuntimeError(f"A client process failed with exit code {client.exitcode}.")
    return sum(rates.get() for _ in clients)


def _keep_asking(
    workload: Workload, echo: str | None, together: Barrier, rates: "SimpleQueue[float]"
) -> None:
    with _asking(workload, echo) as ask:
        for _ in range(WARM_UP_CALLS):
            ask()
        together.wait()
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < LOAD_SECONDS:
            ask()
            count += 1
    rates.put(count / elapsed)
