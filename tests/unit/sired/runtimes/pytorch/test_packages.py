"""What native packages are unpacked to goes when its process does, also one that was killed."""

import os
import subprocess
import sys
from pathlib import Path

from sired.runtimes.pytorch.packages import sweep


def test_what_killed_processes_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    names = [f"sire-package-{pid}-x" for pid in (ended.pid, os.getpid())]
    for name in (*names, "sire-package-old", "somebody-elses"):
        (tmp_path / name).mkdir()
    (tmp_path / names[0] / "data").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [names[1], "sire-package-old", "somebody-elses"]
    )
