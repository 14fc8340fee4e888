"""Requests and replies about services: gateways that the daemon keeps running."""

from typing import Literal

import msgspec

from sire.protocol.message import Message

ServiceState = Literal["starting", "running", "restarting", "stopping"]


class ServiceSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway is started with.

    Attributes:
        name: of the service.
        listen: the address, such as ``127.0.0.1:8470``; with port 0 any that is free, which the
            service keeps.
        models: the only models that it serves, which are loaded and do not expire; empty for all.
        grpc: the address for gRPC; None for HTTP alone.
        keys: the file of the API keys that it demands; None for none on the loopback interface, and
            for the default file elsewhere.
        tls_cert: the file with the certificate chain, and ``tls_key`` the one with its key; None
            for plain HTTP. All paths are absolute.
        loading_wait: how long a request waits for its model to be loaded, as text; None for the
            default.
        timeout: of requests that state none, as text; None for the daemon's default.
        cors: the origins of other sites whose pages may use it.
    """

    name: str
    listen: str
    models: tuple[str, ...] = ()
    grpc: str | None = None
    keys: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    loading_wait: str | None = None
    timeout: str | None = None
    cors: tuple[str, ...] = ()


def gateway_arguments(spec: ServiceSpec) -> list[str]:
    """The options and names with which a gateway's process is started."""
    arguments = ["--listen", spec.listen]
    given = {
        "--grpc": spec.grpc,
        "--keys": spec.keys,
        "--tls-cert": spec.tls_cert,
        "--tls-key": spec.tls_key,
        "--loading-wait": spec.loading_wait,
        "--timeout": spec.timeout,
    }
    for option, value in given.items():
        if value is not None:
            arguments += [option, value]
    arguments += [f"--cors={origin}" for origin in spec.cors]
    return [*arguments, "--", *spec.models]


class StartService(Message, frozen=True, tag="start_service"):
    """Keep a gateway running, also after a restart; reply: ServiceInfo, once it takes requests."""

    service: ServiceSpec


class ListServices(Message, frozen=True, tag="list_services"):
    """List all services; reply: ServiceList."""


class ShowService(Message, frozen=True, tag="show_service"):
    """Show one service; reply: ServiceInfo."""

    name: str


class StopService(Message, frozen=True, tag="stop_service"):
    """End a service and forget it; reply: Done, once its process has ended."""

    name: str


class ServiceInfo(Message, frozen=True, tag="service"):
    """A service as it is now.

    Attributes:
        state: starting, running, restarting (it ended, and is to be started again) or stopping.
        state_seconds: how long it has been in that state.
        addresses: the URLs at which it takes requests; empty until it has run.
        configured: whether the settings start it (``[http]``), and not a request.
        pid: of its process; None while there is none.
        restarts: how often it was started again.
        retry_seconds: until it is started again; None if it runs.
        last_error: why its process ended last; "" if none has.
        output: the last lines that this process printed.
    """

    service: ServiceSpec
    state: ServiceState
    state_seconds: float
    addresses: tuple[str, ...] = ()
    configured: bool = False
    pid: int | None = None
    restarts: int = 0
    retry_seconds: float | None = None
    last_error: str = ""
    output: tuple[str, ...] = ()


class ServiceList(Message, frozen=True, tag="services"):
    """All services, by name."""

    services: tuple[ServiceInfo, ...]


class GatewayReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway tells the daemon that started it: where it listens, or why it cannot.

    Attributes:
        addresses: its URLs.
        code: the code of the error, with its ``message`` and ``hint``; "" for none.
    """

    addresses: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    hint: str = ""
