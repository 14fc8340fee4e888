"""The systemd user unit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sired.errors import SireError

UNIT = "sired.service"

# Hardening that CUDA can live with: its devices and its just-in-time compiler stay usable.
_TEXT = """\
[Unit]
Description=sire: owner of the GPUs and of the models loaded on them
Documentation=man:sired(8)

[Service]
Type=notify
ExecStart={python} -P -m sired
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
TimeoutStopSec=60
WatchdogSec=60
KillMode=mixed
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def unit_path() -> Path:
    """Where the unit belongs."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path.home() / ".config"
    return config / "systemd" / "user" / UNIT


def unit_text() -> str:
    """The unit, for the Python that runs this."""
    # systemd splits at blanks and expands percent signs.
    python = sys.executable.replace("%", "%%").replace(" ", "\\x20")
    return _TEXT.format(python=python)


def install_unit() -> list[str]:
    """Write and enable the unit; returns what was done, and what is left to do.

    Raises:
        SireError: the file cannot be written, or systemd refuses it.
    """
    path = unit_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit_text())
    except OSError as problem:
        raise SireError(f"Cannot write {path}: {problem.strerror}.") from None
    said = [f"Wrote {path}."]
    if not _systemd_runs():
        return [*said, f"No systemd user session is running here: systemctl --user enable {UNIT}"]
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", UNIT)
    return [
        *said,
        f"Enabled and started {UNIT}.",
        "It ends when you log out for the last time. To keep it: loginctl enable-linger",
    ]


def uninstall_unit() -> list[str]:
    """Stop, disable and remove the unit; returns what was done.

    Raises:
        SireError: systemd refuses, or the file cannot be removed.
    """
    path = unit_path()
    if not path.exists():
        return [f"There is no {path}."]
    if _systemd_runs():
        _systemctl("disable", "--now", UNIT)
    try:
        path.unlink()
    except OSError as problem:
        raise SireError(f"Cannot remove {path}: {problem.strerror}.") from None
    if _systemd_runs():
        _systemctl("daemon-reload")
    return [f"Removed {path}."]


def _systemd_runs() -> bool:
    """Whether a systemd user manager can be talked to."""
    program = shutil.which("systemctl")
    if program is None:
        return False
    asked = subprocess.run(
        [program, "--user", "show-environment"], capture_output=True, check=False
    )
    return asked.returncode == 0


def _systemctl(*arguments: str) -> None:
    program = shutil.which("systemctl") or "systemctl"
    done = subprocess.run(
        [program, "--user", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SireError(f"systemctl --user {' '.join(arguments)} failed: {done.stderr.strip()}")
