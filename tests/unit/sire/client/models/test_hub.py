"""Names of the hub, found in a cache laid out as the hub's own tools do."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sire.client.models.definition import define_model
from sire.client.models.hub import find_model, is_hub_name
from sire.errors import InvalidModel, LoadFailed, ModelNotFound
from tests.stand_ins.hub import hub

COMMIT = "c5f93f70e82"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    repository = tmp_path / "hub" / "models--some--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    return snapshot


def offline(tmp_path: Path) -> dict[str, str]:
    return {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("name", ["some/model", "some/model@main", f"some/model@{COMMIT}"])
def test_a_model_in_the_cache_is_found_by_its_name(tmp_path: Path, cache: Path, name: str) -> None:
    assert find_model(name, offline(tmp_path)) == cache
    assert find_model(name, {"HF_HUB_CACHE": str(tmp_path / "hub")}) == cache


@pytest.mark.parametrize("name", ["other/model", "some/model@v2"])
def test_offline_what_is_not_in_the_cache_is_not_found(
    tmp_path: Path, cache: Path, name: str
) -> None:
    with pytest.raises(ModelNotFound, match="HF_HUB_OFFLINE"):
        find_model(name, offline(tmp_path))


def test_what_cannot_be_downloaded_is_said(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="sire[hf] is not installed")
    nobody = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(LoadFailed, match="other/model cannot be downloaded"):
        find_model("other/model", nobody)


@pytest.mark.parametrize("text", ["/a/path", "a/b/c", "file.onnx", "a b/c", ""])
def test_what_is_no_name_of_the_hub_is_told_apart(text: str) -> None:
    assert not is_hub_name(text)
    with pytest.raises(InvalidModel):
        find_model(text)


def test_what_is_not_in_the_cache_is_downloaded_into_it_once(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="sire[hf] is not installed")
    files = {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": b"1",
        "tf_model.h5": b"2",
    }
    with hub(files) as address:
        found = find_model(
            "some/model", {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": address}
        )
    assert sorted(file.name for file in found.iterdir()) == ["config.json", "model.safetensors"]
    assert (found / "config.json").read_bytes() == files["config.json"]
    assert find_model("some/model", offline(tmp_path)) == found


def test_the_base_of_an_adapter_is_found_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tmp_path / "adapter"
    (tmp_path / "here/base").mkdir(parents=True)
    (tmp_path / "base").mkdir()
    adapter.mkdir()

    def located(base_model: str, **args: Any) -> str | None:
        stated = {"peft_type": "LORA", "base_model_name_or_path": base_model}
        (adapter / "adapter_config.json").write_text(json.dumps(stated))
        return define_model("m", str(adapter), {"args": args}).spec.args.get("base")

    monkeypatch.chdir(tmp_path / "here")
    assert located("../base") is None  # beside the adapter, where the daemon finds it
    assert located(str(tmp_path / "base")) is None
    assert located("base") == str(tmp_path / "here/base")
    assert located("nowhere", base="base") == str(tmp_path / "here/base")
    assert located("nowhere") is None


def test_a_name_on_the_hub_without_a_runtime_is_a_missing_file_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFound, match="org/model' does not exist") as raised:
        define_model("m", "org/model", {})
    assert "--runtime huggingface" in raised.value.hint


@pytest.mark.parametrize("options", [{}, {"runtime": "huggingface"}])
def test_a_name_on_the_hub_without_its_organisation_is_a_missing_file_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert-base-cased").mkdir()
    with pytest.raises(ModelNotFound, match="bert-base-uncased' does not exist") as raised:
        define_model("m", "bert-base-uncased", options)
    assert "organisation/bert-base-uncased --runtime huggingface" in raised.value.hint
    assert f"Did you mean {tmp_path / 'bert-base-cased'}?" in raised.value.hint


@pytest.mark.parametrize("options", [{}, {"runtime": "huggingface"}])
def test_a_name_on_the_hub_instead_of_a_file_is_answered_with_the_whole_command(
    options: dict[str, str],
) -> None:
    with pytest.raises(InvalidModel, match="No file is specified for org/model") as raised:
        define_model("org/model", None, options)
    assert "sire register org/model org/model --runtime huggingface" in raised.value.hint
