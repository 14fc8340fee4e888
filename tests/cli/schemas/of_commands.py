"""The schema of what each command prints with ``--json``, from the types it is made of."""

import json
from pathlib import Path
from typing import Any

import msgspec

from sire.protocol.aliases import AliasState
from sire.protocol.counts import ModelStats
from sire.protocol.devices import DeviceList
from sire.protocol.jobs import JobEnd, JobReport
from sire.protocol.log_lines import LogLine
from sire.protocol.replies import (
    ConfigReport,
    EstimateReport,
    HealthReport,
    HistoryReport,
    InstanceInfo,
    MetricsReport,
    ModelInfo,
    StatsReport,
    TopReport,
    Unloaded,
    VerifyReport,
)
from sire.protocol.services import ServiceInfo
from sire.spec import Job
from sire_cli.commands.key import ListedKey
from sire_cli.doctor import Finding
from sire_cli.loadtest.report import LoadReport

HERE = Path(__file__).parent
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Accepted(msgspec.Struct):
    """A job that was submitted, and its input."""

    id: str
    input: str


class ModelLogLine(msgspec.Struct):
    """A line that a model printed."""

    component: str
    model: str
    message: str


# Several types where it depends on what was asked for.
PRINTED: dict[str, tuple[Any, ...]] = {
    "alias ls": (list[AliasState],),
    "bench": (LoadReport,),
    "config": (ConfigReport,),
    "daemon logs": (LogLine,),
    "daemon status": (HealthReport,),
    "devices": (DeviceList,),
    "doctor": (list[Finding],),
    "estimate": (list[EstimateReport],),
    "health": (HealthReport,),
    "job ls": (list[Job],),
    "job show": (JobReport,),
    "job wait": (list[JobEnd],),
    "key ls": (list[ListedKey],),
    "load": (InstanceInfo,),
    "logs": (LogLine, ModelLogLine),
    "ls": (list[ModelInfo],),
    "metrics": (MetricsReport,),
    "move": (InstanceInfo, Unloaded),
    "pin": (ModelInfo,),
    "ps": (list[InstanceInfo],),
    "register": (ModelInfo,),
    "reload": (InstanceInfo,),
    "service ls": (list[ServiceInfo],),
    "service show": (ServiceInfo,),
    "show": (ModelInfo,),
    "stats": (StatsReport, ModelStats, HistoryReport),
    "submit": (list[Accepted],),
    "top": (TopReport,),
    "unload": (Unloaded,),
    "unpin": (ModelInfo,),
    "verify": (VerifyReport,),
}


def file_of(command: str) -> Path:
    return HERE / f"{command.replace(' ', '-')}.json"


def schema_of(command: str) -> dict[str, Any]:
    """Every field is printed, and nothing that is only for the wire."""
    roots, parts = msgspec.json.schema_components(PRINTED[command], ref_template="#/$defs/{name}")
    for part in parts.values():
        if "properties" in part:
            _as_printed(part)
    root = roots[0] if len(roots) == 1 else {"anyOf": list(roots)}
    return {"$schema": DRAFT, "title": f"sire {command} --json", **root, "$defs": parts}


def _as_printed(part: dict[str, Any]) -> None:
    properties = part["properties"]
    if "op" in properties:
        for name in ("op", "id", "v"):
            del properties[name]
    for value in properties.values():
        value.pop("default", None)
    part |= {"required": [*properties], "additionalProperties": False}


def text_of(command: str) -> str:
    return json.dumps(schema_of(command), indent=1) + "\n"
