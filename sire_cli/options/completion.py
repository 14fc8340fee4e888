"""Names for shell completion; empty whenever the daemon does not reply at once."""

from sire.errors import SireError
from sire.protocol.devices import DeviceList
from sire.protocol.jobs import JobList, ListJobs
from sire.protocol.replies import ModelList
from sire.protocol.requests import Devices, ListModels
from sire.protocol.services import ListServices, ServiceList

# Completion should take at most 200 ms, about half of which Python needs to start.
_TIMEOUT_SECONDS = 0.1
# A longer list is of no use to choose from.
_MOST_JOBS = 50


def complete_model(incomplete: str) -> list[str]:
    """Registered models and aliases whose names start with this text."""
    reply = _models()
    names = [info.model.name for info in reply.models]
    return [name for name in (*names, *_aliases(reply)) if name.startswith(incomplete)]


def complete_alias(incomplete: str) -> list[str]:
    """Aliases whose names start with this text."""
    return [name for name in _aliases(_models()) if name.startswith(incomplete)]


def _aliases(reply: ModelList) -> list[str]:
    return [state.alias.name for state in reply.aliases]


def _models() -> ModelList:
    from sire_cli.daemon_connection import connect  # noqa: PLC0415

    try:
        with connect(autostart=False) as connection:
            return connection.expect(ModelList, ListModels(), timeout=_TIMEOUT_SECONDS)
    except (SireError, OSError):
        return ModelList(models=())


def complete_device(incomplete: str) -> list[str]:
    """Devices whose names start with this text, and "auto"."""
    from sire_cli.daemon_connection import connect  # noqa: PLC0415

    try:
        with connect(autostart=False) as connection:
            reply = connection.expect(DeviceList, Devices(), timeout=_TIMEOUT_SECONDS)
    except (SireError, OSError):
        return []
    names = ["auto", *(device.name for device in reply.devices)]
    return [name for name in names if name.startswith(incomplete)]


def complete_tier(incomplete: str) -> list[str]:
    """Targets of ``sire move``: devices, and the tiers dram and disk."""
    tiers = [name for name in ("dram", "disk") if name.startswith(incomplete)]
    return [*complete_device(incomplete), *tiers]


def complete_priority(incomplete: str) -> list[str]:
    """Priorities that start with this text."""
    return [name for name in ("high", "normal", "low") if name.startswith(incomplete)]


def complete_service(incomplete: str) -> list[str]:
    """Services whose names start with this text."""
    from sire.client.connection import Connection  # noqa: PLC0415

    try:
        with Connection(autostart=False) as connection:
            reply = connection.expect(ServiceList, ListServices(), timeout=_TIMEOUT_SECONDS)
    except (SireError, OSError):
        return []
    names = [info.service.name for info in reply.services]
    return [name for name in names if name.startswith(incomplete)]


def complete_job(incomplete: str) -> list[str]:
    """The latest jobs whose ids start with this text."""
    from sire_cli.daemon_connection import connect  # noqa: PLC0415

    request = ListJobs(limit=_MOST_JOBS)
    try:
        with connect(autostart=False) as connection:
            reply = connection.expect(JobList, request, timeout=_TIMEOUT_SECONDS)
    except (SireError, OSError):
        return []
    return [job.id for job in reply.jobs if job.id.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Settings whose keys start with this text."""
    from sire_cli.host.config_file import effective_settings  # noqa: PLC0415

    try:
        report = effective_settings()
    except (SireError, OSError):
        return []
    return [setting.key for setting in report.settings if setting.key.startswith(incomplete)]
