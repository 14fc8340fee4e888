"""A private daemon for every test that wants one, in a directory short enough for its socket."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import save_file

from sired.client.autostart import daemon_runs
from sired.client.connection import Connection
from sired.paths import find_paths

CLASSES = '''
import os, signal, time
import torch


class Scale(torch.nn.Module):
    """Answers its input times its one weight."""

    def __init__(self, width=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight


class InPlace(Scale):
    """Computes in the memory of its input."""

    def forward(self, x):
        return x.mul_(self.weight)


class Moody(Scale):
    """Does what the first number of its input says."""

    def forward(self, x):
        mood = int(x.flatten()[0])
        if mood == 1:
            raise ValueError("no ones, please")
        if mood == 2:
            print("about to go", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == 3:
            while True:
                pass
        if mood == 4:
            raise MemoryError("pretend")
        if mood == 5:
            time.sleep(1.5)
        if mood == 6:
            raise SystemExit(3)
        return x * self.weight
'''


@dataclass
class Home:
    """One private daemon's directory."""

    path: Path

    @property
    def environment(self):
        return {**os.environ, "SIRE_HOME": str(self.path), "NO_COLOR": "1", "COLUMNS": "200"}

    @property
    def paths(self):
        return find_paths({"SIRE_HOME": str(self.path)})

    def configure(self, text):
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

    def json(self, *arguments):
        return json.loads(self.sire(*arguments, "--json").stdout)

    def connect(self, autostart=True):
        return Connection(self.paths, autostart=autostart)

    def pid(self):
        return int(self.paths.lock.read_text())


@pytest.fixture
def home():
    path = Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp"))
    home = Home(path)
    yield home
    if daemon_runs(home.paths):
        home.sire("daemon", "stop")
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """A directory with small models: classes.py and weights that answer the input times ``n``."""
    import torch

    directory = tmp_path_factory.mktemp("zoo")
    (directory / "classes.py").write_text(CLASSES)
    for factor in (1, 2, 3):
        save_file({"weight": torch.full((4,), float(factor))}, directory / f"x{factor}.safetensors")
    return directory


@pytest.fixture
def register(home, zoo):
    """Register one of the zoo's models under a name."""

    def _register(name="m", factor=2, kind="Scale", *options):
        weights, classes = zoo / f"x{factor}.safetensors", zoo / "classes.py"
        home.sire("register", name, weights, "--class", f"{classes}:{kind}", *options)

    return _register
