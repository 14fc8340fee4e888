"""Jobs in progress, and what happened to models lately."""

import time
from collections.abc import Iterable, Sequence

from rich.text import Text

from sire.protocol.counts import ModelEvent
from sire.protocol.replies import JobProgress
from sire_cli.top.format import clock
from sire_cli.top.table import Column, lay_out

_JOBS = (
    Column("JOB", right=False),
    Column("MODEL", right=False, width=12),
    Column("STATE", right=False, width=7),
    Column("FOR", width=6),
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
    """A heading and one line a job; nothing if there is none."""
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
    """A heading and one line an event; nothing if there is none."""
    rows = [
        [
            Text(time.strftime("%H:%M:%S", time.localtime(one.at)), "dim"),
            Text(one.kind, _STYLES.get(one.kind, "")),
            Text(one.model),
            Text(one.device),
            Text(" ".join(one.words.split()), "dim"),
        ]
        for one in telling(events)
    ]
    return lay_out(_EVENTS, rows, width) if rows else []


def telling(events: Iterable[ModelEvent]) -> list[ModelEvent]:
    """The events without those that others tell, too, in their order: the latest first.

    That a load began shows where it ended; and what was evicted is unloaded.
    """
    told: list[ModelEvent] = []
    latest: dict[str, ModelEvent] = {}
    for event in events:
        after = latest.get(event.model)
        latest[event.model] = event
        if event.kind == "loading" and after is not None:
            continue
        if event.kind == "evicted" and after in told and after.kind == "unloaded":
            told.remove(after)
        told.append(event)
    return told
