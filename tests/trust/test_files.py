"""Other users cannot read what the daemon and its workers write, whatever the umask."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from sire import ModelManager
from tests.trust.conftest import CarelessHome, ask


def test_everything_it_writes_is_its_owners_alone(careless: CarelessHome, tmp_path: Path) -> None:
    _use(careless, tmp_path)
    open_to_others = {}
    seen = set()
    for directory, folders, files in os.walk(careless.path.parent):  # made on the way, too
        for name in [".", *folders, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            seen.add(os.path.relpath(path, careless.path))
            if mode & 0o077:
                open_to_others[path] = oct(mode)
    assert open_to_others == {}
    written = {"run/sired.sock", "run/data.sock", "run/sired.lock", "data/models/prying.toml"}
    written |= {"state/logs/sired.log", "state/logs/models/doubling.log", "state/footprints.json"}
    written |= {"state/jobs/jobs.sqlite3", "state/jobs/jobs.sqlite3-wal"}
    assert written <= seen
    assert {"state/jobs/spool", "data/classes"} <= {os.path.dirname(path) for path in seen}


def test_so_is_what_a_model_writes(careless: CarelessHome, tmp_path: Path) -> None:
    ask(careless, "write", path=str(tmp_path / "by-model"))
    assert stat.S_IMODE((tmp_path / "by-model").stat().st_mode) == 0o600


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
