"""A daemon for every test that wants one, and small models for it."""

import uuid

import pytest
from safetensors.torch import save_file

from tests.home import Home, SharedHome

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
            time.sleep(1)
        if mood == 6:
            raise SystemExit(3)
        if mood == -1:
            time.sleep(60)
        return x * self.weight
'''


@pytest.fixture(scope="session")
def shared_homes():
    """One with the settings that there are without any, and the latest that was wanted otherwise."""
    usual, special = SharedHome(), SharedHome()
    yield usual, special
    usual.close()
    special.close()


@pytest.fixture
def home(request, shared_homes):
    """A home whose daemon other tests use before and after, or, if marked own_daemon, nobody."""
    if request.node.get_closest_marker("own_daemon"):
        own = Home()
        yield own
        own.close()
    else:
        marker = request.node.get_closest_marker("settings")
        shared = shared_homes[marker is not None]
        yield shared.take(*(marker.args if marker else ()))
        shared.give_back()


@pytest.fixture
def new_name():
    """A model's name that none had before: what is counted under it begins at zero."""
    return f"m{uuid.uuid4().hex[:12]}"


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
        home.register(name, weights, "--class", f"{classes}:{kind}", *options)

    return _register
