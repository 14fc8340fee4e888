"""The service that the settings start (``[http]``)."""

from pathlib import Path

from sire.protocol.services import ServiceSpec
from sire.units import exact_duration
from sired.config.settings import HttpSettings

NAME = "http"


def configured_service(settings: HttpSettings, directory: Path) -> tuple[ServiceSpec, ...]:
    """The service, if the settings have an address for it.

    Args:
        settings: what it is started with.
        directory: that relative paths start at.
    """

    def path(given: str) -> str | None:
        return str(directory / Path(given).expanduser()) if given else None

    if not settings.listen:
        return ()
    return (
        ServiceSpec(
            name=NAME,
            listen=settings.listen,
            grpc=settings.grpc or None,
            keys=path(settings.keys),
            tls_cert=path(settings.tls_cert),
            tls_key=path(settings.tls_key),
            loading_wait=exact_duration(settings.loading_wait),
            cors=settings.cors,
        ),
    )
