"""Other users cannot read what the daemon and its workers write, whatever the umask."""

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from sire import ModelManager
from tests.trust.conftest import CarelessHome, ask
from tests.waiting import wait_until


def test_everything_it_writes_is_its_owners_alone(careless: CarelessHome, tmp_path: Path) -> None:
    _use(careless, tmp_path)
    written = {"run/sired.sock", "run/data.sock", "run/sired.lock", "data/models/prying.toml"}
    written |= {"state/logs/sired.log", "state/logs/models/doubling.log", "state/footprints.json"}
    written |= {"state/jobs/jobs.sqlite3", "state/jobs/jobs.sqlite3-wal"}
    directories = {"state/jobs/spool", "data/classes"}
    seen: dict[str, int] = {}

    def is_written() -> bool:
        """What the daemon learns about a model it writes when it has the time."""
        seen.update(_modes(careless.path))
        return written <= seen.keys() and directories <= set(map(os.path.dirname, seen))

    wait_until(is_written)
    assert {path: oct(mode) for path, mode in seen.items() if mode & 0o077} == {}


def test_so_is_what_a_model_writes(careless: CarelessHome, tmp_path: Path) -> None:
    ask(careless, "write", path=str(tmp_path / "by-model"))
    assert stat.S_IMODE((tmp_path / "by-model").stat().st_mode) == 0o600


def _modes(home: Path) -> dict[str, int]:
    """The modes of all there is, by path from ``home``; of the directory above it, too."""
    found = {}
    for path in [home.parent, *home.parent.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # it has been put in place of another
            found[os.path.relpath(path, home)] = stat.S_IMODE(path.lstat().st_mode)
    return found


def _use(home: CarelessHome, tmp_path: Path) -> None:
    """Have it write every kind of file: registry, classes, logs, large jobs and results."""

    class Doubling:  # in a function, so that it is kept as a pickle
        def load(self, path: Path) -> None:
            pass

        def predict(self, data: Any) -> Any:
            return [2 * number for number in data]

    big = tmp_path / "big.json"
    big.write_text(json.dumps(list(range(50_000))))
    own = tmp_path / "anything"
    own.write_text("x")
    with ModelManager(home=home.path) as manager:
        manager.register_model("doubling", own, "python", model_class=Doubling)
    (job,) = home.sire("submit", "doubling", "-i", big).stdout.decode().split()
    home.sire("job", "wait", job)
    home.sire("unload", "doubling")
