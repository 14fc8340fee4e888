"""``sire show``."""

import time

import msgspec

from sire.options.derived import options_shown
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Show
from sire.spec import format_tensors
from sire.units import format_bytes, format_duration
from sire_cli.daemon_connection import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, print_pairs


def show(name: ModelName, json: AsJson = False) -> None:
    """Show everything known about a model."""
    info = expect(ModelInfo, Show(name=name))
    if json:
        print_json(info)
    else:
        print_pairs(describe(info))


def describe(info: ModelInfo) -> list[tuple[str, str | None]]:
    """Every field of a model as (name, value); None for a field that does not apply."""
    model = msgspec.structs.replace(info.model, signature=info.signature)
    registered = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(model.registered_at))
    return [
        ("Name", model.name),
        ("State", info.state),
        ("Tier", info.tier),
        ("Path", model.path or None),
        ("Format", model.format or None),
        ("Weights", format_bytes(model.weight_bytes)),
        ("Footprint", f"{format_bytes(info.footprint_bytes)} ({info.footprint_source})"),
        *options_shown(model, info.defaulted),
        ("Batches", f"off: {model.alone}" if model.alone else None),
        *[("Note", note) for note in model.notes],
        ("Outputs", format_tensors(model.signature.outputs) or None),
        ("Registered", registered),
        ("Files", _files(info)),
        ("Served at", ", ".join(info.addresses) or None),
        ("Last error", info.last_error),
        ("Backoff", _backoff(info)),
        *[
            ("Instance", f"{i.device}, {i.state}, {format_bytes(i.memory_bytes)}, pid {i.pid}")
            for i in info.instances
        ],
    ]


def _files(info: ModelInfo) -> str | None:
    """What happened to the files since the model was registered; None if nothing did."""
    if info.changed_files:
        changed = ", ".join(info.changed_files)
        return f"changed: {changed}; to use them: sire reload {info.model.name}"
    if info.files_taken_anew_at is None:
        return None
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.files_taken_anew_at))
    return f"changed since it was registered, and read anew at {at}"


def _backoff(info: ModelInfo) -> str | None:
    if not info.failed_loads and info.retry_seconds is None:
        return None
    failed = f"failed to load {_times(info.failed_loads)}" if info.failed_loads else ""
    crashed = f"crashed {_times(info.crashes)} without an answer" if info.crashes else ""
    reason = " and ".join(filter(None, [failed, crashed]))
    if info.retry_seconds is None:
        return reason
    return f"{reason}; next attempt in {format_duration(info.retry_seconds)} (now: sire load)"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
