"""Models: state and figures of each, busy models first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from sire.protocol.counts import ModelStats
from sire.protocol.replies import InstanceInfo, TopReport
from sire_cli.top.colours import colours_of
from sire_cli.top.format import NOTHING, clock, count, latency, rate, size
from sire_cli.top.rate_history import MINUTES, RateHistory, sparkline
from sire_cli.top.table import Column, Drawn, lay_out

_COLUMNS = (
    Column("MODEL", right=False, width=16, flexible=True),
    Column("STATE", right=False, width=8),
    Column("TIER", right=False, rank=5, width=6),
    Column("DEVICE", right=False, width=6),
    Column("MEMORY", width=8),
    Column("PEAK", rank=8, width=8),
    Column("REQ/S", width=5),
    Column("P50", width=6),
    Column("P99", rank=1, width=6),
    Column("COMPUTE", rank=7, width=7),
    Column("QUEUE", rank=1),
    Column("WAIT", rank=4, width=6),
    Column("ERR", rank=3, width=4),
    Column("REQUESTS", rank=5, width=9),
    Column("LOADS", rank=6),
    Column("LOAD TIME", rank=7),
    Column("EVICTED", rank=8),
    Column("CRASHES", rank=8),
    Column("IDLE", rank=4, width=7),
    Column("EXPIRES", rank=2, width=7),
    Column(f"LAST {MINUTES} MINUTES", right=False, rank=9, width=16, flexible=True),
)
_STATE_STYLES = {
    "busy": "green",
    "loading": "yellow",
    "waiting": "yellow",
    "stopping": "yellow",
    "suspending": "yellow",
    "waking": "yellow",
    "asleep": "cyan",
    "unloaded": "dim",
}
_SWATCH = "■ "


@dataclass(frozen=True, slots=True)
class Row:
    """One model: its statistics and its instances."""

    stats: ModelStats
    instances: tuple[InstanceInfo, ...]

    @property
    def order(self) -> tuple[int, float, float, str]:
        """Sort key: active models first, then loaded ones by last use, then the rest by name."""
        stats = self.stats
        active = stats.queued or stats.requests_per_second or stats.state not in _INACTIVE
        group = 0 if active else 2 if stats.state == "unloaded" else 1
        return group, -stats.requests_per_second, self.idle or 0.0, stats.model

    @property
    def idle(self) -> float | None:
        """Seconds since any instance was last used; None without instances."""
        return min((one.idle_seconds for one in self.instances), default=None)


_INACTIVE = ("ready", "asleep", "unloaded")


def rows_of(report: TopReport) -> list[Row]:
    """One row per model, in display order."""
    by_model: dict[str, list[InstanceInfo]] = {}
    for instance in report.instances:
        by_model.setdefault(instance.model, []).append(instance)
    rows = [Row(one, tuple(by_model.get(one.model, ()))) for one in report.stats.models]
    return sorted(rows, key=lambda row: row.order)


def model_lines(
    report: TopReport, rows: Sequence[Row], width: int, history: RateHistory | None = None
) -> list[Text]:
    """A heading and one line per model."""
    colours = colours_of(instance.model for instance in report.instances)
    columns = _COLUMNS if history else _COLUMNS[:-1]
    cells = [_cells(row, colours.get(row.stats.model), history) for row in rows]
    return lay_out(columns, [row[: len(columns)] for row in cells], width)


def _cells(row: Row, colour: str | None, history: RateHistory | None) -> list[Text | Drawn]:
    stats = row.stats

    def recent_rates(width: int) -> Text:
        rates = history.rates(stats.model, width) if history else []
        return sparkline(rates, colour or "")

    return [
        Text.assemble((_SWATCH if colour else "  ", colour or ""), (stats.model, _font(row))),
        _state(row),
        Text(stats.tier, "" if stats.tier == "device" else "dim"),
        _devices(row.instances),
        size(stats.memory_bytes) if row.instances else NOTHING,
        size(stats.peak_memory_bytes) if stats.peak_memory_bytes else NOTHING,
        rate(stats.requests_per_second),
        latency(stats.p50_latency_seconds),
        latency(stats.p99_latency_seconds),
        latency(stats.average_compute_seconds),
        count(stats.queued, "yellow"),
        latency(stats.wait_seconds if stats.queued else None),
        count(sum(stats.errors.values()), "red"),
        count(stats.inference_count),
        count(stats.loads),
        latency(stats.last_load_seconds),
        count(stats.evictions),
        count(stats.crashes, "red"),
        clock(row.idle),
        _expires(row),
        recent_rates,
    ]


def _state(row: Row) -> Text:
    """The state of a model; while its file is read, the percentage."""
    state, style = row.stats.state, _STATE_STYLES.get(row.stats.state, "")
    percentages = [i.loading_percent for i in row.instances if i.loading_percent is not None]
    return Text(
        f"load {min(percentages):.0f}%" if state == "loading" and percentages else state, style
    )


def _font(row: Row) -> str:
    return "bold" if row.instances else "dim"


def _devices(instances: Sequence[InstanceInfo]) -> Text:
    counts = Counter(one.device for one in instances if one.device)
    names = [name if n == 1 else f"{name} x{n}" for name, n in sorted(counts.items())]
    return Text(" ".join(names)) if names else NOTHING


def _expires(row: Row) -> Text:
    """Time until the last idle instance is unloaded."""
    instances = row.instances
    if row.stats.pinned or any(one.pinned for one in instances):
        return Text("pinned", "dim")
    if any(one.expires_in_seconds is None for one in instances):
        return Text("never", "dim")
    return clock(max((one.expires_in_seconds or 0.0 for one in instances), default=None))
