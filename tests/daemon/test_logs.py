"""The daemon's log: JSON lines in a file, words on a terminal, priorities for the journal."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.daemon.asking import ask
from tests.home import Home
from tests.waiting import DEADLINE_SECONDS, wait_until

pytestmark = pytest.mark.own_daemon


def test_the_log_names_components_and_models_and_the_journal_gets_priorities(
    home: Home, register: Callable[..., Any]
) -> None:
    said = home.path / "stderr"
    # As systemd does it: standard error is a stream whose device and inode are told.
    code = (
        "import os, sys\n"
        "there = os.fstat(2)\n"
        "os.environ['JOURNAL_STREAM'] = f'{there.st_dev}:{there.st_ino}'\n"
        "os.execv(sys.executable, [sys.executable, '-P', '-m', 'sired'])\n"
    )
    with said.open("wb") as stderr:
        daemon = subprocess.Popen([sys.executable, "-c", code], env=home.environment, stderr=stderr)
    wait_until(lambda: b"is ready" in said.read_bytes())
    register("m", 2)
    with home.connect() as connection:
        assert ask(connection, "m", 7654321) == [[15308642, 2, 2, 2]]
    second = home.sire("daemon", "run", code=1).stderr
    assert second.startswith(b"sired: error: sired is already running")
    daemon.terminate()
    assert daemon.wait(DEADLINE_SECONDS) == 0

    assert all(line.startswith("<6>") for line in said.read_text().splitlines())
    assert "<6>scheduler: loading m on cpu" in said.read_text()
    lines = [json.loads(line) for line in home.paths.daemon_log.read_text().splitlines()]
    (loaded,) = [line for line in lines if line["message"].startswith("loaded in")]
    assert (loaded["component"], loaded["model"]) == ("worker m", "m")
    assert {"daemon", "scheduler"} <= {line["component"] for line in lines}
    assert "7654321" not in home.paths.daemon_log.read_text()

    shown = home.sire("logs", "--json").stdout.splitlines()
    assert [json.loads(line)["message"] for line in shown] == [line["message"] for line in lines]
    assert b" info    worker m: loaded in" in home.sire("logs", "--since", "10m").stdout
    assert home.sire("logs", "--since", "0s").stdout == b""
    assert home.sire("logs", "-n", "1").stdout.count(b"\n") == 1


def test_a_full_log_is_put_aside_and_the_oldest_is_forgotten(home: Home) -> None:
    home.paths.logs.mkdir(parents=True)
    code = (
        "import logging\n"
        "from sired.daemon.host.log_setup import start_logging\n"
        "from sire.paths import find_paths\n"
        "start_logging(find_paths(), 'info', journal=False)\n"
        "for number in range(45):\n"
        "    logging.getLogger('sired.daemon.x').info('%d %s', number, 'x' * 2**20)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env=home.environment,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    files = sorted(home.paths.logs.iterdir())
    assert [file.name for file in files] == ["sired.log", *(f"sired.log.{n}" for n in (1, 2, 3))]
    assert all(file.stat().st_size <= 10 * 2**20 for file in files)
    # The end is shown also where it lies in several files.
    shown = home.sire("logs", "-n", "12", "--json").stdout.splitlines()
    numbers = [int(json.loads(line)["message"].split()[0]) for line in shown]
    assert numbers == list(range(33, 45))


def test_the_log_is_followed_from_before_there_is_one(home: Home) -> None:
    following = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "logs", "-f"],
        env=home.environment,
        stdout=subprocess.PIPE,
    )
    home.sire("daemon", "start")
    assert following.stdout is not None
    assert b"info    daemon: sired is ready" in following.stdout.readline()
    following.terminate()
    following.communicate()
    # What it prints besides is not the log again.
    assert home.paths.daemon_output.read_bytes() == b""
