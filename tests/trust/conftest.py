"""One daemon in an environment that invites carelessness: shared by all tests here."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.protocol.requests import Predict
from tests.home import Home

PRYING = '''
import os, resource, signal
from pathlib import Path


class Prying:
    """Does what its input says, and answers with what it finds."""

    def load(self, path):
        pass

    def predict(self, do, given):
        return getattr(self, do)(**given)

    def environment(self):
        return dict(os.environ)

    def first_environment(self):
        """What it was when this process's ancestor was executed."""
        return Path("/proc/self/environ").read_text()

    def pid(self):
        return os.getpid()

    def status(self):
        return Path("/proc/self/status").read_text()

    def descriptors(self):
        found = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                found[name] = os.readlink(f"/proc/self/fd/{name}")
            except OSError:  # that of the listing itself
                pass
        return found

    def limits(self):
        kinds = ("CORE", "NOFILE", "DATA")
        numbers = {kind: getattr(resource, f"RLIMIT_{kind}") for kind in kinds}
        return {kind: list(resource.getrlimit(number)) for kind, number in numbers.items()}

    def oom_score(self):
        return int(Path("/proc/self/oom_score_adj").read_text())

    def fail(self, saying):
        raise ValueError(saying)

    def reserve(self, size):
        """Take memory without touching it."""
        import numpy

        numpy.empty(size, numpy.uint8)
        return "taken"

    def die(self, saying):
        print(saying, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path):
        Path(path).write_text("mine")
        return "written"
'''
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cret-aws",
    "GITHUB_TOKEN": "s3cret-github",
    "HF_TOKEN": "s3cret-hub",
    "OPENAI_API_KEY": "s3cret-openai",
    "DATABASE_URL": "postgres://me:s3cret@host/db",
    "SSH_AUTH_SOCK": "/tmp/s3cret-agent",
    "NOTIFY_SOCKET": "@s3cret-manager",
}
WANTED = {
    "OMP_PROC_BIND": "close",
    "HF_HOME": "/somewhere",
    "LC_NUMERIC": "C",
    "PYTHONHASHSEED": "0",
    "TOLD_BY_NAME": "1",
    "MINE_A": "2",
}
SETTINGS = {
    "SIRE_WORKERS_ENVIRONMENT": "TOLD_BY_NAME,MINE_*",
    "SIRE_DEVICES_SMALL_KIND": "cpu",
    "SIRE_DEVICES_SMALL_MEMORY": "600MB",
}


class CarelessHome(Home):
    """A home whose daemon is told secrets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "deep" / "home"  # neither is there
        self.code = root / "prying.py"
        self.shared = False

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **SECRETS, **WANTED, **SETTINGS}


def register_prying(home: Home, code: Path, name: str = "prying") -> None:
    given = ["--runtime", "python", "--class", f"{code}:Prying", "--replace"]
    home.register(name, code, *given)


def ask(home: Home, what: str, **given: Any) -> Any:
    """What the prying model finds."""
    body = json.dumps({"do": what, "given": given}).encode()
    with home.connect(autostart=False) as connection:
        _, frames = connection.ask(Predict(model="prying", timeout=60.0), [body])
    return json.loads(bytes(frames[0]))


@pytest.fixture(scope="session")
def careless() -> Iterator[CarelessHome]:
    """Its daemon was started with umask 0, and with a file open that is not closed on exec."""
    root = Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp"))
    home = CarelessHome(root)
    home.code.write_text(PRYING)
    before, inherited = os.umask(0), os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        home.sire("daemon", "start")
    finally:
        os.umask(before)
        os.close(inherited)
    register_prying(home, home.code)
    yield home
    home.stop()
    shutil.rmtree(root, ignore_errors=True)
