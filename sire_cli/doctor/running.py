"""Checks of the driver, systemd, the settings and the daemon."""

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
from sire_cli.doctor.limited import within
from sire_cli.host.config_file import check_settings
from sire_cli.host.systemd import units

_REPLY_SECONDS = 3.0


def driver_version() -> tuple[int, int] | str:
    """The highest CUDA version that the NVIDIA driver supports, else its error in its words."""
    import pynvml  # noqa: PLC0415 (its import is slow)

    def ask() -> tuple[int, int] | str:
        try:
            pynvml.nvmlInit()
            version = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            return str(error)
        return version // 1000, version % 1000 // 10

    try:
        return within(ask)
    except TimeoutError as error:
        return str(error)


def driver(version: tuple[int, int] | str, devices: Path = Path("/proc/driver/nvidia")) -> Finding:
    """Check that the NVIDIA driver responds if its kernel module is loaded.

    Args:
        version: the CUDA version it supports, or why it does not respond.
        devices: exists if the kernel module is loaded.
    """
    if not isinstance(version, str):
        return Finding("driver", "ok", f"NVIDIA, for CUDA up to {version[0]}.{version[1]}")
    if devices.exists():
        return Finding(
            "driver",
            "problem",
            f"the NVIDIA kernel module is loaded, but the driver does not respond: {version}",
            "See nvidia-smi; after a driver update, restart the machine",
        )
    return Finding("driver", "ok", "no NVIDIA driver; models run on the CPU")


def lingering() -> Finding:
    """Check whether an installed user unit outlives the last logout."""
    name = "linger"
    if not any(unit.exists() for unit in units()):
        return Finding(name, "ok", "no systemd unit is installed")
    if not shutil.which("loginctl"):
        return Finding(name, "warning", "a unit is installed, but loginctl was not found")
    user = getpass.getuser()
    result = subprocess.run(
        ["loginctl", "show-user", user, "--property=Linger", "--value"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if result.stdout.strip() == "yes":
        return Finding(name, "ok", "the daemon keeps running after you log out")
    return Finding(
        name, "warning", "the daemon stops when you log out", f"loginctl enable-linger {user}"
    )


def settings() -> Finding:
    """Check that the daemon would start with the current settings."""
    try:
        check_settings()
    except InvalidConfiguration as error:
        return Finding("settings", "problem", error.message.rstrip("."), error.hint)
    return Finding("settings", "ok", "valid")


def daemon(paths: Paths) -> Finding:
    """Check that the daemon responds and has the version of this command."""
    name = "daemon"
    try:
        if not daemon_runs(paths):
            autostart = os.environ.get("SIRE_NO_AUTOSTART", "0") in {"", "0"}
            advice = "" if autostart else "sire daemon start"
            state = "not running" + ("; it starts when needed" if autostart else "")
            return Finding(name, "ok" if autostart else "warning", state, advice)
        with Connection(paths, autostart=False) as connection:
            report = connection.expect(HealthReport, Health(), timeout=_REPLY_SECONDS)
    except SireError as error:
        return Finding(
            name, "problem", error.message.rstrip("."), error.hint or "sire daemon restart"
        )
    if report.version != sire.__version__:
        versions = f"version {report.version}, but this command has version {sire.__version__}"
        return Finding(name, "warning", versions, "sire daemon restart")
    if report.problems:
        return Finding(name, "warning", "; ".join(report.problems), "See: sire health")
    return Finding(name, "ok", f"version {report.version}, {report.status}")
