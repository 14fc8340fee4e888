"""The systemd user units of the daemon and of its socket."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sire.errors import SireError

SERVICE = "sired.service"
SOCKET = "sired.socket"

# Hardening that keeps CUDA devices and its just-in-time compiler usable.
_SERVICE = """\
[Unit]
Description=sire model daemon
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
UMask=0077

[Install]
WantedBy=default.target
"""

_SOCKET = """\
[Unit]
Description=sire model daemon socket
Documentation=man:sired(8)

[Socket]
ListenStream=%t/sire/sired.sock
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
"""


def units() -> dict[Path, str]:
    """The unit files and their contents, for the Python that runs this command."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path.home() / ".config"
    directory = config / "systemd" / "user"
    # systemd splits at spaces and expands percent signs.
    python = sys.executable.replace("%", "%%").replace(" ", "\\x20")
    return {
        directory / SOCKET: _SOCKET,
        directory / SERVICE: _SERVICE.format(python=python, socket=SOCKET),
    }


def install_units() -> list[str]:
    """Write and enable the units; returns messages about what was done and what remains to do.

    Raises:
        SireError: a file cannot be written, or systemctl fails.
    """
    messages = []
    for path, text in units().items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as problem:
            raise SireError(f"Cannot write {path}: {problem.strerror}.") from None
        messages.append(f"Wrote {path}.")
    if not systemd_runs():
        enable = f"systemctl --user enable --now {SOCKET} {SERVICE}"
        return [*messages, f"No systemd user session is running. Within one, run: {enable}"]
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", SOCKET, SERVICE)
    return [
        *messages,
        "Enabled and started: the daemon starts at login and whenever a request arrives.",
        "It stops at your last logout; a cron job then starts a separate daemon.",
        "To keep it running, and start it at boot: loginctl enable-linger",
    ]


def uninstall_units() -> list[str]:
    """Stop, disable and remove the units; returns messages about what was done.

    Raises:
        SireError: systemctl fails, or a file cannot be removed.
    """
    installed = [path for path in units() if path.exists()]
    if not installed:
        return [f"No unit is installed: {', '.join(map(str, units()))}"]
    if systemd_runs():
        _systemctl("disable", "--now", *(path.name for path in installed))
    for path in installed:
        try:
            path.unlink()
        except OSError as problem:
            raise SireError(f"Cannot remove {path}: {problem.strerror}.") from None
    if systemd_runs():
        _systemctl("daemon-reload")
    return [f"Removed {path}." for path in installed]


def systemd_runs() -> bool:
    """Whether a systemd user manager is running."""
    program = shutil.which("systemctl")
    if program is None:
        return False
    result = subprocess.run(
        [program, "--user", "show-environment"], capture_output=True, check=False
    )
    return result.returncode == 0


def _systemctl(*arguments: str) -> None:
    program = shutil.which("systemctl") or "systemctl"
    result = subprocess.run(
        [program, "--user", *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SireError(f"systemctl --user {' '.join(arguments)} failed: {result.stderr.strip()}")
