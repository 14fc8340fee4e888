"""Classes that need no file of their own."""

import json
from pathlib import Path

import pytest

from tests.home import Home

CODE = """
class WithoutPath:
    def load(self): self.got = "nothing"
    def predict(self, data): return {"got": self.got}

class WithDefault(WithoutPath):
    def load(self, path="its own", device="none"): self.got = [path, device]

class Requires(WithoutPath):
    def load(self, path): self.got = path

class Configured(WithoutPath):
    def __init__(self, size): self.size = size
    def load(self, *, device): self.got = [self.size, device]
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mod.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("name", "options", "got"),
    [
        ("WithoutPath", (), "nothing"),
        ("WithDefault", (), ["its own", "cpu"]),
        ("Requires", (), ""),
        ("Configured", ("--arg", "size=3"), [3, "cpu"]),
    ],
)
def test_a_class_is_registered_without_a_path(
    home: Home, name: str, options: tuple[str, ...], got: object
) -> None:
    home.register("m", "--class", f"pkg.mod:{name}", *options)
    assert json.loads(home.sire("predict", "m", "-i", "-", stdin=b"1").stdout) == {"got": got}
    shown = json.loads(home.sire("show", "m", "--json").stdout)["model"]
    assert (shown["runtime"], shown["path"]) == ("python", "")


@pytest.mark.usefixtures("code")
def test_what_is_wrong_with_such_a_class_is_said_at_registration(home: Home) -> None:
    refused = home.sire("register", "m", "--class", "pkg.mod:Configured", code=9).stderr.decode()
    assert "size" in refused
    refused = home.sire("register", "m", "--class", "pkg.mod:Missing", code=9).stderr.decode()
    assert "Missing" in refused
