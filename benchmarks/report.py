"""A figure, what it is measured against, and the table of all of them."""

import json
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sired.units import format_bytes

# Seconds below which hundredths of a millisecond matter.
_SHORT = 0.01
# Below which milliseconds with hundredths tell too little.
_SHORTEST = 5e-5

RESULTS = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        unit: ``s``, ``bytes``, ``/s``, ``%`` or ``x``, a ratio; of value, floor and goal alike.
        floor: what the machine cannot do without, measured in the same run.
        goal: what the value should stay below.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its floor."""
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.value < self.goal


def hardware() -> str:
    """The machine and the versions that matter, in one line."""
    return (
        f"{os.cpu_count()} cores of {_processor()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, torch {version('torch')}"
    )


def table(figures: list[Figure]) -> str:
    """The figures as a Markdown table."""
    heading = ("figure", "measured", "floor", "ratio", "goal", "met")
    rows = [heading, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


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
                "ratio": figure.ratio,
                "goal": figure.goal,
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
        "" if figure.floor is None else _written(figure.floor, figure.unit),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.goal is None else f"< {_written(figure.goal, figure.unit)}",
        {None: "", True: "yes", False: "NO"}[figure.met],
    )


def _written(value: float, unit: str) -> str:
    if unit == "bytes":
        return format_bytes(value)
    if unit == "s" and value < _SHORTEST:
        return f"{value * 1e6:.1f} µs"
    if unit == "s":
        return f"{value * 1e3:.{2 if value < _SHORT else 0}f} ms"
    if unit == "x":
        return f"{value:.2f}"
    return f"{value:,.0f}/s" if unit == "/s" else f"{value:.1f} %"


def _processor() -> str:
    """The processor's name as the kernel gives it."""
    with Path("/proc/cpuinfo").open() as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
