"""Which settings a running daemon takes up when it reads them again, and which it cannot."""

from typing import Any

import msgspec

from sired.config.settings import Settings

# What stands here is built once: devices, sockets, and the accounts of memory.
HOLD_FROM_START = (
    "devices",
    "tiers",
    "limits.max_memory_percent",
    "memory.reserve_cpu",
    "memory.reserve_gpu",
    "daemon.max_message",
    "metrics",
)


def waiting_for_start(old: Settings, new: Settings) -> list[str]:
    """Which settings or sections differ that hold from a daemon's start only."""
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return [name for name in HOLD_FROM_START if _at(before, name) != _at(after, name)]


def _at(settings: dict[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return settings[section][key] if key else settings[section]
