"""``sire show``."""

import time

from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Show
from sire.spec import KeepAlive, ModelSpec
from sire.units import format_bytes, format_duration
from sire_cli.link import expect
from sire_cli.options.arguments import ModelName
from sire_cli.terminal.output import AsJson, format_tensors, print_json, print_pairs


def show(name: ModelName, json: AsJson = False) -> None:
    """Show all that is known of one model."""
    info = expect(ModelInfo, Show(name=name))
    if json:
        print_json(info)
    else:
        print_pairs(describe(info))


def describe(info: ModelInfo) -> list[tuple[str, str | None]]:
    """The model as pairs of words for people."""
    model = info.model
    registered = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(model.registered_at))
    return [
        ("Name", model.name),
        ("State", info.state),
        ("Tier", info.tier),
        ("Path", model.path or None),
        ("Runtime", model.runtime),
        ("Format", model.format or None),
        ("Class", model.model_class),
        ("Arguments", ", ".join(f"{key}={value}" for key, value in model.args.items()) or None),
        ("Device", model.device),
        ("Weights", format_bytes(model.weight_bytes)),
        ("Footprint", f"{format_bytes(info.footprint_bytes)} ({info.footprint_source})"),
        ("Keep alive", _keep_alive(model.keep_alive)),
        ("Priority", model.priority),
        ("Weight", f"{model.weight:g}" if model.weight != 1 else None),
        ("Instances", model.instances if model.instances != "1" else None),
        ("Batches", _batches(model)),
        ("Concurrency", f"{model.concurrency} requests" if model.concurrency > 1 else None),
        ("Pinned", "yes" if model.pinned else None),
        ("Trusted", "yes" if model.trusted else None),
        ("Cached", "yes" if model.cached else None),
        ("Warm-up", model.warmup),
        ("Inputs", format_tensors(info.signature.inputs) or None),
        ("Outputs", format_tensors(info.signature.outputs) or None),
        ("Registered", registered),
        ("Last error", info.last_error),
        ("Backoff", _trouble(info)),
        *[
            ("Instance", f"{i.device}, {i.state}, {format_bytes(i.memory_bytes)}, pid {i.pid}")
            for i in info.instances
        ],
    ]


def _batches(model: ModelSpec) -> str | None:
    if model.batch_size == 1:
        return None
    wait = f", waiting {format_duration(model.batch_delay)}" if model.batch_delay else ""
    return f"up to {model.batch_size} rows{wait}"


def _trouble(info: ModelInfo) -> str | None:
    if not info.failed_loads and info.retry_seconds is None:
        return None
    failed = f"failed to load {info.failed_loads} times" if info.failed_loads else ""
    crashed = f"crashed {info.crashes} times without an answer" if info.crashes else ""
    said = " and ".join(filter(None, [failed, crashed]))
    if info.retry_seconds is None:
        return said
    return f"{said}; tried again in {format_duration(info.retry_seconds)} (at once: sire load)"


def _keep_alive(given: KeepAlive) -> str | None:
    return format_duration(given) if isinstance(given, int | float) else given
