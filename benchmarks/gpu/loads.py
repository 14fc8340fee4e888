"""Loads from the disk, from the page cache and from main memory, and switches between models."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.clients import SireClient
from benchmarks.gpu import files
from benchmarks.processes import private_daemon, wait_until_warm
from benchmarks.report import Figure
from benchmarks.timing import median, timed
from sire.client.connection import Connection
from sire.protocol.replies import StatsReport
from sire.protocol.requests import Load, Move, Stats, Unload
from sire.units import exact_bytes

# Beside the weights: a process on a GPU, with its context; one on a CPU.
_PROCESS_BYTES = {"cuda": 10**9, "cpu": 32 * 10**6}
SWITCHES = 6


def loads(size: int, device: str, directory: Path, rate: float, rounds: int) -> Iterator[Figure]:
    """Measure the seconds until a model of this size is ready, by its source.

    Args:
        size: bytes of its weights.
        device: where to.
        directory: where the file is written, on the disk that is measured.
        rate: bytes a second that the way onto the device can do.
        rounds: how often each is measured; the medians are yielded.
    """
    made = files.write_blocks(directory / "model.safetensors", size)
    name, copy = exact_bytes(size), made.bytes / rate
    files.register("model", made, device)
    with Connection(autostart=False) as connection:
        _load(connection, device)  # what is imported for the first time is imported now
        reads, disk, cache = [], [], []
        for _ in range(rounds):
            connection.ask(Unload(name="model"))
            files.forget(made.file)
            reads.append(timed(partial(files.read_plainly, made.file)))
            files.forget(made.file)
            disk.append(timed(partial(_load, connection, device)))
            connection.ask(Unload(name="model"))
            files.read_plainly(made.file)
            cache.append(timed(partial(_load, connection, device)))
        moves = list(_moves(connection, device, rounds))
        connection.ask(Unload(name="model"))
    made.file.unlink()
    read = median(reads)
    yield Figure(f"{name}: plain read of the file, p50", read, "s")
    yield Figure(f"{name}: disk to {device}, p50", median(disk), "s", max(read, copy))
    yield Figure(f"{name}: page cache to {device}, p50", median(cache), "s", copy)
    yield Figure(f"{name}: DRAM to {device}, p50", median(moves), "s", copy)


def _load(connection: Connection, device: str) -> None:
    connection.ask(Load(name="model", device=device))


def _moves(connection: Connection, device: str, rounds: int) -> Iterator[float]:
    """Measure the seconds from main memory to the device."""
    for _ in range(rounds):
        connection.ask(Move(name="model", to="dram"))
        yield timed(partial(connection.ask, Move(name="model", to=device)))


def switches(size: int, device: str, directory: Path) -> Iterator[Figure]:
    """Request two models in turns, on a part of the device that holds one of them."""
    made = files.write_blocks(directory / "model.safetensors", size)
    need = made.bytes + _PROCESS_BYTES[device.partition(":")[0]]
    # Before it is measured a load is taken to need 1.3 times its weights.
    with private_daemon(f'[devices."{device}"]\nmemory = {int(1.4 * need)}\n'):
        wait_until_warm()
        models = [files.register(name, made, device) for name in ("one", "other")]
        with closing(SireClient(models[0])) as one, closing(SireClient(models[1])) as other:
            for client in (one, other):
                files.ask(client, made)
            seconds = [
                timed(partial(files.ask, client, made)) for client in (one, other) * SWITCHES
            ]
        with Connection(autostart=False) as connection:
            evictions = connection.expect(StatsReport, Stats()).totals.evictions
    made.file.unlink()
    name = f"switch between two models of {exact_bytes(size)}"
    yield Figure(f"{name}, p50", median(seconds), "s")
    yield Figure(f"{name}: evictions", evictions, "", goal=1 + 2 * SWITCHES, better="more")
