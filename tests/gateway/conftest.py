"""One daemon and one gateway for all tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.home import Home, SharedHome

if TYPE_CHECKING:
    import openai

Register = Callable[..., None]


@pytest.fixture(scope="module")
def gateway_home(shared_homes: tuple[SharedHome, ...]) -> Iterator[Home]:
    yield shared_homes[0].take()
    shared_homes[0].give_back()


@pytest.fixture(scope="module")
def served(gateway_home: Home, zoo: Path) -> Iterator[Serving]:
    """A gateway to a daemon with two models of the zoo: twice (Scale) and moody (Moody)."""
    for name, kind in (("twice", "Scale"), ("moody", "Moody")):
        weights, classes = zoo / "x2.safetensors", zoo / "classes.py"
        gateway_home.register(name, weights, "--class", f"{classes}:{kind}")
    with serving(gateway_home) as running:
        yield running


@pytest.fixture(scope="module")
def text_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model that generates text, writer, and one that embeds it, embedder."""
    folder = tmp_path_factory.mktemp("hf")
    texts.write(folder)
    return folder


@pytest.fixture(scope="module")
def client(server: Serving) -> "Iterator[openai.OpenAI]":
    """OpenAI's client of the server that a module has."""
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client
