"""An error about a mistyped name suggests the nearest one."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon


@pytest.mark.parametrize(
    ("arguments", "code", "meant"),
    [
        (("pridict",), 2, "predict"),
        (("predict", "digits", "--inptu", "x"), 2, "--input"),
        (("predict", "digits", "-i", "-", "--to", "jsn"), 2, "json"),
        (("predict", "digits", "-i", "-", "--priority", "hihg"), 2, "high"),
        (("job", "ls", "--state", "faild"), 2, "failed"),
        (("config", "get", "daemon.gracee"), 2, "daemon.grace"),
        (("load", "digit"), 3, "digits"),
        (("load", "digits", "--device", "cpuu"), 3, "cpu"),
        (("config", "set", "daemon.log_level", "inf"), 2, "info"),
    ],
)
def test_the_nearest_name_is_told(
    mistyping: Home, arguments: tuple[Any, ...], code: int, meant: str
) -> None:
    said = mistyping.sire(*arguments, stdin=b"[1]", code=code).stderr.decode()
    assert meant in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def mistyping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    import shutil
    import tempfile
    from pathlib import Path

    import torch
    from safetensors.torch import save_file

    from tests.home import Home

    home = Home(Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp")))
    weights = home.path / "w.safetensors"
    save_file({"weight": torch.ones(4)}, weights)
    given = (weights, "--class", "torch.nn:RMSNorm", "--arg", "normalized_shape=4")
    home.sire("register", "digits", *given)
    yield home
    home.sire("daemon", "stop")
    shutil.rmtree(home.path)
