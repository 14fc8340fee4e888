"""SIRE_RECORD has a daemon record its events; a fresh brain gives the same instructions."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sire import ModelManager
from sire.client.autostart import daemon_runs
from tests.home import Home
from tests.simulation.replayed import check

pytestmark = pytest.mark.own_daemon


def replay(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sired.scheduler.replay", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_real_daemon_is_replayed(
    home: Home, register: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recording.jsonl"
    monkeypatch.setenv("SIRE_RECORD", str(file))
    monkeypatch.setenv("SIRE_HOME", str(home.path))
    home.configure("[placement]\nrouting = 'round-robin'\neviction = 'cost'\n")
    register("a", 2)
    register("b", 3, "Scale", "--batch-size", "4", "--input", "float32[-1,4]")
    with ModelManager() as models:
        assert list(models.predict("a", np.ones(4, np.float32))) == [2, 2, 2, 2]
        many = models.predict_many("b", [np.full((1, 4), i, np.float32) for i in range(20)])
        assert [answer[0, 0] for answer in many] == [3 * i for i in range(20)]
        home.sire("config", "set", "queue.ageing", "2s")  # the running daemon adopts it
        models.unload_model("b")
        job = models.submit("a", np.ones(4, np.float32))
        home.sire("job", "wait", job)
        home.sire("rm", "b")
    home.stop()
    assert not daemon_runs(home.paths)
    assert sum('"rules"' in line for line in file.read_text().splitlines()) == 2
    done = replay(file)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) >= 50
    assert check(file.read_text().splitlines())["request answered"] >= 21


def test_a_recording_that_cannot_be_written_is_reported_at_the_start(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIRE_RECORD", "/nowhere/recording.jsonl")
    failed = home.sire("ls", code=6)
    assert b"SIRE_RECORD: cannot write /nowhere/recording.jsonl" in failed.stderr


def test_a_relative_path_is_rejected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIRE_RECORD", "recording.jsonl")
    assert b"recording.jsonl is relative" in home.sire("ls", code=6).stderr
