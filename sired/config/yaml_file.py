"""The settings of a server as YAML: by the short names other servers use, or by section.

Some of these names have no meaning here. They are refused with what to do instead, because a
setting that is silently ignored is one that somebody relies on.
"""

from pathlib import Path
from typing import Any

from sire.errors import InvalidConfiguration
from sire.yaml_text import read_yaml

_SHORT = {
    "max_models": ("limits", "max_models"),
    "max_memory_percent": ("limits", "max_memory_percent"),
    "metrics_port": ("metrics", "port"),
    "log_level": ("daemon", "log_level"),
}
_MEANINGLESS = {
    "port": (
        "sired listens on a Unix socket, not on a port",
        "Leave it out; for Prometheus write metrics_port.",
    ),
    "max_workers": (
        "each loaded model has processes of its own, not a share of a pool of workers",
        "Leave it out, and bound models with max_models or placement.most_instances.",
    ),
    "health_check_interval": (
        "a process that ends is noticed at once, not at intervals",
        "Leave it out; how long a request may hang is daemon.hung_after.",
    ),
}


def read_server_file(path: Path) -> dict[str, Any]:
    """Read the file as the tables that the same settings would be in TOML; a missing one is empty.

    Raises:
        InvalidConfiguration: it is no YAML, or has a name that means nothing here.
    """
    if not path.exists():
        return {}
    content = read_yaml(path)
    _refuse(content, path)
    tables: dict[str, Any] = {}
    for name, value in content.items():
        if name in {"host", "enable_monitoring"}:
            continue
        if name in _SHORT:
            section, key = _SHORT[name]
            _table(tables, section, path)[key] = value.lower() if name == "log_level" else value
        elif isinstance(value, dict) and isinstance(tables.get(name, {}), dict):
            _table(tables, name, path).update(value)
        else:
            tables[name] = value
    return _monitoring(content, tables, path)


def _table(tables: dict[str, Any], section: str, path: Path) -> dict[str, Any]:
    table = tables.setdefault(section, {})
    if not isinstance(table, dict):
        raise InvalidConfiguration(f"{path}: {section} is a section, not a value.")
    return table


def _refuse(content: dict[str, Any], path: Path) -> None:
    for name, (why, instead) in _MEANINGLESS.items():
        if name in content:
            raise InvalidConfiguration(f"{path}: {name} means nothing here: {why}.", hint=instead)
    if not isinstance(content.get("log_level", ""), str):
        raise InvalidConfiguration(f"{path}: log_level: {content['log_level']!r} is no name.")


def _monitoring(content: dict[str, Any], tables: dict[str, Any], path: Path) -> dict[str, Any]:
    """``host`` and ``enable_monitoring``, which mean the port that Prometheus fetches from."""
    wanted = content.get("enable_monitoring")
    port = tables.get("metrics", {}).get("port")
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidConfiguration(f"{path}: enable_monitoring: {wanted!r} is not true or false.")
    if wanted and not port:
        raise InvalidConfiguration(
            f"{path}: enable_monitoring: no port is named that Prometheus could fetch from.",
            hint="Write metrics_port, such as 9090. Counting itself is always on: sire stats",
        )
    if wanted is False:
        _table(tables, "metrics", path)["port"] = 0
    if "host" in content:
        if not port or wanted is False:
            raise InvalidConfiguration(
                f"{path}: host means nothing here: sired listens on a Unix socket.",
                hint="Leave it out; beside metrics_port it is the address that metrics are at.",
            )
        _table(tables, "metrics", path)["host"] = content["host"]
    return tables
