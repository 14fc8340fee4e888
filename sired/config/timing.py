"""Which settings a running daemon adopts when it reads them again, and which it cannot."""

from typing import Any

import msgspec

from sire.options.table import WITH_DEFAULTS
from sired.config.settings import Settings

# Devices, sockets, memory accounts and models are built once, when the daemon starts.
HOLD_FROM_START = (
    "devices",
    "tiers",
    "limits.max_memory_percent",
    "memory.reserve_cpu",
    "memory.reserve_gpu",
    "daemon.max_message",
    "metrics",
    "http",
    *(f"defaults.{one.name}" for one in WITH_DEFAULTS if one.name != "keep_alive"),
)


def waiting_for_start(old: Settings, new: Settings) -> list[str]:
    """The settings or sections that differ and take effect only when a daemon starts."""
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return [name for name in HOLD_FROM_START if _at(before, name) != _at(after, name)]


def _at(settings: dict[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return settings[section][key] if key else settings[section]
