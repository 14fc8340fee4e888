"""``sire serve``."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sire.errors import InvalidConfiguration
from sire.protocol.services import ServiceInfo, ServiceSpec, StartService, gateway_arguments
from sire_cli.commands.service import summary
from sire_cli.daemon_connection import expect
from sire_cli.options.completion import complete_device, complete_model
from sire_cli.options.serving import register_served
from sire_cli.terminal.output import print_message

# Of the service without a name of its own.
_SERVICE = "serve"


def serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Models to serve, which are loaded at once; all models if omitted.",
            autocompletion=complete_model,
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Address to listen on; port 0 takes any that is free. :PORT means all interfaces, "
            "so that keys are demanded.",
        ),
    ] = "127.0.0.1:8470",
    grpc: Annotated[
        str | None,
        typer.Option(
            "--grpc",
            metavar="HOST:PORT",
            help="Address to answer the Open Inference Protocol on over gRPC as well.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            metavar="FILE",
            help="Demand an API key of this file (see sire key). On an address that other machines "
            "can reach, keys are always demanded; keys.json beside config.toml is the default.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, to serve HTTPS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of the certificate.")
    ] = None,
    loading_wait: Annotated[
        str | None,
        typer.Option(
            "--loading-wait",
            metavar="DURATION",
            help="How long a request waits for its model to be loaded before it is answered with "
            "503 and Retry-After, while the load goes on; 60s by default.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            "--cors",
            metavar="ORIGIN",
            help="Site whose web pages may use the models, like https://chat.example; repeat for "
            "several. None by default.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            help="Most time for a request to this gateway that states none; the daemon's "
            "defaults.timeout if omitted. Programs may answer for longer once they have begun.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="Register the model anew for this device, such as cpu or cuda:0.",
            autocompletion=complete_device,
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            "--framework",
            metavar="NAME",
            help="Register the model anew so that its file is served by vllm, tgi or llama.cpp, "
            "programs that have to be installed; or by transformers, which sire runs itself.",
        ),
    ] = None,
    max_batch_size: Annotated[
        int | None,
        typer.Option(
            "--max-batch-size",
            metavar="N",
            min=1,
            help="Register the model anew to run N rows in a pass; with a program of --framework, "
            "N requests at once.",
        ),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Have the daemon keep the gateway as a service, also after a restart.",
        ),
    ] = False,
    service: Annotated[
        str | None,
        typer.Option(
            "--service",
            metavar="NAME",
            help="Name of the service with --detach; by default that of the one model, or serve.",
        ),
    ] = None,
) -> None:
    """Serve models over HTTP until Ctrl-C.

    With --detach the daemon goes on with it as a service; see sire service.
    Needs the extra: pip install 'sire[http]', or 'sire[grpc]' for --grpc.
    """
    register_served(names or (), device, framework, max_batch_size)
    spec = ServiceSpec(
        name=service or (names[0] if names and len(names) == 1 else _SERVICE),
        listen=listen,
        models=tuple(names or ()),
        grpc=grpc,
        keys=_absolute(keys),
        tls_cert=_absolute(tls_cert),
        tls_key=_absolute(tls_key),
        loading_wait=loading_wait,
        timeout=timeout,
        cors=tuple(cors or ()),
    )
    if detach:
        started = expect(ServiceInfo, StartService(service=spec))
        print_message(summary(started))
    elif service is not None:
        raise InvalidConfiguration("--service NAME needs --detach.")
    else:
        # The gateway takes the place of this process, so that signals reach it. -P keeps Python
        # from importing what the current directory contains.
        _become([sys.executable, "-P", "-m", "sired.gateway", *gateway_arguments(spec)])


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _become(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 (a list of arguments, no shell)
