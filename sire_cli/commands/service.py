"""``sire service``: list, show and stop the gateways that the daemon keeps."""

from typing import Annotated

import typer

from sire.protocol.replies import Done
from sire.protocol.services import (
    ListServices,
    ServiceInfo,
    ServiceList,
    ShowService,
    StopService,
)
from sire.units import format_duration
from sire_cli.daemon_connection import expect
from sire_cli.options.completion import complete_service
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_message, print_pairs, print_table

service = typer.Typer(cls=CommandGroup, help="Manage the services that sire serve started.")

_COLUMNS = ("SERVICE", "STATE", "ADDRESS", "MODELS", "UP>", "PID>", "RESTARTS>")

ServiceName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the service.", autocompletion=complete_service),
]


@service.command(cls=Command)
def ls(json: AsJson = False) -> None:
    """List services and their addresses."""
    known = expect(ServiceList, ListServices()).services
    if json:
        print_json(known)
    elif known:
        print_table(_COLUMNS, [_row(one) for one in known])
    else:
        print_message("No service is defined. Start one: sire serve --detach")


@service.command(cls=Command)
def show(name: ServiceName, json: AsJson = False) -> None:
    """Show a service, and why its process ended last."""
    info = expect(ServiceInfo, ShowService(name=name))
    if json:
        print_json(info)
    else:
        print_pairs(_described(info))


@service.command(cls=Command)
def stop(name: ServiceName) -> None:
    """End a service after its requests in progress.

    Loaded models stay loaded.
    """
    expect(Done, StopService(name=name))
    print_message(f"Stopped {name}.")


def summary(info: ServiceInfo) -> str:
    """What a service serves and where, in a line."""
    return f"Serving {_models(info)} on {_addresses(info)} (service {info.service.name})"


def _models(info: ServiceInfo) -> str:
    return ", ".join(info.service.models) or "all models"


def _addresses(info: ServiceInfo) -> str:
    return ", ".join(info.addresses) or info.service.listen


def _row(info: ServiceInfo) -> tuple[str, ...]:
    return (
        info.service.name,
        info.state,
        _addresses(info),
        ", ".join(info.service.models) or "all",
        format_duration(info.state_seconds) if info.state == "running" else "",
        "" if info.pid is None else str(info.pid),
        str(info.restarts),
    )


def _described(info: ServiceInfo) -> list[tuple[str, str | None]]:
    spec, retry = info.service, info.retry_seconds
    again = "" if retry is None else f", started again in {format_duration(retry)}"
    return [
        ("Name", spec.name),
        ("State", f"{info.state} for {format_duration(info.state_seconds)}{again}"),
        ("Address", _addresses(info)),
        ("Models", _models(info)),
        ("Started by", "the settings ([http])" if info.configured else "sire serve --detach"),
        ("Keys", spec.keys),
        ("Certificate", spec.tls_cert),
        ("PID", None if info.pid is None else str(info.pid)),
        ("Restarts", str(info.restarts)),
        ("Last error", info.last_error or None),
        *[("Output", line) for line in info.output],
    ]
