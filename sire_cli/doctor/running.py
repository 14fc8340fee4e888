"""Whether the driver, systemd and the daemon answer, and fit."""

import getpass
import os
import shutil
import subprocess
from pathlib import Path

import sire
from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.errors import InvalidConfiguration, SireError
from sire.paths import Paths
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from sire_cli.doctor.finding import Finding
from sire_cli.host.config_file import check_settings
from sire_cli.host.systemd import units

_ANSWER_SECONDS = 3.0


def driver_version() -> tuple[int, int] | None:
    """The CUDA version that the NVIDIA driver serves; None where no driver answers."""
    import pynvml  # noqa: PLC0415 (it takes a while to import)

    try:
        pynvml.nvmlInit()
        version = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return version // 1000, version % 1000 // 10


def driver(version: tuple[int, int] | None, devices: Path = Path("/proc/driver/nvidia")) -> Finding:
    """The NVIDIA driver answers, where its module is loaded."""
    if version is not None:
        return Finding("driver", "ok", f"NVIDIA's, for CUDA up to {version[0]}.{version[1]}")
    if devices.exists():
        return Finding(
            "driver",
            "problem",
            "NVIDIA's is loaded, and does not answer",
            "Look at nvidia-smi; after an update of the driver restart the machine",
        )
    return Finding("driver", "ok", "none of NVIDIA: models run on the CPU")


def lingering() -> Finding:
    """A user unit ends with the last logout, unless systemd is told otherwise."""
    name = "linger"
    if not any(unit.exists() for unit in units()):
        return Finding(name, "ok", "no systemd unit is installed")
    if not shutil.which("loginctl"):
        return Finding(name, "warning", "a unit is installed, and there is no loginctl")
    user = getpass.getuser()
    done = subprocess.run(
        ["loginctl", "show-user", user, "--property=Linger", "--value"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stdout.strip() == "yes":
        return Finding(name, "ok", "the daemon stays after you log out")
    return Finding(
        name, "warning", "the daemon ends when you log out", f"loginctl enable-linger {user}"
    )


def settings() -> Finding:
    """A daemon would start with the settings as they are."""
    try:
        check_settings()
    except InvalidConfiguration as error:
        return Finding("settings", "problem", error.message.rstrip("."), error.hint)
    return Finding("settings", "ok", "as they should be")


def daemon(paths: Paths) -> Finding:
    """The daemon answers, and is of the version of this command."""
    name = "daemon"
    try:
        if not daemon_runs(paths):
            autostart = os.environ.get("SIRE_NO_AUTOSTART", "0") in {"", "0"}
            advice = "" if autostart else "sire daemon start"
            said = "none runs" + ("; it starts when it is needed" if autostart else "")
            return Finding(name, "ok" if autostart else "warning", said, advice)
        with Connection(paths, autostart=False) as connection:
            report = connection.expect(HealthReport, Health(), timeout=_ANSWER_SECONDS)
    except SireError as error:
        return Finding(
            name, "problem", error.message.rstrip("."), error.hint or "sire daemon restart"
        )
    if report.version != sire.__version__:
        said = f"it is version {report.version}, this command {sire.__version__}"
        return Finding(name, "warning", said, "sire daemon restart")
    if report.problems:
        return Finding(name, "warning", "; ".join(report.problems), "See: sire health")
    return Finding(name, "ok", f"version {report.version}, {report.status}")
