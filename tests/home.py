"""A directory with a private daemon in it, and how a daemon is shared by one test after another."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sire.client.autostart import daemon_runs, start_daemon
from sire.client.connection import Connection
from sire.paths import Paths, find_paths
from sire.protocol.aliases import RemoveAlias
from sire.protocol.jobs import CancelJobs, RemoveJobs
from sire.protocol.replies import HealthReport, InstanceList, ModelList
from sire.protocol.requests import Health, ListModels, Ps, Remove
from sire.protocol.services import ListServices, ServiceList, StopService
from sire_cli import main
from tests.waiting import wait_until


class Home:
    """One private daemon's directory, short enough for its socket."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp"))
        self.shared = False

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SIRE_HOME": str(self.path), "NO_COLOR": "1", "COLUMNS": "200"}

    @property
    def paths(self) -> Paths:
        return find_paths({"SIRE_HOME": str(self.path)})

    def configure(self, text: str) -> None:
        assert not self.shared, "others use this daemon: mark the test with pytest.mark.own_daemon"
        self.paths.config.mkdir(parents=True, exist_ok=True)
        self.paths.config_file.write_text(text)

    def sire(
        self, *arguments: Any, stdin: bytes = b"", code: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
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

    def register(self, *arguments: Any) -> None:
        """Run `sire register` inside of this process: for models that are there to be used."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIRE_HOME", str(self.path))
            assert main.run(["register", *map(str, arguments)]) == 0

    def json(self, *arguments: Any) -> Any:
        """What `sire` prints with --json; run inside of this process, because tests poll by it."""
        printed = io.TextIOWrapper(io.BytesIO(), "utf-8")
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            # Commands that start no daemon say so here, to themselves.
            for name, value in {"SIRE_NO_AUTOSTART": "0", **self.environment}.items():
                patch.setenv(name, value)
            code = main.run([*map(str, arguments), "--json"])
        printed.seek(0)
        said = printed.read()
        assert code == 0, (arguments, code, said)
        return json.loads(said)

    def connect(self, autostart: bool = True) -> Connection:
        return Connection(self.paths, autostart=autostart)

    def pid(self) -> int:
        return int(self.paths.lock.read_text())

    def stop(self) -> None:
        """End the daemon, if one runs, as systemd would."""
        if daemon_runs(self.paths):
            os.kill(self.pid(), signal.SIGTERM)
            wait_until(lambda: not daemon_runs(self.paths))

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.path, ignore_errors=True)


class SharedHome:
    """Hands the same home to one test after the other, as long as each can be tidied up after."""

    def __init__(self) -> None:
        self._home: Home | None = None
        self._settings = ""
        self._pid = 0

    def take(self, settings: str = "") -> Home:
        """A home whose daemon runs with these settings, knows no models, and has no jobs."""
        if self._settings != settings:
            self.close()
        if self._home is None:
            self._home = home = Home()
            home.configure(settings)
            home.shared = True
            self._settings = settings
            start_daemon(home.paths, arguments=["--die-with-parent"])
            self._pid = home.pid()
            with home.connect() as connection:
                wait_until(lambda: connection.expect(HealthReport, Health()).status == "ok")
        return self._home

    def give_back(self) -> None:
        """Remove jobs, models, workers and logs; a home whose daemon has ended is given up."""
        home = self._home
        assert home is not None, "it was not taken"
        if not daemon_runs(home.paths) or home.pid() != self._pid:
            self.close()
            return
        try:
            with home.connect(autostart=False) as connection:
                _remove_everything(connection)
        except BaseException:
            self.close()
            raise
        for log in home.paths.model_log("m").parent.iterdir():
            log.unlink()

    def close(self) -> None:
        if self._home is not None:
            self._home.close()
            self._home = None


def _remove_everything(connection: Connection) -> None:
    """Services, jobs, then models, then workers that would be at something for long."""
    for service in connection.expect(ServiceList, ListServices()).services:
        connection.ask(StopService(name=service.service.name))
    connection.ask(CancelJobs(all=True))
    connection.ask(RemoveJobs(older_than=0))
    instances = connection.expect(InstanceList, Ps()).instances
    busy = [one.pid for one in instances if one.state == "busy" and one.pid is not None]
    listed = connection.expect(ModelList, ListModels())
    for state in listed.aliases:
        connection.ask(RemoveAlias(name=state.alias.name))
    for known in listed.models:
        connection.ask(Remove(name=known.model.name))
    for pid in busy:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not connection.expect(InstanceList, Ps()).instances)
