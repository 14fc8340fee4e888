"""Directories that another user could have created."""

import os
from pathlib import Path

import pytest

from sire.errors import DaemonUnavailable
from sire.paths import find_paths, private_directory

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


@needs_root
@pytest.mark.parametrize("stolen", ["runtime-0/sire", "runtime-0"])
def test_a_directory_of_somebody_elses_is_not_used(tmp_path: Path, stolen: str) -> None:
    (tmp_path / "runtime-0" / "sire").mkdir(parents=True)
    os.chown(tmp_path / stolen, 12345, 12345)
    with pytest.raises(DaemonUnavailable, match="12345"):
        private_directory(tmp_path / "runtime-0" / "sire")


def test_a_directory_others_can_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "sire").mkdir(mode=0o755)
    assert private_directory(tmp_path / "sire").stat().st_mode & 0o077 == 0


def test_cron_has_no_runtime_directory_and_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = find_paths({"HOME": "/nonexistent"})
    assert paths.runtime.is_absolute()
    assert paths.runtime.name == "sire"
