"""``sire show``."""

import time

import msgspec

from sire.options.derived import options_shown
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Show
from sire.spec import format_tensors
from sire.units import format_bytes, format_duration
from sire_cli.link import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, print_json, print_pairs


def show(name: ModelName, json: AsJson = False) -> None:
    """Show all that is known of one model."""
    info = expect(ModelInfo, Show(name=name))
    if json:
        print_json(info)
    else:
        print_pairs(describe(info))


def describe(info: ModelInfo) -> list[tuple[str, str | None]]:
    """The model as pairs of words for people."""
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
        *options_shown(model),
        ("Outputs", format_tensors(model.signature.outputs) or None),
        ("Registered", registered),
        ("Last error", info.last_error),
        ("Backoff", _trouble(info)),
        *[
            ("Instance", f"{i.device}, {i.state}, {format_bytes(i.memory_bytes)}, pid {i.pid}")
            for i in info.instances
        ],
    ]


def _trouble(info: ModelInfo) -> str | None:
    if not info.failed_loads and info.retry_seconds is None:
        return None
    failed = f"failed to load {info.failed_loads} times" if info.failed_loads else ""
    crashed = f"crashed {info.crashes} times without an answer" if info.crashes else ""
    said = " and ".join(filter(None, [failed, crashed]))
    if info.retry_seconds is None:
        return said
    return f"{said}; tried again in {format_duration(info.retry_seconds)} (at once: sire load)"
