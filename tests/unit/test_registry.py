"""The registry on disk."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sired.errors import InvalidModel, ModelExists, ModelNotFound
from sired.spec import ImageOptions, ModelSpec, Signature, TensorSpec
from sired.store.footprints import Footprints
from sired.store.registry import Registry

plain = st.recursive(
    st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(-1e9, 1e9)),
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
def registry(tmp_path):
    registry = Registry(tmp_path / "models")
    registry.load()
    return registry


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(specs)
def test_whatever_is_registered_is_read_back_the_same(tmp_path, spec):
    Registry(tmp_path).add(spec, replace=True)
    again = Registry(tmp_path)
    again.load()
    assert again.damaged == {}
    assert again.get(spec.name) == spec


def test_a_name_is_taken_once(registry):
    registry.add(ModelSpec("m", "/a"), replace=False)
    with pytest.raises(ModelExists):
        registry.add(ModelSpec("m", "/b"), replace=False)
    registry.add(ModelSpec("m", "/b"), replace=True)
    assert registry.get("m").path == "/b"


def test_an_unknown_name_is_answered_with_the_nearest(registry):
    registry.add(ModelSpec("digits", "/a"), replace=False)
    with pytest.raises(ModelNotFound) as caught:
        registry.get("digit")
    assert "digits" in caught.value.hint


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "with blank", "x" * 101])
def test_a_name_cannot_leave_the_directory(registry, name):
    with pytest.raises(InvalidModel):
        registry.add(ModelSpec(name, "/a"), replace=False)


def test_people_may_write_units(tmp_path):
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
    ],
)
def test_a_damaged_file_is_told_by_name_and_stops_nothing(tmp_path, text, said):
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


def test_footprints_are_kept_by_content_and_kind(tmp_path):
    one = ModelSpec("one", "/a", fingerprint="f")
    same = ModelSpec("same", "/b", fingerprint="f")
    footprints = Footprints(tmp_path / "f.json")
    assert footprints.learn(one, "cpu", 1000)
    assert not footprints.learn(one, "cpu", 1001)
    footprints.save()
    again = Footprints(tmp_path / "f.json")
    assert again.get(same, "cpu") in {1000, 1001}  # what differs less than noise need not be kept
    assert again.get(same, "cuda") is None


def test_a_damaged_footprint_file_is_put_aside(tmp_path):
    path = tmp_path / "f.json"
    path.write_text("{")
    assert Footprints(path).get(ModelSpec("m", "/a"), "cpu") is None
    assert path.with_suffix(".damaged").exists()
