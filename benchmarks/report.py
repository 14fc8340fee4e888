"""Figures with their floors, peers and goals, and the table of them."""

import json
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from sire.units import format_bytes

# Seconds below which hundredths of a millisecond matter.
_SHORT = 0.01
# Below which milliseconds with hundredths tell too little.
_SHORTEST = 5e-5

RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        unit: ``s``, ``bytes``, ``/s``, ``bytes/s``, ``%``, ``x``, a ratio, or "", a count; of
            value, floor, peer and goal alike.
        floor: what the machine needs at least, measured in the same run.
        goal: the value that should be reached, or kept to.
        peer: what another server needed for the same, measured in the same run. A figure has a
            floor or a peer, not both, so that it is plain what its ratio is to.
        better: whether the goal is the most or the least that the value should be.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    goal: float | None = None
    peer: float | None = None
    better: Literal["less", "more"] = "less"

    def __post_init__(self) -> None:
        if self.floor is not None and self.peer is not None:
            raise ValueError(f"{self.name!r} has a floor and a peer: make it two figures.")

    @property
    def ratio(self) -> float | None:
        """The value divided by its floor or peer; None without either."""
        beside = self.floor or self.peer
        return self.value / beside if beside else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "less" else self.value >= self.goal


def hardware() -> str:
    """Describe the machine and the relevant versions in one line."""
    return (
        f"{os.cpu_count()} cores of {_processor()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, torch {version('torch')}"
    )


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    heading = ("figure", "measured", "floor", "peer", "ratio", "goal", "met")
    rows = [heading, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def summary(figures: list[Figure]) -> str:
    """Describe how many goals are met, and name those that are missed."""
    goals = [figure for figure in figures if figure.met is not None]
    missed = [figure.name for figure in goals if not figure.met]
    met = f"{len(goals) - len(missed)} of {len(goals)} goals met."
    return f"{met} Missed: {'; '.join(missed)}" if missed else met


def save(figures: list[Figure], file: Path = RESULTS) -> None:
    """Write the figures to a JSON file, in seconds, bytes and plain numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "measured_at": time.time(),
        "hardware": hardware(),
        "figures": [
            {
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "floor": figure.floor,
                "peer": figure.peer,
                "ratio": figure.ratio,
                "goal": figure.goal,
                "better": figure.better,
                "met": figure.met,
            }
            for figure in figures
        ],
    }
    file.write_text(json.dumps(record, indent=2) + "\n")


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        _written(figure.value, figure.unit),
        _written(figure.floor, figure.unit),
        _written(figure.peer, figure.unit),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        _goal(figure),
        {None: "", True: "yes", False: "NO"}[figure.met],
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≤' if figure.better == 'less' else '≥'} {_written(figure.goal, figure.unit)}"


def _written(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit in {"bytes", "bytes/s"}:
        return format_bytes(value) + unit.removeprefix("bytes")
    if unit == "s":
        return _seconds(value)
    if unit == "x":
        return f"{value:.2f}"
    return f"{value:.1f} %" if unit == "%" else f"{value:,.0f}{unit}"


def _seconds(value: float) -> str:
    if value < _SHORTEST:
        return f"{value * 1e6:.1f} µs"
    return f"{value * 1e3:.{2 if value < _SHORT else 0}f} ms"


def _processor() -> str:
    """Return the name of the processor as the kernel reports it."""
    with Path("/proc/cpuinfo").open() as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
