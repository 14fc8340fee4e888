"""``sire serve``."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sire.errors import InvalidConfiguration
from sire_cli.options.completion import complete_model

# What the gateway needs beside the dependencies of every installation, by the extra that brings it.
_HTTP = ("aiohttp", "python_multipart", "starlette", "uvicorn", "uvloop", "httptools")
_GRPC = ("grpc", "google.protobuf")


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
            help="Address to listen on; port 0 takes any that is free.",
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
) -> None:
    """Serve models over HTTP until Ctrl-C.

    Needs the extra: pip install 'sire[http]', or 'sire[grpc]' for --grpc.
    """
    _check_packages("http", _HTTP)
    if grpc is not None:
        _check_packages("grpc", _GRPC)
    # The gateway takes the place of this process, so that signals reach it. -P keeps Python from
    # importing what the current directory contains.
    command = [sys.executable, "-P", "-m", "sired.gateway", "--listen", listen]
    options = {
        "--grpc": grpc,
        "--keys": keys,
        "--tls-cert": tls_cert,
        "--tls-key": tls_key,
        "--loading-wait": loading_wait,
    }
    for option, given in options.items():
        if given is not None:
            command += [option, str(given)]
    command += [f"--cors={origin}" for origin in cors or ()]
    _become([*command, "--", *(names or ())])


def _check_packages(extra: str, packages: tuple[str, ...]) -> None:
    """Raise InvalidConfiguration if a package of an extra is missing."""
    if missing := [name for name in packages if not _is_installed(name)]:
        raise InvalidConfiguration(
            f"sire serve needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed.",
            hint=f"Install the extra: pip install 'sire[{extra}]'",
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is part of
        return False


def _become(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 (a list of arguments, no shell)
