"""The cost of sire's processes: start, memory, and CPU time when idle."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.report import Figure
from benchmarks.timing import in_turns, median, timed
from benchmarks.workloads import Workload
from sire.client.autostart import daemon_runs, start_daemon
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable
from sire.paths import find_paths
from sire.protocol.replies import HealthReport, InstanceList
from sire.protocol.requests import Health, Ps, Shutdown

STARTS = 5
COMMANDS = 15
IDLE_SECONDS = 10.0

_IMPORTS = "import typer, zmq, msgspec"
_TODAY = """
import sys, torch
from safetensors.torch import load_file
from benchmarks.models import {class_name}
model = {class_name}().eval()
model.load_state_dict(load_file(sys.argv[1]))
with torch.inference_mode():
    model(torch.zeros({shape}))
"""


@contextmanager
def private_daemon(settings: str = "") -> Iterator[Path]:
    """Provide a daemon with a SIRE_HOME of its own, and stop it however the run ends.

    Args:
        settings: what its ``config.toml`` says.
    """
    with tempfile.TemporaryDirectory(prefix="sire-") as home:
        os.environ["SIRE_HOME"] = home
        # Servers in process groups of their own would outlive a run that is ended.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        paths = find_paths()
        paths.config.mkdir(parents=True)
        paths.config_file.write_text(settings)
        try:
            start_daemon(paths, arguments=["--die-with-parent"])
            yield Path(home)
        finally:
            _stop_daemon()


def start_up() -> Iterator[Figure]:
    """Measure from start to first answer. The running daemon is stopped for it."""
    seconds = []
    for _ in range(STARTS):
        # A zygote that was left in the middle of its imports would take a processor from the next.
        wait_until_warm()
        _stop_daemon()
        seconds.append(timed(_first_answer))
    yield Figure("daemon start to first answer, p50", median(seconds), "s", goal=0.3)


def commands(workload: Workload, weights: Path, data: Path) -> Iterator[Figure]:
    """Measure a whole `sire predict`, beside its imports and a script without sire."""
    script = _TODAY.format(class_name=workload.class_name, shape=workload.shape)
    seconds = in_turns(
        {
            "imports": lambda: _run(sys.executable, "-c", _IMPORTS),
            "sire": lambda: _run(sire_command(), "predict", workload.model, "-i", str(data)),
        },
        rounds=COMMANDS,
    )
    imports, predict = median(seconds["imports"]), median(seconds["sire"])
    yield Figure("`sire predict`, whole process, p50", predict, "s", imports, goal=1.6 * imports)
    alone = in_turns({"today": lambda: _run(sys.executable, "-c", script, str(weights))}, rounds=3)
    yield Figure("a script: import torch, load, predict", median(alone["today"]), "s")


def footprints() -> Iterator[Figure]:
    """Measure the memory of daemon, zygote and workers, and the daemon's idle CPU time."""
    with Connection(autostart=False) as connection:
        daemon = psutil.Process(connection.expect(HealthReport, Health()).pid)
        instances = connection.expect(InstanceList, Ps()).instances
    yield from _memory("daemon", daemon, goal=60_000_000)
    yield from _memory("zygote", _zygote(daemon))
    for instance in instances:
        yield from _memory(f"worker of {instance.model}", psutil.Process(instance.pid))
    yield Figure("daemon when idle, CPU", _cpu_percent(daemon), "%", goal=0.5)


def wait_until_warm() -> None:
    """Return when the zygote has imported its frameworks."""
    with Connection(autostart=False) as connection:
        while connection.expect(HealthReport, Health()).status != "ok":
            time.sleep(0.05)


def _first_answer() -> None:
    start_daemon(find_paths(), arguments=["--die-with-parent"])
    with Connection(autostart=False) as connection:
        connection.ask(Health())


def _stop_daemon() -> None:
    try:
        with Connection(autostart=False) as connection:
            connection.ask(Shutdown())
    except DaemonUnavailable:
        return
    while daemon_runs(find_paths()):
        time.sleep(0.01)


def _memory(name: str, process: psutil.Process, goal: float | None = None) -> Iterator[Figure]:
    memory = process.memory_full_info()
    yield Figure(f"{name}, resident (RSS)", memory.rss, "bytes", goal=goal)
    yield Figure(f"{name}, its share (PSS)", memory.pss, "bytes")
    yield Figure(f"{name}, of its own (USS)", memory.uss, "bytes")


def _zygote(daemon: psutil.Process) -> psutil.Process:
    """Return the process that workers are forked from."""
    for child in daemon.children(recursive=True):
        if child.name() == "sired:zygote":
            return child
    raise RuntimeError("The daemon has no zygote.")


def _cpu_percent(process: psutil.Process) -> float:
    """Return CPU time divided by elapsed time; the kernel counts in steps of 10 ms."""
    before, start = process.cpu_times(), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    after, elapsed = process.cpu_times(), time.perf_counter() - start
    return 100 * (after.user + after.system - before.user - before.system) / elapsed


def sire_command() -> str:
    """The path of the command, which the shell may not find."""
    return str(Path(sys.executable).with_name("sire"))


def _run(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
