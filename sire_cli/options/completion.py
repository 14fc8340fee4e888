"""Names for the shell to complete; silent whenever the daemon does not answer at once."""

from sire.errors import SireError
from sire.protocol.replies import DeviceList, JobList, ModelList
from sire.protocol.requests import Devices, ListJobs, ListModels

# Out of 200 ms between the key and the list: the rest is Python's start.
_PATIENCE_SECONDS = 0.1
# Nobody picks from a longer list.
_LATEST_JOBS = 50


def complete_model(incomplete: str) -> list[str]:
    """Registered models whose names begin so."""
    from sire.client.connection import Connection  # noqa: PLC0415

    try:
        with Connection(autostart=False) as connection:
            reply = connection.expect(ModelList, ListModels(), timeout=_PATIENCE_SECONDS)
    except (SireError, OSError):
        return []
    names = [info.model.name for info in reply.models]
    return [name for name in names if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """Devices whose names begin so, and "auto"."""
    from sire.client.connection import Connection  # noqa: PLC0415

    try:
        with Connection(autostart=False) as connection:
            reply = connection.expect(DeviceList, Devices(), timeout=_PATIENCE_SECONDS)
    except (SireError, OSError):
        return []
    names = ["auto", *(device.name for device in reply.devices)]
    return [name for name in names if name.startswith(incomplete)]


def complete_tier(incomplete: str) -> list[str]:
    """Where a model can be moved to: what devices there are, and the tiers below."""
    tiers = [name for name in ("dram", "disk") if name.startswith(incomplete)]
    return [*complete_device(incomplete), *tiers]


def complete_priority(incomplete: str) -> list[str]:
    """The classes of priority that begin so."""
    return [name for name in ("high", "normal", "low") if name.startswith(incomplete)]


def complete_job(incomplete: str) -> list[str]:
    """The latest jobs whose ids begin so."""
    from sire.client.connection import Connection  # noqa: PLC0415

    request = ListJobs(limit=_LATEST_JOBS)
    try:
        with Connection(autostart=False) as connection:
            reply = connection.expect(JobList, request, timeout=_PATIENCE_SECONDS)
    except (SireError, OSError):
        return []
    return [job.id for job in reply.jobs if job.id.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """The settings that begin so."""
    from sire_cli.host.config_file import in_force  # noqa: PLC0415

    try:
        report = in_force()
    except (SireError, OSError):
        return []
    return [setting.key for setting in report.settings if setting.key.startswith(incomplete)]
