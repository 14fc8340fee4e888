"""What a gateway without requests costs, and what idle connections cost."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil

from benchmarks.gateway.clients import OipClient
from benchmarks.gateway.servers import gateway
from benchmarks.report import Figure
from benchmarks.workloads import SMALL

IDLE_SECONDS = 10.0
CONNECTIONS = 2000
REQUESTS = 200
_MB = 1_000_000
_SPARE = 200
_LIVE = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def footprint() -> Iterator[Figure]:
    """Memory and CPU time of a gateway, with and without gRPC, after some requests."""
    _allow_descriptors(CONNECTIONS + _SPARE)
    for grpc in (False, True):
        with gateway(grpc=grpc) as ours:
            process = psutil.Process(ours.pid)
            client = OipClient(ours.http, SMALL)
            for _ in range(REQUESTS):
                client.ask(SMALL.data)
            client.close()
            name = "gateway with gRPC" if grpc else "gateway"
            goal = None if grpc else 60 * _MB
            yield Figure(f"{name}, resident (RSS)", process.memory_info().rss, "bytes", goal=goal)
            yield Figure(f"{name} when idle, CPU", _idle(process), "%", goal=0.5)
            if not grpc:
                yield _idle_connections(process, ours.http)


def _idle(process: psutil.Process) -> float:
    """Percent of a core."""

    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before = used()
    time.sleep(IDLE_SECONDS)
    return 100 * (used() - before) / IDLE_SECONDS


def _idle_connections(process: psutil.Process, port: int) -> Figure:
    before = process.memory_info().rss
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            line.sendall(_LIVE)
            line.recv(1 << 12)
        more = process.memory_info().rss - before
    name = f"{CONNECTIONS:,} idle connections to the gateway"
    return Figure(name, more, "bytes", goal=30 * _MB)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
