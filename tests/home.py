"""A directory with a private daemon in it, and how a daemon is shared by one test after another."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sire_cli import main
from sired.client.autostart import daemon_runs, start_daemon
from sired.client.connection import Connection
from sired.errors import SireError
from sired.paths import find_paths
from sired.protocol.requests import CancelJobs, ListModels, Ps, Remove, RemoveJobs

TIDY_SECONDS = 5
END_SECONDS = 30


class Home:
    """One private daemon's directory, short enough for its socket."""

    def __init__(self, shared=False):
        self.path = Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp"))
        self.shared = shared

    @property
    def environment(self):
        return {**os.environ, "SIRE_HOME": str(self.path), "NO_COLOR": "1", "COLUMNS": "200"}

    @property
    def paths(self):
        return find_paths({"SIRE_HOME": str(self.path)})

    def configure(self, text):
        assert not self.shared, "others use this daemon: mark the test with pytest.mark.own_daemon"
        self.paths.config.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(text)

    def sire(self, *arguments, stdin=b"", code=0, env=None):
        """Run the real command; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "sire_cli", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**self.environment, **(env or {})},
            check=False,
            timeout=90,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def register(self, *arguments):
        """Run `sire register` inside of this process: for models that are there to be used."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIRE_HOME", str(self.path))
            assert main.run(["register", *map(str, arguments)]) == 0

    def json(self, *arguments):
        return json.loads(self.sire(*arguments, "--json").stdout)

    def connect(self, autostart=True):
        return Connection(self.paths, autostart=autostart)

    def pid(self):
        return int(self.paths.lock.read_text())

    def stop(self):
        """End the daemon, if one runs, as systemd would."""
        if daemon_runs(self.paths):
            os.kill(self.pid(), signal.SIGTERM)
            deadline = time.monotonic() + END_SECONDS
            while daemon_runs(self.paths):
                assert time.monotonic() < deadline, "the daemon does not end"
                time.sleep(0.005)

    def close(self):
        self.stop()
        shutil.rmtree(self.path, ignore_errors=True)


class SharedHome:
    """Hands the same home to one test after the other, as long as each can be tidied up after."""

    def __init__(self):
        self._home = None
        self._pid = 0

    def take(self):
        """A home whose daemon runs, knows no models, and has no jobs."""
        if self._home is None:
            self._home = Home(shared=True)
            start_daemon(self._home.paths)
            self._pid = self._home.pid()
        return self._home

    def give_back(self):
        """Tidy up; where that cannot be, because the daemon was ended, say, the next gets another."""
        if not (daemon_runs(self._home.paths) and self._home.pid() == self._pid and self._tidy()):
            self.close()

    def close(self):
        if self._home is not None:
            self._home.close()
            self._home = None

    def _tidy(self):
        try:
            with self._home.connect(autostart=False) as connection:
                return _is_left_empty(connection, self._home.paths)
        except SireError:
            return False


def _is_left_empty(connection, paths):
    """Remove jobs, models, workers at whatever they are, and what they printed."""
    connection.ask(CancelJobs(all=True), timeout=TIDY_SECONDS)
    connection.ask(RemoveJobs(older_than=0), timeout=TIDY_SECONDS)
    busy = connection.ask(Ps(), timeout=TIDY_SECONDS)[0].instances
    for known in connection.ask(ListModels(), timeout=TIDY_SECONDS)[0].models:
        connection.ask(Remove(name=known.model.name), timeout=TIDY_SECONDS)
    for instance in busy:
        if instance.state == "busy":
            with contextlib.suppress(ProcessLookupError):
                os.kill(instance.pid, signal.SIGKILL)
    deadline = time.monotonic() + TIDY_SECONDS
    while connection.ask(Ps(), timeout=TIDY_SECONDS)[0].instances:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    for log in paths.model_log("m").parent.iterdir():
        log.unlink()
    return True
