"""A small model on the device: the overhead of a request and of a process."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.clients import SireClient
from benchmarks.floors import EchoClient, echo_server
from benchmarks.report import Figure
from benchmarks.served import serve
from benchmarks.timing import in_turns, median, percentile
from benchmarks.workloads import SMALL
from sire.client.connection import Connection
from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load, Unload


def small(device: str, home: Path) -> Iterator[Figure]:
    """Measure request overhead, and what the device is charged for a process with few weights."""
    served = serve(SMALL, home, device)
    data = SMALL.data
    with Connection(autostart=False) as connection:
        charged = connection.expect(InstanceInfo, Load(name=SMALL.model)).memory_bytes
    with (
        echo_server() as address,
        closing(EchoClient(address)) as echo,
        closing(SireClient(SMALL)) as sire,
    ):
        calls: dict[str, Callable[[], object]] = {
            "model": served.call,
            "echo": partial(echo.ask, data),
            "sire": partial(sire.ask, data),
        }
        seconds = in_turns(calls, rounds=20, calls=50)
    with Connection(autostart=False) as connection:
        connection.ask(Unload(name=SMALL.model))
    p50 = {name: median(each) for name, each in seconds.items()}
    weights = served.weights.stat().st_size
    yield Figure(f"a process on {device}, beside its weights", charged - weights, "bytes")
    yield Figure(f"3 KB: model on {device} in this process, p50", p50["model"], "s")
    yield Figure("3 KB: bare echo, p50", p50["echo"], "s")
    yield Figure(f"3 KB: sire on {device}, p50", p50["sire"], "s", p50["model"] + p50["echo"])
    yield Figure(f"3 KB: sire on {device}, p99", percentile(seconds["sire"], 99), "s")
