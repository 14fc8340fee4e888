"""The systemd user units: the daemon, and the socket that starts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sire.errors import SireError

SERVICE = "sired.service"
SOCKET = "sired.socket"

# Hardening that CUDA can live with: its devices and its just-in-time compiler stay usable.
_SERVICE = """\
[Unit]
Description=sire: owner of the GPUs and of the models loaded on them
Documentation=man:sired(8)
Requires={socket}
After={socket}

[Service]
Type=notify
ExecStart={python} -P -m sired --set workers.control_groups=true
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
TimeoutStopSec=60
WatchdogSec=60
KillMode=mixed
Delegate=memory
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
UMask=0077

[Install]
WantedBy=default.target
"""

_SOCKET = """\
[Unit]
Description=sire: where requests start the daemon
Documentation=man:sired(8)

[Socket]
ListenStream=%t/sire/sired.sock
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
"""


def units() -> dict[Path, str]:
    """The units' files and what is to stand in them, for the Python that runs this."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path.home() / ".config"
    directory = config / "systemd" / "user"
    # systemd splits at blanks and expands percent signs.
    python = sys.executable.replace("%", "%%").replace(" ", "\\x20")
    return {
        directory / SOCKET: _SOCKET,
        directory / SERVICE: _SERVICE.format(python=python, socket=SOCKET),
    }


def install_units() -> list[str]:
    """Write and enable the units; returns what was done, and what is left to do.

    Raises:
        SireError: a file cannot be written, or systemd refuses it.
    """
    said = []
    for path, text in units().items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as problem:
            raise SireError(f"Cannot write {path}: {problem.strerror}.") from None
        said.append(f"Wrote {path}.")
    if not systemd_runs():
        enable = f"systemctl --user enable --now {SOCKET} {SERVICE}"
        return [*said, f"No systemd user session is running here. In one: {enable}"]
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", SOCKET, SERVICE)
    return [
        *said,
        "Enabled and started: the daemon runs from login on, and whenever it is asked for.",
        "It ends when you log out for the last time; a cron job then starts one of its own.",
        "To keep it, also over a reboot: loginctl enable-linger",
    ]


def uninstall_units() -> list[str]:
    """Stop, disable and remove the units; returns what was done.

    Raises:
        SireError: systemd refuses, or a file cannot be removed.
    """
    there = [path for path in units() if path.exists()]
    if not there:
        return [f"There is none of {', '.join(map(str, units()))}."]
    if systemd_runs():
        _systemctl("disable", "--now", *(path.name for path in there))
    for path in there:
        try:
            path.unlink()
        except OSError as problem:
            raise SireError(f"Cannot remove {path}: {problem.strerror}.") from None
    if systemd_runs():
        _systemctl("daemon-reload")
    return [f"Removed {path}." for path in there]


def systemd_runs() -> bool:
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
