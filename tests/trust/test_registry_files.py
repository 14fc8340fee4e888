"""A registry file that was copied from elsewhere does not decide that code runs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from sire.errors import SireError, UntrustedModel
from sire.protocol.requests import Load, Pin, Predict, Register, Verify
from sire.spec import ModelSpec
from sired.daemon.models.file_checks import approved
from sired.store.snapshots import Snapshot, Snapshots, code_digest
from tests.home import Home

CLASS = """
from pathlib import Path
Path(__file__).with_name("ran").touch()


class Echo:
    def load(self, path): pass
    def predict(self, x): return x
"""
BODY = b"7"


class Copied(NamedTuple):
    """A home to which registry files were copied, and the evidence that code in them has run."""

    home: Home
    ran: Path


@pytest.fixture(scope="module", autouse=True)
def _no_frameworks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The daemons here find no framework, and so start fast."""
    directory = tmp_path_factory.mktemp("frameworks")
    for framework in ("torch", "onnxruntime", "transformers"):
        (directory / f"{framework}.py").write_text("raise ImportError('not here')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{directory}:{Path(__file__).parents[2]}")
        yield


def answer(home: Home, name: str) -> object:
    with home.connect() as connection:
        _, frames = connection.ask(Predict(model=name, timeout=90.0), [BODY])
    return json.loads(bytes(frames[0]))


def command(ran: Path) -> str:
    return json.dumps(f"sh -c 'touch {ran}; sleep 60' {{port}}")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    """Files that name a class, a command, a Python file; and one of trusted weights."""
    torch = pytest.importorskip("torch")
    directory = tmp_path_factory.mktemp("elsewhere")
    code, ran = directory / "code.py", directory / "ran"
    code.write_text(CLASS)
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(directory / "program.pt"))
    texts = {
        "class": f'path = "{code}"\nruntime = "python"\nmodel_class = "{code}:Echo"\n',
        "command": f'path = ""\nruntime = "command"\nargs = {{cmd = {command(ran)}}}\n',
        "file": f'path = "{code}"\nruntime = "python"\n',
        "trusted": f'path = "{directory}/program.pt"\nformat = "torchscript"\ntrusted = true\n',
        "org%2Fpinned": f'path = "{code}"\nruntime = "python"\nmodel_class = "{code}:Echo"\n',
    }
    home = Home()
    home.paths.models.mkdir(parents=True)
    for name, text in texts.items():
        (home.paths.models / f"{name}.toml").write_text(text)
    yield Copied(home, ran)
    home.close()


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("class", "the class '.*:Echo'"),
        ("command", "the command .sh -c"),
        ("file", "the Python file '"),
        ("trusted", "trusted = true"),
        ("org/pinned", "the class"),
    ],
)
def test_what_it_names_does_not_run_before_it_is_trusted(
    copied: Copied, name: str, named: str
) -> None:
    with copied.home.connect() as connection:
        for request in (Load(name=name), Pin(name=name), Verify(name=name), Load(name=name)):
            if isinstance(request, Load):
                with pytest.raises(UntrustedModel, match=named) as raised:
                    connection.ask(request)
                assert raised.value.hint.endswith(f"sire verify {name} --trust")
            else:  # these change the registry, and trust nothing
                connection.ask(request)
    assert not copied.ran.exists()


def test_once_it_is_trusted_it_runs_and_is_remembered(copied: Copied) -> None:
    home = copied.home
    copied.ran.unlink(missing_ok=True)
    assert home.sire("predict", "class", "-i", "-", stdin=BODY, code=9).stdout == b""
    home.sire("verify", "class", "--trust")
    assert answer(home, "class") == 7
    assert copied.ran.exists()
    home.sire("daemon", "restart")
    assert answer(home, "class") == 7


@pytest.mark.own_daemon
def test_a_backup_can_be_restored_under_the_same_name_only(home: Home, tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(CLASS)
    spec = ModelSpec(name="m", path=str(code), runtime="python", model_class=f"{code}:Echo")
    with home.connect() as connection:
        connection.ask(Register(model=spec))
    home.stop()
    backup = shutil.copytree(home.paths.models, tmp_path / "backup")
    shutil.rmtree(home.paths.models)
    shutil.copytree(backup, home.paths.models)
    shutil.copy(backup / "m.toml", home.paths.models / "n.toml")
    assert answer(home, "m") == 7
    home.sire("load", "n", code=9)


def test_what_an_earlier_version_registered_goes_on_working(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", path="", runtime="command", args={"cmd": "x"})
    upgraded = Snapshots(tmp_path / "upgraded")
    upgraded.adopt(["m"], earlier=True)
    assert approved(spec, upgraded.get("m"))
    assert not approved(spec, upgraded.get("n"))
    upgraded.adopt(["m", "n"], earlier=True)  # once
    assert not approved(spec, upgraded.get("n"))
    new = Snapshots(tmp_path / "new")
    new.adopt(["m"], earlier=False)
    assert not approved(spec, new.get("m"))
    new.adopt(["m"], earlier=True)  # the directory tells that a later version has run
    assert not approved(spec, new.get("m"))


def test_the_digest_covers_what_decides_which_code_runs_and_nothing_else() -> None:
    spec = ModelSpec(name="m", path="/m", runtime="python", model_class="/c.py:C", args={"a": 1})
    decisive: dict[str, object] = {
        "name": "n",
        "path": "/n",
        "runtime": "pytorch",
        "model_class": "/c.py:D",
        "python_path": ("/p",),
        "args": {"a": 2},
        "trusted": True,
    }
    for field, value in decisive.items():
        assert code_digest(msgspec.structs.replace(spec, **{field: value})) != code_digest(spec)
    for field, value in {"pinned": True, "keep_alive": 3.0, "fingerprint": "f"}.items():
        assert code_digest(msgspec.structs.replace(spec, **{field: value})) == code_digest(spec)


@pytest.mark.own_daemon
def test_a_record_that_cannot_be_read_or_written_is_told_as_that(
    home: Home, tmp_path: Path
) -> None:
    code = tmp_path / "code.py"
    code.write_text(CLASS)
    spec = ModelSpec(name="m", path=str(code), runtime="python", model_class=f"{code}:Echo")
    with home.connect() as connection:
        connection.ask(Register(model=spec))
        (record,) = home.paths.snapshots.iterdir()
        record.unlink()
        record.mkdir()  # so that not even root can read or replace it
        with pytest.raises(SireError, match="cannot be read: Is a directory") as unread:
            connection.ask(Load(name="m"))
        assert not isinstance(unread.value, UntrustedModel)
        with pytest.raises(SireError, match="could not be recorded") as unwritten:
            connection.ask(Register(model=spec, replace=True))
        assert "sire verify m --trust" in unwritten.value.hint
        record.rmdir()
        connection.ask(Verify(name="m", trust=True))
        connection.ask(Load(name="m"))


def test_a_load_in_progress_does_not_undo_a_registration(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "snapshots")
    old, new = Snapshot(code="old"), Snapshot(code="new")
    snapshots.put("m", old)
    snapshots.renew("m", old, Snapshot(code="renewed"))
    assert snapshots.get("m") == Snapshot(code="renewed")
    snapshots.put("m", new)
    snapshots.renew("m", Snapshot(code="renewed"), old)
    assert snapshots.get("m") == new
    snapshots.forget("m")
    snapshots.renew("m", new, old)
    assert snapshots.get("m") is None
    snapshots.renew("m", None, old)
    assert snapshots.get("m") == old
