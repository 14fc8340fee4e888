"""What is loaded when a daemon starts: what it is told to, and what was loaded before."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Load, Predict, Register, Unload
from sire.spec import ModelSpec
from sired.daemon.models.registration import complete, inspect
from sired.store.registry import Registry
from sired.store.snapshots import Snapshot, Snapshots, code_digest
from tests.daemon.asking import instances
from tests.home import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.own_daemon

RESTORE = "[daemon]\nrestore = true\n"
SMALL_CPU = '[devices.cpu0]\nkind = "cpu"\nmemory = "600MB"\n'
# A model of plain Python, because each of many daemons would have to import PyTorch for another.
ECHO = """
class Echo:
    def load(self, path):
        open(path).close()

    def predict(self, data):
        return data
"""
DEADLY = """
import os, pathlib, signal
from echo import Echo

home = pathlib.Path(os.environ["SIRE_HOME"])
if (home / "deadly").exists():
    os.kill(int((home / "run" / "sired.lock").read_text()), signal.SIGKILL)
"""


def loaded(connection: Connection) -> list[str]:
    """The models that are loaded, in the order they were."""
    found = sorted(instances(connection), key=lambda instance: instance.instance)
    return [i.model for i in found if i.state in {"ready", "busy"}]


def problems(connection: Connection) -> tuple[str, ...]:
    return connection.expect(HealthReport, Health()).problems


def remembered(home: Home) -> list[str] | None:
    try:
        return [entry["model"] for entry in json.loads(home.paths.loaded.read_bytes())]
    except (FileNotFoundError, ValueError):
        return None


def load(home: Home, *names: str) -> None:
    with home.connect() as connection:
        for name in names:
            connection.ask(Load(name=name))


def kill(home: Home) -> None:
    os.kill(home.pid(), signal.SIGKILL)
    wait_until(lambda: not daemon_runs(home.paths))


@pytest.fixture
def models(home: Home, tmp_path: Path) -> Callable[..., Any]:
    """Registers models as a daemon would, without one."""
    (tmp_path / "echo.py").write_text(ECHO)
    (tmp_path / "model").touch()
    registry = Registry(home.paths.models)
    registry.load()
    snapshots = Snapshots(home.paths.snapshots)
    usual = {
        "path": f"{tmp_path}/model",
        "runtime": "python",
        "model_class": f"{tmp_path}/echo.py:Echo",
    }

    def models(*names: str, **options: Any) -> None:
        for name in names:
            wanted = Register(model=ModelSpec(name=name, **{**usual, **options}))
            spec = registry.add(complete(wanted, (), home.paths, inspect), replace=False)
            snapshots.put(name, Snapshot(code=code_digest(spec)))

    return models


def test_models_to_preload_are_loaded_in_their_order(
    home: Home, models: Callable[..., Any]
) -> None:
    models("a", "b", "c")
    home.configure('[daemon]\npreload = ["c", "a"]\n')
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["c", "a"])
        assert problems(connection) == ()


def test_a_model_to_preload_that_is_not_registered_is_a_problem_and_no_failure(
    home: Home, models: Callable[..., Any], tmp_path: Path
) -> None:
    models("a")
    home.configure('[daemon]\npreload = ["ghost", "a"]\n')
    with home.connect() as connection:
        assert problems(connection) == ("daemon.preload: no model 'ghost' is registered",)
        assert b"ghost" in home.sire("health").stderr
        kind = f"{tmp_path}/echo.py:Echo"
        home.register("ghost", tmp_path / "model", "--runtime", "python", "--class", kind)
        assert problems(connection) == ()


def test_what_does_not_fit_beside_the_others_is_left_out(
    home: Home, models: Callable[..., Any]
) -> None:
    models("a", "b", "c", max_memory=250_000_000)
    home.configure(f'{SMALL_CPU}[daemon]\npreload = ["a", "b", "c"]\n')
    with home.connect() as connection:
        (problem,) = wait_until(lambda: problems(connection))
        assert problem.startswith("c was not loaded at the start: it did not fit")
        wait_until(lambda: loaded(connection) == ["a", "b"])
        connection.ask(Load(name="c"))
        wait_until(lambda: problems(connection) == ())


def test_what_was_loaded_is_loaded_after_a_restart(home: Home, models: Callable[..., Any]) -> None:
    models("a", "b", "c")
    home.configure(RESTORE)
    load(home, "a", "b", "c")
    with home.connect() as connection:
        connection.ask(Unload(name="b"))
    home.stop()
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["c", "a"])


def test_the_pinned_come_first_then_what_was_used_last(
    home: Home, models: Callable[..., Any]
) -> None:
    models("a", "b")
    models("pinned", pinned=True)
    home.configure(RESTORE)
    load(home, "pinned", "b", "a")
    with home.connect() as connection:
        connection.ask(Predict(model="b"), [b"[[1, 1, 1, 1]]"])
    home.stop()
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["pinned", "b", "a"])


def test_what_was_loaded_is_loaded_after_a_kill(home: Home, models: Callable[..., Any]) -> None:
    models("a", "b")
    home.configure(RESTORE)
    load(home, "a", "b")
    wait_until(lambda: sorted(remembered(home) or ()) == ["a", "b"])
    kill(home)
    with home.connect() as connection:
        wait_until(lambda: sorted(loaded(connection)) == ["a", "b"])


def test_nothing_is_restored_and_nothing_written_unless_it_is_wanted(
    home: Home, models: Callable[..., Any]
) -> None:
    models("a")
    load(home, "a")
    home.stop()
    assert remembered(home) is None
    with home.connect() as connection:
        assert instances(connection) == ()


def test_a_model_that_fails_is_left_out_and_not_tried_by_the_next_daemon(
    home: Home, models: Callable[..., Any], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    models("broken", path=str(broken), pinned=True)
    models("a")
    home.configure(RESTORE)
    load(home, "a", "broken")
    home.stop()
    broken.unlink()
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["a"])
        (problem,) = problems(connection)
        assert problem.startswith("broken was not loaded at the start: ")
        wait_until(lambda: remembered(home) == ["a"])
    home.stop()
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["a"])
        assert problems(connection) == ()


def test_a_model_whose_load_kills_the_daemon_is_tried_twice_and_no_more(
    home: Home, models: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    models("deadly", model_class=f"{tmp_path}/deadly.py:Echo", pinned=True)
    models("a")
    home.configure(RESTORE)
    load(home, "a", "deadly")
    home.stop()
    (home.path / "deadly").touch()
    for _ in range(2):
        daemon = subprocess.run(
            [sys.executable, "-m", "sired"], env=home.environment, timeout=90, capture_output=True
        )
        assert daemon.returncode == -signal.SIGKILL
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["a"])
        (problem,) = problems(connection)
        assert problem.startswith("deadly was not loaded at the start: the daemon ended 2 times")
    (home.path / "deadly").unlink()
    load(home, "deadly")  # by hand it works by now, and that counts
    home.stop()
    with home.connect() as connection:
        wait_until(lambda: sorted(loaded(connection)) == ["a", "deadly"])
        assert problems(connection) == ()


def test_a_daemon_that_is_stopped_while_it_restores_waits_for_nothing_and_forgets_nothing(
    home: Home, models: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, pathlib, time\nfrom echo import Echo\n"
        "while (pathlib.Path(os.environ['SIRE_HOME']) / 'slow').exists(): time.sleep(0.01)\n"
    )
    models("slow", model_class=f"{tmp_path}/slow.py:Echo", pinned=True)
    models("a")
    home.configure(RESTORE)
    load(home, "slow", "a")
    home.stop()
    (home.path / "slow").touch()
    for _ in range(2):
        with home.connect() as connection:
            wait_until(lambda: [i.state for i in instances(connection)] == ["loading"])
        home.stop()
        assert remembered(home) == ["slow", "a"]
    (home.path / "slow").unlink()
    with home.connect() as connection:
        wait_until(lambda: loaded(connection) == ["slow", "a"])


def test_a_damaged_memory_of_what_was_loaded_stops_nothing(
    home: Home, models: Callable[..., Any]
) -> None:
    models("a")
    home.configure(RESTORE)
    home.paths.loaded.parent.mkdir(exist_ok=True)
    home.paths.loaded.write_text("[{")
    load(home, "a")
    wait_until(lambda: remembered(home) == ["a"])
