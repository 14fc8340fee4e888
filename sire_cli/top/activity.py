"""Jobs in progress, and recent events of models."""

import time
from collections.abc import Iterable, Sequence

from rich.text import Text

from sire.protocol.counts import ModelEvent
from sire.protocol.jobs import JobProgress
from sire_cli.top.format import clock
from sire_cli.top.table import Column, lay_out

_JOBS = (
    Column("JOB", right=False),
    Column("MODEL", right=False, width=12),
    Column("STATE", right=False, width=7),
    Column("ELAPSED", width=7),
    Column("INPUT", right=False, width=8, flexible=True),
)
_EVENTS = (
    Column("TIME", right=False, width=8),
    Column("EVENT", right=False, width=8),
    Column("MODEL", right=False, width=12),
    Column("DEVICE", right=False, width=6, rank=1),
    Column("", right=False, width=8, flexible=True),
)
_STYLES = {
    "loading": "yellow",
    "loaded": "green",
    "woke": "green",
    "slept": "cyan",
    "evicted": "magenta",
    "failed": "red",
    "crashed": "bold red",
}


def job_lines(jobs: Sequence[JobProgress], width: int) -> list[Text]:
    """A heading and one line per job; empty without jobs."""
    rows = [
        [
            Text(one.job),
            Text(one.model),
            Text(one.state, "green" if one.state == "running" else "yellow"),
            clock(one.seconds),
            Text(one.source, "dim"),
        ]
        for one in jobs
    ]
    return lay_out(_JOBS, rows, width) if rows else []


def event_lines(events: Iterable[ModelEvent], width: int) -> list[Text]:
    """A heading and one line per event; empty without events."""
    rows = [
        [
            Text(time.strftime("%H:%M:%S", time.localtime(one.at)), "dim"),
            Text(one.kind, _STYLES.get(one.kind, "")),
            Text(one.model),
            Text(one.device),
            Text(" ".join(one.words.split()), "dim"),
        ]
        for one in distinct_events(events)
    ]
    return lay_out(_EVENTS, rows, width) if rows else []


def distinct_events(events: Iterable[ModelEvent]) -> list[ModelEvent]:
    """Drop events that other events imply; latest first, in the given order.

    The end of a load implies its start, and an eviction implies the following unload.
    """
    kept: list[ModelEvent] = []
    following: dict[str, ModelEvent] = {}
    for event in events:
        next_event = following.get(event.model)
        following[event.model] = event
        if event.kind == "loading" and next_event is not None:
            continue
        if event.kind == "evicted" and next_event in kept and next_event.kind == "unloaded":
            kept.remove(next_event)
        kept.append(event)
    return kept
