"""Measure loads, switches, memory and requests on one GPU; about ten minutes on a large one.

The figures are printed as a table. `--device cpu` with small sizes tries it without a GPU.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.gpu.bus import copy_rate
from benchmarks.gpu.crowded import crowded
from benchmarks.gpu.loads import loads, switches
from benchmarks.gpu.small import small
from benchmarks.processes import private_daemon, wait_until_warm
from benchmarks.report import Figure, hardware, save, summary, table
from sire.units import format_bytes, parse_bytes

# What `sire` says with the same number: there is no such device.
NO_DEVICE = 3


def main() -> None:
    """Read the options, measure, print the table."""
    given = _options()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no NVIDIA GPU here. To try it: --device cpu --sizes 50MB", file=sys.stderr)
        sys.exit(NO_DEVICE)
    figures = []
    with tempfile.TemporaryDirectory(prefix="models-", dir=given.directory) as directory:
        _see_that_it_fits(given, Path(directory))
        for figure in _figures(given, Path(directory)):
            figures.append(figure)
            # Minutes pass: say what there is so far, to people only.
            print(f"  {table([figure]).splitlines()[-1]}", file=sys.stderr, flush=True)
    print(f"{_hardware(given.device)}\n\n{table(figures)}\n\n{summary(figures)}")
    if given.json:
        save(figures, given.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    size = parse_bytes
    parser.add_argument("--device", default="cuda:0", help="what to measure (default cuda:0)")
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=[10**9, 4 * 10**9, 15 * 10**9],
        metavar="SIZE",
        help="models to load (default 1GB 4GB 15GB)",
    )
    parser.add_argument(
        "--switch",
        type=size,
        default=15 * 10**9,
        metavar="SIZE",
        help="each of the two models to switch between (default 15GB)",
    )
    parser.add_argument("--models", type=int, default=10, help="models that do not all fit (10)")
    parser.add_argument(
        "--crowd", type=size, default=20 * 10**9, metavar="SIZE", help="each of them (default 20GB)"
    )
    parser.add_argument("--requests", type=int, default=40, help="asked of them (default 40)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind (default 3)")
    parser.add_argument("--directory", help="where models are written: the disk that is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


def _figures(given: argparse.Namespace, directory: Path) -> Iterator[Figure]:
    rate = copy_rate(given.device)
    yield Figure(f"copy from pinned memory to {given.device}", rate, "bytes/s")
    yield from switches(given.switch, given.device, directory)
    # Who sleeps keeps its pinned memory when it wakes, until another wants it.
    with private_daemon(f"[tiers]\ndram = {2 * max(given.sizes)}\n") as home:
        wait_until_warm()
        for size in given.sizes:
            yield from loads(size, given.device, directory, rate, given.rounds)
        yield from crowded(given.models, given.crowd, given.device, directory, given.requests)
        # Last: the model that it is compared with leaves a CUDA context in this process.
        yield from small(given.device, home)


def _see_that_it_fits(given: argparse.Namespace, directory: Path) -> None:
    """Exit if the largest file that is written would fill the disk."""
    need, free = max(*given.sizes, given.switch), shutil.disk_usage(directory).free
    if need > free:
        sys.exit(
            f"{directory} has {format_bytes(free)} free, and a model of {format_bytes(need)} is to "
            "be written there. Use another --directory, or smaller --sizes and --switch."
        )


def _hardware(device: str) -> str:
    gpu = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else "rehearsed without GPU"
    )
    return f"{gpu}, {hardware()}"


if __name__ == "__main__":
    main()
