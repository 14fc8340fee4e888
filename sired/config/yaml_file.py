"""Settings as YAML: by the short names of other servers, or by section.

Some of these names have no meaning here. They are rejected with a replacement, because a user would
rely on a setting that is silently ignored.
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
        "Leave it out; for Prometheus specify metrics_port.",
    ),
    "max_workers": (
        "each loaded model has its own processes, not a share of a pool of workers",
        "Leave it out, and limit models with max_models or placement.most_instances.",
    ),
    "health_check_interval": (
        "a process that ends is detected at once, not at intervals",
        "Leave it out; daemon.hung_after limits how long a request may hang.",
    ),
}


def read_server_file(path: Path) -> dict[str, Any]:
    """Read the file as the tables of the same settings in TOML; a missing file is empty.

    Raises:
        InvalidConfiguration: the file is not YAML, or has a name without meaning here.
    """
    if not path.exists():
        return {}
    content = read_yaml(path)
    _reject_meaningless(content, path)
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


def _reject_meaningless(content: dict[str, Any], path: Path) -> None:
    for name, (why, instead) in _MEANINGLESS.items():
        if name in content:
            raise InvalidConfiguration(f"{path}: {name} has no meaning here: {why}.", hint=instead)
    if not isinstance(content.get("log_level", ""), str):
        raise InvalidConfiguration(f"{path}: log_level: {content['log_level']!r} is not a name.")


def _monitoring(content: dict[str, Any], tables: dict[str, Any], path: Path) -> dict[str, Any]:
    """Apply ``host`` and ``enable_monitoring``, which concern the port for Prometheus."""
    wanted = content.get("enable_monitoring")
    port = tables.get("metrics", {}).get("port")
    if wanted is not None and not isinstance(wanted, bool):
        raise InvalidConfiguration(f"{path}: enable_monitoring: {wanted!r} is not true or false.")
    if wanted and not port:
        raise InvalidConfiguration(
            f"{path}: enable_monitoring: the port for Prometheus is not specified.",
            hint="Add metrics_port, such as 9090. Statistics are always collected: sire stats",
        )
    if wanted is False:
        _table(tables, "metrics", path)["port"] = 0
    if "host" in content:
        if not port or wanted is False:
            raise InvalidConfiguration(
                f"{path}: host has no meaning here: sired listens on a Unix socket.",
                hint="Leave it out; with metrics_port it is the address of the metrics.",
            )
        _table(tables, "metrics", path)["host"] = content["host"]
    return tables
