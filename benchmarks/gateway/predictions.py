"""Predictions through the gateway: one client's latency, and what eight clients get in all."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from statistics import median as middle

from benchmarks.clients import Connect
from benchmarks.crowd import crowd
from benchmarks.gateway.clients import GrpcClient, OipClient
from benchmarks.gateway.servers import gateway, http_echo
from benchmarks.http_client import HttpClient
from benchmarks.peers.mosec import MosecClient, mosec_server
from benchmarks.peers.triton import triton_server
from benchmarks.report import Figure
from benchmarks.served import Served
from benchmarks.serving import CLIENTS, agrees
from benchmarks.timing import in_turns, median, percentile

STARTS = 3
TURNS, CALLS = 12, 50
LOAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Goals:
    """What the gateway should reach with one model.

    Attributes:
        beyond_echo: seconds that a request may take beyond echo and model; None for no such goal.
        of_mosec: the part of mosec's time that it may take with one client.
        rate_of_mosec: the part of mosec's rate that it should have with eight.
        of_triton: the part of Triton's time; None for no such goal.
        rate_of_triton: the part of Triton's rate.
    """

    of_mosec: float
    rate_of_mosec: float
    beyond_echo: float | None = None
    of_triton: float | None = None
    rate_of_triton: float | None = None


SMALL_GOALS = Goals(1.6, 0.8, beyond_echo=100e-6, of_triton=0.4, rate_of_triton=2.0)
LARGE_GOALS = Goals(0.6, 1.5)


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of all starts: seconds of a call, its 99th percentile, and answers a second."""

    p50: Mapping[str, float]
    p99: Mapping[str, float]
    rate: Mapping[str, float]


def predictions(served: Served, goals: Goals) -> Iterator[Figure]:
    """Everything that is measured with one model."""
    found = _measure(served)
    yield from _latency(served.workload.size, found, goals)
    yield from _rates(served.workload.size, found, goals)


def _latency(size: str, found: Measured, goals: Goals) -> Iterator[Figure]:
    p50 = found.p50
    floor = p50["model"] + p50["echo"]
    yield Figure(f"{size}: model in this process, p50", p50["model"], "s")
    yield Figure(f"{size}: HTTP echo of the same stack, p50", p50["echo"], "s")
    goal = None if goals.beyond_echo is None else floor + goals.beyond_echo
    yield Figure(f"{size}: v2 over HTTP, one client, p50", p50["http"], "s", floor, goal=goal)
    yield Figure(f"{size}: v2 over HTTP, one client, p99", found.p99["http"], "s")

    def beside(name: str, ours: str, peer: str, part: float | None) -> Figure:
        goal = None if part is None else part * p50[peer]
        return Figure(f"{size}: {name}, p50", p50[ours], "s", peer=p50[peer], goal=goal)

    yield beside("v2 over HTTP against mosec", "http", "mosec", goals.of_mosec)
    yield beside("v2 over HTTP against Triton", "http", "triton", goals.of_triton)
    yield beside("gRPC against Triton", "grpc", "triton, grpc", 1.0)


def _rates(size: str, found: Measured, goals: Goals) -> Iterator[Figure]:
    def beside(name: str, ours: str, peer: str, part: float | None) -> Figure:
        theirs = found.rate[peer]
        goal = None if part is None else part * theirs
        figure = f"{size}: {name}, {CLIENTS} clients"
        return Figure(figure, found.rate[ours], "/s", peer=theirs, goal=goal, better="more")

    yield beside("v2 over HTTP against mosec", "http", "mosec", goals.rate_of_mosec)
    yield beside("v2 over HTTP against Triton", "http", "triton", goals.rate_of_triton)
    yield beside("gRPC against Triton", "grpc", "triton, grpc", None)


def _measure(served: Served) -> Measured:
    starts = [_start(served) for _ in range(STARTS)]

    def medians(of: Callable[[list[float]], float]) -> dict[str, float]:
        return {name: middle(of(each[name]) for each, _ in starts) for name in starts[0][0]}

    rates = {name: middle(each[name] for _, each in starts) for name in starts[0][1]}
    return Measured(medians(median), medians(partial(percentile, percent=99)), rates)


def _start(served: Served) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Start everything, check the answers, and measure in turns."""
    workload = served.workload
    with ExitStack() as stack:
        ours = stack.enter_context(gateway())
        mosec = stack.enter_context(mosec_server(workload, served.weights))
        triton = stack.enter_context(triton_server(workload, served.weights))
        echo = stack.enter_context(http_echo())
        connect: dict[str, Connect] = {
            "echo": partial(HttpClient, echo, "/echo"),
            "http": partial(OipClient, ours.http, workload),
            "grpc": partial(GrpcClient, ours.grpc, workload),
            "mosec": partial(MosecClient, mosec),
            "triton": partial(OipClient, triton.http, workload, "x"),
            "triton, grpc": partial(GrpcClient, triton.grpc, workload, "x", "y"),
        }
        clients = {name: stack.enter_context(closing(made())) for name, made in connect.items()}
        calls = {name: partial(client.ask, workload.data) for name, client in clients.items()}
        for name, call in calls.items():
            if name != "echo" and not agrees(call(), served.answer):
                sys.exit(f"{name} does not answer what the model answers: nothing to compare.")
        seconds = in_turns({"model": served.call, **calls}, rounds=TURNS, calls=CALLS)
        return seconds, {name: _rate(made, workload.data) for name, made in connect.items()}


def _rate(connect: Connect, data: bytes) -> float:
    with crowd(connect, data, CLIENTS) as clients:
        return clients.rate(LOAD_SECONDS)
