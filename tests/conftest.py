"""A daemon for every test that wants one, and small models for it."""

import itertools
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.home import Home, SharedHome

TORCH = '''
import torch


class Scale(torch.nn.Module):
    """Answers its input times its one weight."""

    def __init__(self, width=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.compute(x)

    def compute(self, x):
        return x * self.weight


class InPlace(Scale):
    """Computes in the memory of its input."""

    def compute(self, x):
        return x.mul_(self.weight)
'''
# Most tests are about what goes on around a model. No daemon of theirs has to import PyTorch for
# these, which takes longer than all else that such a test does.
PLAIN = '''
import numpy as np
from safetensors.numpy import load_file


class Scale:
    """Answers its input times its one weight."""

    def load(self, path):
        self.weight = load_file(path)["weight"]

    def predict(self, x):
        return self.compute(np.asarray(x, np.float32))

    def compute(self, x):
        return x * self.weight
'''
MOODY = '''
import os, signal, time
from pathlib import Path

GATE = Path(__file__).with_name("gate")


class Moody(Scale):
    """Does what the first number of its input says.

    1 raises, 2 kills the process, 3 computes without end, 4 is out of memory, 5 waits at the gate,
    6 exits, -1 takes as many seconds as the second number says. Anything else is only computed.
    """

    def compute(self, x):
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
            pass_gate()
        if mood == 6:
            raise SystemExit(3)
        if mood == -1:
            time.sleep(float(x.flatten()[1]))
        return x * self.weight


def pass_gate():
    """Return once the gate is open, or with a ticket, which lets one request through."""
    while not (GATE / "open").exists():
        for ticket in GATE.glob("ticket*"):
            try:
                ticket.unlink()
            except FileNotFoundError:  # another process was faster
                continue
            return
        time.sleep(0.002)
'''


@pytest.fixture(scope="session")
def shared_homes() -> Iterator[tuple[SharedHome, ...]]:
    """A home with default settings, and one with the settings that a test asked for last."""
    usual, special = SharedHome(), SharedHome()
    yield usual, special
    usual.close()
    special.close()


@pytest.fixture
def home(request: pytest.FixtureRequest, shared_homes: tuple[SharedHome, ...]) -> Iterator[Home]:
    """A home whose daemon other tests share, unless the test is marked own_daemon."""
    if request.node.get_closest_marker("own_daemon"):
        own = Home()
        yield own
        own.close()
    else:
        marker = request.node.get_closest_marker("settings")
        shared = shared_homes[marker is not None]
        yield shared.take(*(marker.args if marker else ()))
        shared.give_back()


@pytest.fixture(autouse=True)
def own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes that a test loads into this process add directories: for that test only."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def new_name() -> str:
    """A model's name that none had before: what is counted under it begins at zero."""
    return f"m{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with small models that answer their input times 1, 2 or 3.

    There are weights, and classes for them: in classes.py for the runtime pytorch, in plain.py for
    the runtime python.
    """
    import torch
    from safetensors.torch import save_file

    directory = tmp_path_factory.mktemp("zoo")
    Gate(directory / "gate").open()
    (directory / "classes.py").write_text(TORCH + MOODY)
    (directory / "plain.py").write_text(PLAIN + MOODY)
    for factor in (1, 2, 3):
        save_file({"weight": torch.full((4,), float(factor))}, directory / f"x{factor}.safetensors")
    return directory


class Gate:
    """Holds the requests to ``Moody`` whose first number is 5."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tickets = itertools.count()
        path.mkdir(exist_ok=True)

    def close(self) -> None:
        for left in self._path.iterdir():
            left.unlink()

    def open(self) -> None:
        """Let every request through from now on."""
        (self._path / "open").touch()

    def let_one_through(self) -> None:
        (self._path / f"ticket{next(self._tickets)}").touch()


@pytest.fixture
def gate(zoo: Path) -> Iterator[Gate]:
    """The gate of ``Moody``, closed until the test opens it or ends."""
    gate = Gate(zoo / "gate")
    gate.close()
    yield gate
    gate.open()


@pytest.fixture
def register(home: Home, zoo: Path) -> Callable[..., Any]:
    """Register one of the zoo's models under a name, which the runtime python runs."""

    def _register(name: str = "m", factor: int = 2, kind: str = "Scale", *options: str) -> None:
        given = ("--runtime", "python", "--class", f"{zoo / 'plain.py'}:{kind}")
        home.register(name, zoo / f"x{factor}.safetensors", *given, *options)

    return _register


@pytest.fixture
def register_torch(home: Home, zoo: Path) -> Callable[..., Any]:
    """The same, by a class that the runtime pytorch runs."""

    def _register(name: str = "m", factor: int = 2, kind: str = "Scale", *options: str) -> None:
        given = ("--class", f"{zoo / 'classes.py'}:{kind}")
        home.register(name, zoo / f"x{factor}.safetensors", *given, *options)

    return _register


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also where they run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes depends on the machine.
    hypothesis.settings.register_profile("unhurried", deadline=None)
    hypothesis.settings.load_profile("unhurried")
