"""``sire daemon``: the daemon's life, by hand."""

import contextlib
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
from sire_cli.commands.logs import Follow, Lines, Since, show_daemon_log
from sire_cli.options.typer_command import CommandGroup
from sire_cli.terminal.output import AsJson, say

daemon = typer.Typer(cls=CommandGroup, help="Start, stop and look after the daemon.")

# Longer than the longest grace period anybody would set.
_STOP_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_ANSWER_SECONDS = 3.0


@daemon.command()
def start() -> None:
    """Start the daemon in the background; nothing happens when it runs."""
    paths = find_paths()
    if daemon_runs(paths):
        say("The daemon is running already.")
        return
    ensure_daemon(paths)
    with Connection(autostart=False) as connection:
        report = connection.expect(HealthReport, Health())
    say(f"The daemon is running (pid {report.pid}).")


@daemon.command()
def stop() -> None:
    """Let running requests finish, then end the daemon and all models' processes."""
    if _stop():
        say("The daemon has stopped.")
    else:
        say("No daemon is running.")


@daemon.command()
def restart() -> None:
    """Stop the daemon and start it again."""
    _stop()
    start()


@daemon.command()
def status(json: AsJson = False) -> None:
    """Say how the daemon is; fail when none runs."""
    os.environ["SIRE_NO_AUTOSTART"] = "1"
    health(json=json)


@daemon.command()
def logs(
    follow: Follow = False, lines: Lines = None, since: Since = None, json: AsJson = False
) -> None:
    """Show what the daemon logged, like sire logs."""
    show_daemon_log(follow=follow, lines=lines, since=since, json=json)


@daemon.command()
def run() -> None:
    """Be the daemon, in the foreground, until ^C."""
    # -P: modules that lie in the working directory are not the daemon's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "sired"])  # noqa: S606


@daemon.command()
def install() -> None:
    """Have systemd run the daemon for you, from login on and whenever it is asked for."""
    from sire_cli.host.systemd import install_units, systemd_runs  # noqa: PLC0415

    if systemd_runs() and _stop():
        say("The daemon that was running has stopped, for systemd to start its own.")
    for line in install_units():
        say(line)


@daemon.command()
def uninstall() -> None:
    """Undo install."""
    from sire_cli.host.systemd import uninstall_units  # noqa: PLC0415

    for line in uninstall_units():
        say(line)


def _ask_to_stop(paths: Paths) -> None:
    """Tell the daemon to stop; by a signal where it does not answer."""
    with Connection(autostart=False) as connection, contextlib.suppress(DaemonUnavailable):
        try:
            connection.expect(Done, Shutdown(), timeout=_ANSWER_SECONDS)
        except DeadlineExceeded:
            # Who holds the lock has written its pid there, and it holds it still.
            os.kill(int(paths.lock.read_text()), signal.SIGTERM)


def _stop() -> bool:
    """Stop the daemon and wait until it is gone; False when none runs."""
    paths = find_paths()
    if not daemon_runs(paths):
        return False
    pid = paths.lock.read_text()
    _ask_to_stop(paths)
    deadline = time.monotonic() + _STOP_SECONDS
    # Somebody may start another one meanwhile: that one is not waited for.
    while daemon_runs(paths) and paths.lock.read_text() == pid:
        if time.monotonic() > deadline:
            raise DaemonUnavailable(
                f"The daemon has not stopped within {_STOP_SECONDS:.0f} s.",
                hint="See what it does: sire daemon logs",
            )
        time.sleep(_LOOK_SECONDS)
    return True
