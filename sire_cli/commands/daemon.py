"""``sire daemon``: start, stop and inspect the daemon."""

import os
import signal
import sys
import time

import typer

from sire.client.autostart import daemon_runs, ensure_daemon
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable, DeadlineExceeded
from sire.paths import Paths, find_paths
from sire.protocol.replies import Done, HealthReport
from sire.protocol.requests import Health, Shutdown
from sire_cli.commands.health import health
from sire_cli.commands.logs import (
    Component,
    Follow,
    Level,
    LineFilter,
    Lines,
    Since,
    show_daemon_log,
)
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_message

daemon = typer.Typer(cls=CommandGroup, help="Start, stop and manage the daemon.")

# Longer than any reasonable daemon.grace.
_STOP_SECONDS = 120.0
_POLL_SECONDS = 0.02
_REPLY_SECONDS = 3.0


@daemon.command(cls=Command)
def start() -> None:
    """Start the daemon in the background if it is not running."""
    paths = find_paths()
    if daemon_runs(paths):
        print_message("The daemon is already running.")
        return
    ensure_daemon(paths)
    with Connection(autostart=False) as connection:
        report = connection.expect(HealthReport, Health())
    print_message(f"The daemon is running (pid {report.pid}).")


@daemon.command(cls=Command)
def stop() -> None:
    """Finish running requests, then stop the daemon and all models."""
    if _stop():
        print_message("The daemon has stopped.")
    else:
        print_message("No daemon is running.")


@daemon.command(cls=Command)
def restart() -> None:
    """Stop the daemon and start it again."""
    _stop()
    start()


@daemon.command(cls=Command)
def status(json: AsJson = False) -> None:
    """Show the state of the daemon; fail if it is not running."""
    os.environ["SIRE_NO_AUTOSTART"] = "1"
    health(json=json)


@daemon.command(cls=Command)
def logs(
    follow: Follow = False,
    lines: Lines = None,
    since: Since = None,
    component: Component = None,
    level: Level = None,
    json: AsJson = False,
) -> None:
    """Show the log of the daemon, as sire logs does."""
    show_daemon_log(LineFilter(since, component, level), follow=follow, lines=lines, json=json)


@daemon.command(cls=Command)
def run() -> None:
    """Run the daemon in the foreground until Ctrl-C."""
    # -P: the daemon must not import modules from the working directory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sired"])  # noqa: S606


@daemon.command(cls=Command)
def install() -> None:
    """Install and enable systemd user units for the daemon.

    The daemon then starts at login and whenever a request arrives.
    """
    from sire_cli.host.systemd import install_units, systemd_runs  # noqa: PLC0415

    if systemd_runs() and _stop():
        print_message("Stopped the running daemon; systemd starts its own.")
    for line in install_units():
        print_message(line)


@daemon.command(cls=Command)
def uninstall() -> None:
    """Disable and remove the systemd user units."""
    from sire_cli.host.systemd import uninstall_units  # noqa: PLC0415

    for line in uninstall_units():
        print_message(line)


def _request_stop(paths: Paths, pid: str) -> None:
    """Request the daemon to stop; send SIGTERM to its process if it does not reply."""
    with Connection(autostart=False) as connection:
        try:
            connection.expect(Done, Shutdown(), timeout=_REPLY_SECONDS)
        except (DeadlineExceeded, DaemonUnavailable):
            if daemon_runs(paths) and paths.lock.read_text() == pid:
                os.kill(int(pid), signal.SIGTERM)


def _stop() -> bool:
    """Stop the daemon and wait for its end; False if it is not running."""
    paths = find_paths()
    if not daemon_runs(paths):
        return False
    pid = paths.lock.read_text()
    _request_stop(paths, pid)
    deadline = time.monotonic() + _STOP_SECONDS
    # Another daemon may be started meanwhile; that one is not waited for.
    while daemon_runs(paths) and paths.lock.read_text() == pid:
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"The daemon did not stop within {_STOP_SECONDS:.0f} s.",
                hint="See its log: sire logs",
            )
        time.sleep(_POLL_SECONDS)
    return True
