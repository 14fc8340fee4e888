"""Private daemons with any number of registered models."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors.torch import save_file

from benchmarks import models
from benchmarks.workloads import SMALL
from sire.client.autostart import daemon_runs, start_daemon
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable
from sire.paths import Paths, find_paths
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Load, Shutdown
from sire.spec import ModelSpec
from sired.store.model_file import to_toml
from sired.store.snapshots import Snapshot, Snapshots, code_digest

# A model that keeps its worker for a while without computing anything.
SLEEPER = "sleeper"


@dataclass(frozen=True, slots=True)
class Home:
    """A directory with a registry, and its daemon."""

    paths: Paths

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands talk to this daemon."""
        return {**os.environ, "SIRE_HOME": str(self.paths.runtime.parent)}

    def connect(self) -> Connection:
        """A connection to this daemon."""
        return Connection(self.paths, autostart=False)

    def start(self) -> None:
        """Start the daemon, and return when it has answered."""
        start_daemon(self.paths)
        with self.connect() as connection:
            connection.ask(Health())

    def stop(self) -> None:
        """Stop the daemon if it runs, and return when its process has ended."""
        try:
            with self.connect() as connection:
                connection.ask(Shutdown())
        except DaemonUnavailable:
            return
        while daemon_runs(self.paths):
            time.sleep(0.01)

    def warm_up(self) -> None:
        """Wait until the frameworks are imported, and load the model that is measured."""
        with self.connect() as connection:
            while connection.expect(HealthReport, Health()).status != "ok":
                time.sleep(0.05)
            connection.ask(Load(name=SMALL.model))


@contextmanager
def home_of(count: int) -> Iterator[Home]:
    """Provide a home with that many models, its daemon not started; stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="sire-") as directory:
        home = Home(find_paths({"SIRE_HOME": directory}))
        _register(home.paths, Path(directory), count)
        try:
            yield home
        finally:
            home.stop()


def _register(paths: Paths, directory: Path, count: int) -> None:
    """Write the registry's files as ``sire register`` would, without a daemon."""
    weights = directory / "perceptron.safetensors"
    save_file(models.Perceptron().state_dict(), weights)
    spec = ModelSpec(
        name=SMALL.model,
        path=str(weights),
        runtime="pytorch",
        format="safetensors",
        model_class=f"{models.__file__}:Perceptron",
        keep_alive="forever",
        fingerprint="perceptron",
        weight_bytes=weights.stat().st_size,
        registered_at=time.time(),
    )
    paths.models.mkdir(parents=True, mode=0o700)
    sleeper = msgspec.structs.replace(
        spec, name=SLEEPER, model_class=f"{models.__file__}:Sleeper", fingerprint="sleeper"
    )
    (paths.models / f"{SLEEPER}.toml").write_bytes(to_toml(sleeper))
    for one in (spec, sleeper):
        Snapshots(paths.snapshots).put(one.name, Snapshot(code=code_digest(one)))
    text = to_toml(spec)
    for name in [SMALL.model, *(f"model-{number:05}" for number in range(count - 2))]:
        (paths.models / f"{name}.toml").write_bytes(text)
