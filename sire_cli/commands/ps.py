"""``sire ps``."""

from sire.protocol.replies import InstanceInfo, InstanceList
from sire.protocol.requests import Ps
from sire.units import format_bytes, format_duration
from sire_cli.daemon_connection import expect
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

# Ordered by importance: a narrow terminal omits the last columns.
_COLUMNS = (
    "MODEL",
    "DEVICE",
    "STATE",
    "MEMORY>",
    "REQUESTS>",
    "QUEUED>",
    "WAIT>",
    "IDLE>",
    "EXPIRES>",
    "PID>",
    "UP>",
    "TIER",
    "DRAM>",
)


def ps(json: AsJson = False) -> None:
    """List loaded models and the progress of loads.

    With --json, loading_percent, loading_bytes and loading_total_bytes are set while a model's file
    is read, and null otherwise.
    """
    reply = expect(InstanceList, Ps())
    if json:
        print_json(reply.instances)
    elif reply.instances:
        columns: tuple[str, ...] = _COLUMNS
        rows = [_row(instance) for instance in reply.instances]
        if any(instance.addresses for instance in reply.instances):
            columns += ("ADDRESS",)
            rows = [
                (*row, ", ".join(instance.addresses))
                for row, instance in zip(rows, reply.instances, strict=True)
            ]
        print_table(columns, rows)
    else:
        print_message("No model is loaded.")


def _row(instance: InstanceInfo) -> tuple[str, ...]:
    expires = instance.expires_in_seconds
    return (
        instance.model,
        instance.device,
        _state(instance),
        format_bytes(instance.memory_bytes),
        str(instance.requests),
        str(instance.queued),
        _wait(instance.wait_seconds),
        format_duration(instance.idle_seconds),
        "pinned" if instance.pinned else "never" if expires is None else format_duration(expires),
        "" if instance.pid is None else str(instance.pid),
        format_duration(instance.uptime_seconds),
        instance.tier,
        format_bytes(instance.dram_bytes) if instance.dram_bytes else "",
    )


def _state(instance: InstanceInfo) -> str:
    """The state of an instance; while its file is read, with the percentage."""
    percent = instance.loading_percent
    return instance.state if percent is None else f"{instance.state} {percent:.0f}%"


def _wait(seconds: float | None) -> str:
    """The expected waiting time of a new request."""
    if seconds is None:
        return ""
    return format_duration(seconds) if seconds else "none"
