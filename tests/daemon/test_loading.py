"""A load that tells how far it is, by real workers of a runtime that waits to be let on."""

import json
import os
import pty
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sire.protocol.replies import InstanceInfo, InstanceList
from sire.protocol.requests import Ps
from tests.home import Home
from tests.waiting import DEADLINE_SECONDS, wait_until

pytestmark = pytest.mark.own_daemon

STEPS, STEP_BYTES = 4, 1 << 20

RUNTIME = f"""
    import time
    from pathlib import Path
    from sired.runtimes.base import InferenceRuntime
    from sired.runtimes.traits import RuntimeTraits

    TRAITS = RuntimeTraits(
        name="stepwise", implementation="stepwise:Stepwise", streams_files=True
    )

    class Stepwise(InferenceRuntime):
        def streams_files(self, model_path, **kwargs):
            return True

        def load(self, model_path, **kwargs):
            self.progress.expect({STEPS * STEP_BYTES})
            for step in range({STEPS}):
                while not (Path(model_path).parent / str(step)).exists():
                    time.sleep(0.01)
                time.sleep(0.11)  # more often it does not report
                self.progress.add({STEP_BYTES})

        def predict(self, model, data):
            return data

        def get_memory_footprint(self, model):
            return 0
"""


class Gate:
    """What a load waits for: a file for each step that it may take."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = 0

    def let_on(self, steps: int = 1) -> None:
        for _ in range(steps):
            (self.path / str(self._open)).touch()
            self._open += 1


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Another package's runtime, whose loads read as many steps as they are let on."""
    (tmp_path / "stepwise.py").write_text(textwrap.dedent(RUNTIME))
    metadata = tmp_path / "stepwise-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stepwise\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[sire.runtimes]\nstepwise = stepwise:TRAITS\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    (tmp_path / "model.txt").write_text("!")
    return Gate(tmp_path)


@pytest.fixture
def load(home: Home, gate: Gate) -> Iterator[Callable[..., Any]]:
    """Begin to load the model whose loads wait."""
    begun = []

    def _load(*options: str, **how: Any) -> subprocess.Popen[bytes]:
        home.register("m", gate.path / "model.txt", "--runtime", "stepwise")
        wait_until(lambda: home.json("health")["status"] == "ok")
        command = [sys.executable, "-m", "sire_cli", "load", "m", *options]
        begun.append(subprocess.Popen(command, env=home.environment, **how))
        return begun[-1]

    yield _load
    for process in begun:
        process.kill()
        process.communicate()


def loading(home: Home, steps: int) -> InstanceInfo:
    """The instance, once it reports that it has read N steps."""
    with home.connect() as connection:

        def look() -> list[InstanceInfo]:
            instances = connection.expect(InstanceList, Ps()).instances
            return [one for one in instances if one.loading_bytes == steps * STEP_BYTES]

        (instance,) = wait_until(look)
        return instance


def test_a_load_tells_how_far_it_is_until_it_is_done(
    home: Home, gate: Gate, load: Callable[..., Any]
) -> None:
    command = load()
    gate.let_on()
    instance = loading(home, 1)
    assert (instance.loading_percent, instance.loading_total_bytes) == (25, STEPS * STEP_BYTES)
    assert "loading 25%" in home.sire("ps").stdout.decode()
    gate.let_on(STEPS - 1)
    assert command.wait(DEADLINE_SECONDS) == 0
    (shown,) = home.json("ps")
    assert (shown["state"], shown["loading_percent"], shown["loading_bytes"]) == (
        "ready",
        None,
        None,
    )


def has_passed(moment: float) -> bool:
    return time.monotonic() > moment


def test_a_slow_load_goes_on_for_as_long_as_it_makes_progress(
    home: Home, gate: Gate, load: Callable[..., Any]
) -> None:
    home.configure('[daemon]\nload_timeout = "4s"\n')
    began = time.monotonic()
    command = load()
    for step in range(STEPS - 1):
        gate.let_on()
        loading(home, step + 1)
        # Less than it may stand still, and in all more than that.
        wait_until(partial(has_passed, began + 1.5 * (step + 1)))
    gate.let_on()
    assert command.wait(DEADLINE_SECONDS) == 0
    assert time.monotonic() > began + 4


def test_a_load_that_makes_no_more_progress_is_ended(
    home: Home, gate: Gate, load: Callable[..., Any]
) -> None:
    home.configure('[daemon]\nload_timeout = "3s"\n')
    command = load(stderr=subprocess.PIPE)
    gate.let_on()
    _, said = command.communicate(timeout=DEADLINE_SECONDS)
    assert command.returncode == 9
    assert b"no progress for 3 s after 1 MiB of 4 MiB" in said
    wait_until(lambda: home.json("ps") == [])


def test_a_load_on_a_terminal_shows_a_bar_with_bytes_and_a_rate(
    home: Home, gate: Gate, load: Callable[..., Any]
) -> None:
    screen, terminal = pty.openpty()
    command = load("--json", stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    gate.let_on(2)
    shown = b""
    while b"2.0/4.0 MiB" not in shown:
        shown += os.read(screen, 4096)
    gate.let_on(2)
    printed, _ = command.communicate(timeout=DEADLINE_SECONDS)
    assert json.loads(printed)["state"] == "ready"
    os.close(screen)


def test_a_load_off_a_terminal_draws_nothing(
    home: Home, gate: Gate, load: Callable[..., Any]
) -> None:
    command = load(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    gate.let_on(2)
    loading(home, 2)
    gate.let_on(2)
    printed, said = command.communicate(timeout=DEADLINE_SECONDS)
    assert printed == b""
    assert said.startswith(b"Loaded m on cpu")
