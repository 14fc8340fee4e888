"""The registry on disk."""

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sire.errors import InvalidModel, ModelExists, ModelNotFound, SireError
from sire.spec import ImageOptions, ModelSpec, Signature, TensorSpec
from sired.store.registry import Registry

plain = st.recursive(
    st.one_of(
        st.none(), st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(-1e9, 1e9)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)
tensors = st.builds(
    TensorSpec, st.text(), st.sampled_from(["float32", "int64"]), st.tuples(st.integers(-1, 9))
)
specs = st.builds(
    ModelSpec,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    path=st.text().map(lambda text: "/" + text),
    model_class=st.none() | st.text(),
    python_path=st.lists(st.text(), max_size=2).map(tuple),
    args=st.dictionaries(st.text(), plain, max_size=3),
    max_memory=st.none() | st.integers(0, 2**62),
    keep_alive=st.none() | st.just("forever") | st.floats(0, 1e6),
    pinned=st.booleans(),
    trusted=st.booleans(),
    signature=st.builds(Signature, st.lists(tensors, max_size=2).map(tuple)),
    image=st.builds(ImageOptions, st.lists(st.floats(0, 1), max_size=3).map(tuple)),
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "models")
    registry.load()
    return registry


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(specs)
@example(ModelSpec(name="m", path="/m", args={"lowest": -(2**63), "highest": 2**63 - 1}))
def test_whatever_is_registered_is_read_back_the_same(tmp_path: Path, spec: ModelSpec) -> None:
    Registry(tmp_path).add(spec, replace=True)
    again = Registry(tmp_path)
    again.load()
    assert again.damaged == {}
    assert again.get(spec.name) == spec


def test_a_name_is_taken_once(registry: Registry) -> None:
    registry.add(ModelSpec("m", "/a"), replace=False)
    with pytest.raises(ModelExists):
        registry.add(ModelSpec("m", "/b"), replace=False)
    registry.add(ModelSpec("m", "/b"), replace=True)
    assert registry.get("m").path == "/b"


def test_an_unknown_name_is_answered_with_the_nearest(registry: Registry) -> None:
    registry.add(ModelSpec("digits", "/a"), replace=False)
    with pytest.raises(ModelNotFound) as caught:
        registry.get("digit")
    assert "digits" in caught.value.hint


@pytest.mark.parametrize("name", ["", "../up", "a/../b", "/a", ".hidden", "blank blank", "x" * 101])
def test_a_name_cannot_leave_the_directory(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidModel):
        registry.add(ModelSpec(name, "/a"), replace=False)


def test_a_name_with_slashes_is_one_file(registry: Registry, tmp_path: Path) -> None:
    registry.add(ModelSpec("org/model:7b", "/a"), replace=False)
    assert [file.name for file in (tmp_path / "models").iterdir()] == ["org%2Fmodel:7b.toml"]
    registry.load()
    assert registry.get("org/model:7b").path == "/a"
    registry.remove("org/model:7b")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_file_whose_name_no_model_can_have_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "two words.toml").write_text('path = "/a"')
    (tmp_path / "latin.toml").write_bytes(b'path = "/\xe9"')
    (tmp_path / "directory.toml").mkdir()
    registry = Registry(tmp_path)
    registry.load()
    assert "name" in registry.damaged["two words.toml"]
    assert "UTF-8" in registry.damaged["latin.toml"]
    assert "directory" in registry.damaged["directory.toml"]


def test_people_may_write_units(tmp_path: Path) -> None:
    text = 'path = "/a"\nruntime = "onnx"\nmax_memory = "2GiB"\nkeep_alive = "5m"\n'
    (tmp_path / "m.toml").write_text(text)
    registry = Registry(tmp_path)
    registry.load()
    assert registry.get("m").max_memory == 2 << 30
    assert registry.get("m").keep_alive == 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path = ", "value"),
        ('path = "/a"\npahts = 3', "pahts"),
        ('path = "relative"', "absolute"),
        ("path = 3", "str"),
        ('path = "/a"\nname = "other"', "name"),
        ('path = "/a"\n[image]\nmena = [0.5]', "image.mena"),
        (
            'path = "/a"\n[[signature.inputs]]\nname = ""\ndtype = "int8"\nshape = []\nsize = 1',
            "signature.inputs.size",
        ),
        ('path = "/a"\nmax_memory = -1', "max_memory"),
        ('path = "/a"\nmax_memory = true', "max_memory"),
        ('path = "/a"\nkeep_alive = "soon"', "keep_alive"),
        ('path = "/a"\nargs = "{"', "args"),
    ],
)
def test_a_damaged_file_is_told_by_name_and_stops_nothing(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    (tmp_path / "good.toml").write_text('path = "/a"')
    registry = Registry(tmp_path)
    registry.load()
    assert list(registry.models) == ["good"]
    assert said in registry.damaged["bad.toml"].lower()
    with pytest.raises(ModelNotFound, match="damaged"):
        registry.get("bad")
    with pytest.raises(ModelExists):
        registry.add(ModelSpec("bad", "/a"), replace=False)
    registry.remove("bad")
    assert not (tmp_path / "bad.toml").exists()


def test_the_file_reads_the_way_people_write_and_leaves_out_what_is_empty(
    registry: Registry, tmp_path: Path
) -> None:
    registry.add(ModelSpec("m", "/a", max_memory=2 << 30, keep_alive=300.0), replace=False)
    text = (tmp_path / "models/m.toml").read_text()
    assert text == 'path = "/a"\nmax_memory = "2GiB"\nkeep_alive = "5m"\n'


def test_an_argument_may_be_nothing(registry: Registry, tmp_path: Path) -> None:
    spec = ModelSpec("m", "/a", args={"dropout": None, "widths": [8, None]})
    registry.add(spec, replace=False)
    again = Registry(tmp_path / "models")
    again.load()
    assert again.get("m") == spec


@pytest.mark.parametrize(
    "spec",
    [ModelSpec("m", "/a", args={"key": b"raw"}), ModelSpec("m", "/not-utf-8-\udcff")],
    ids=["bytes", "surrogates"],
)
def test_what_no_file_can_hold_is_refused_and_leaves_no_file(
    registry: Registry, tmp_path: Path, spec: ModelSpec
) -> None:
    with pytest.raises(InvalidModel):
        registry.add(spec, replace=False)
    assert list((tmp_path / "models").iterdir()) == []
    assert registry.models == {}


def test_a_directory_that_takes_no_file_is_an_error_with_its_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "gone")
    with pytest.raises(SireError, match="No such file or directory"):
        registry.add(ModelSpec("m", "/a"), replace=False)
    assert registry.models == {}


def test_a_damaged_file_is_replaced_only_on_demand(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "models/m.toml"
    file.write_text("path = ")
    registry.load()
    assert file.read_text() == "path = "
    registry.add(ModelSpec("m", "/a"), replace=True)
    assert registry.damaged == {}
    assert registry.get("m").path == "/a"


def test_a_model_that_is_removed_is_gone_from_disk_too(registry: Registry, tmp_path: Path) -> None:
    registry.add(ModelSpec("m", "/a"), replace=False)
    registry.remove("m")
    assert list((tmp_path / "models").iterdir()) == []
    with pytest.raises(ModelNotFound):
        registry.remove("m")


def test_only_the_owner_may_read_what_is_registered(registry: Registry, tmp_path: Path) -> None:
    registry.add(ModelSpec("m", "/a"), replace=False)
    assert stat.S_IMODE((tmp_path / "models/m.toml").stat().st_mode) == 0o600
