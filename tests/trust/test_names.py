"""Names come from clients and from files: none leads out of the directory it belongs in."""

import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sire.errors import InvalidModel, ModelNotFound, SireError
from sire.paths import file_stem, find_paths
from sire.protocol.jobs import JobResult, ShowJob
from sire.protocol.requests import Load, Predict, Register, Remove, Show, Unload
from sire.spec import ModelSpec, check_name
from sired.store.registry import Registry
from tests.trust.conftest import CarelessHome, register_prying

NASTY = [
    "",
    ".",
    "..",
    "../escaped",
    "a/../../escaped",
    "/tmp/escaped",
    "a//b",
    "a/../b",
    "a/",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\n",
    "-rf",
    "--help",
    ".hidden",
    "~",
    "$HOME",
    "a b",
    "a" * 101,
    "a" * 100_000,
    "\u2024\u2024/a",  # one dot leaders
    "\uff0e\uff0e\uff0fa",  # fullwidth
    "a\u2215b",  # division slash
    "d\u0456gits",  # a Cyrillic i
    "digits\u200b",
    "\u0663",  # a digit, though no ASCII one
    "caf\u00e9",
    "\ud800",
]
ANYTHING = st.one_of(
    st.text(),
    st.text(alphabet="./\\-_~ \0\n" + string.ascii_lowercase, max_size=12),
    st.sampled_from([name for name in NASTY if len(name) < 200]),
)


@given(ANYTHING)
def test_a_name_is_refused_or_names_a_file_right_in_its_directory(name: str) -> None:
    paths = find_paths({"SIRE_HOME": "/home/me"})
    try:
        check_name(name)
    except InvalidModel as error:
        assert len(error.message) < 1000
        return
    assert name.isascii()
    assert len(name) <= 100
    assert not name.startswith(("-", "."))
    for file in (paths.models / f"{file_stem(name)}.toml", paths.model_log(name)):
        assert file.parent.joinpath(file.name) == file
        assert file.parent in (paths.models, paths.logs / "models")


@given(ANYTHING)
def test_the_registry_touches_nothing_outside_of_it(tmp_path_factory: Any, name: str) -> None:
    root = tmp_path_factory.mktemp("r")
    registry = Registry(root / "models")
    registry.load()
    (root / "escaped.toml").write_text("mine")
    try:
        registry.add(ModelSpec(name=name, path="/x"), replace=True)
        registry.remove(name)
    except SireError:
        pass
    assert [file.name for file in sorted(root.iterdir())] == ["escaped.toml", "models"]
    assert list((root / "models").iterdir()) == []


@pytest.mark.parametrize("name", NASTY, ids=lambda name: ascii(name)[:20])
def test_the_daemon_answers_with_a_typed_error_and_makes_no_file(
    careless: CarelessHome, name: str
) -> None:
    before = _everything(careless)
    code = careless.code
    spec = ModelSpec(name=name, path=str(code), runtime="python", model_class=f"{code}:Prying")
    try:
        name.encode()
    except UnicodeEncodeError:
        pytest.skip("no UTF-8, so it cannot be sent")
    with careless.connect(autostart=False) as connection:
        with pytest.raises(InvalidModel) as caught:
            connection.ask(Register(model=spec))
        assert len(caught.value.message) < 1000
        for request in (Load(name=name), Unload(name=name), Show(name=name), Predict(model=name)):
            with pytest.raises(ModelNotFound) as missing:
                connection.ask(request, [b"1"] if isinstance(request, Predict) else [])
            assert len(str(missing.value)) < 1000
        for other in (Remove(name=name), ShowJob(job=name), JobResult(job=name)):
            with pytest.raises(SireError) as refused:
                connection.ask(other)
            assert len(str(refused.value)) < 1000
        fine = msgspec.structs.replace(spec, name="fine")
        for wrong in ("device", "runtime", "model_class"):
            changed = msgspec.structs.replace(fine, **{wrong: name or "?"})
            with pytest.raises(SireError) as refused:
                connection.ask(Register(model=changed))
            assert len(str(refused.value)) < 1000
    assert _everything(careless) == before


def test_a_class_can_be_sent_as_a_pickle_but_not_be_one_that_lies_around(
    careless: CarelessHome,
) -> None:
    for name in ("pickle:evil", "pickle:/tmp/evil", "pickle:../evil"):
        spec = ModelSpec(name="p", path=str(careless.code), runtime="python", model_class=name)
        with careless.connect(autostart=False) as connection:
            with pytest.raises(InvalidModel, match="does not name a class"):
                connection.ask(Register(model=spec))


def test_links_that_were_planted_are_not_written_through(
    careless: CarelessHome, tmp_path: Path
) -> None:
    valuable = tmp_path / "valuable"
    valuable.write_text("mine")
    for link in (careless.paths.models / "planted.toml", careless.paths.model_log("planted")):
        link.symlink_to(valuable)
    register_prying(careless, careless.code, "planted")
    careless.sire("load", "planted")
    careless.sire("rm", "planted")
    assert valuable.read_text() == "mine"
    assert not careless.paths.model_log("planted").is_symlink()


def _everything(home: CarelessHome) -> set[Path]:
    """Every file there is around the daemon, but for those it writes of its own accord.

    These are jobs at work, and what it learns about a model after its registration.
    """
    return {
        path
        for path in home.root.rglob("*")
        if "jobs" not in path.parts
        and "prying" not in path.name
        and path.parent != home.paths.state
    }
