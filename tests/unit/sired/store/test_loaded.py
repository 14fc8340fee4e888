"""Which models the next daemon is to load: losing that file costs no more than a load."""

from pathlib import Path
from typing import Any

import pytest

from sired.store.loaded import LoadedModels, Remembered


def test_what_one_daemon_leaves_the_next_reads_in_its_order(tmp_path: Path) -> None:
    models = [Remembered("b"), Remembered("a", attempts=2)]
    LoadedModels(tmp_path / "loaded.json").write(models)
    assert LoadedModels(tmp_path / "loaded.json").read() == models


@pytest.mark.parametrize("damage", [b"{", b'[{"model": 1}]', b'[{"model": "\xff"}]', b"\xff", b""])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: Any) -> None:
    (tmp_path / "loaded.json").write_bytes(damage)
    assert LoadedModels(tmp_path / "loaded.json").read() == []


def test_a_file_that_is_missing_is_an_empty_one(tmp_path: Path) -> None:
    assert LoadedModels(tmp_path / "loaded.json").read() == []
