"""A file that registers a model does not decide that code runs."""

from pathlib import Path
from typing import Any

import pytest

from sire.client.models.yaml_definition import read_model_file
from sire.errors import UntrustedModel


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ("model_path: w.bin\nmodel_type: python\nmodel_class: model.py:M", "the class"),
        ("model_path: w.bin\nmodel_class: package.module:M", "the class 'package.module:M'"),
        ('config: {cmd: "sh -c ./run {port}"}', "the command 'sh -c ./run {port}'"),
        ('cmd: "./run {port}"', "the command './run {port}'"),
        ("model_path: model.py\nmodel_type: python", "the Python file"),
    ],
)
def test_a_definition_that_names_code_needs_trust(tmp_path: Path, fields: str, named: str) -> None:
    (tmp_path / "model.py").write_text("raise SystemExit('imported')")
    (tmp_path / "w.bin").write_bytes(b"x")
    file = tmp_path / "model.yaml"
    file.write_text(f"model_id: nice\n{fields}\n")
    with pytest.raises(UntrustedModel, match="--trust|would run") as raised:
        read_model_file(file)
    assert named in raised.value.message
    assert read_model_file(file, trust=True).spec.name == "nice"


def test_a_definition_without_code_needs_none(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    file = tmp_path / "model.yaml"
    file.write_text("model_id: nice\nmodel_path: m.onnx\nbatch_size: 4\n")
    defined: Any = read_model_file(file)
    assert (defined.spec.name, defined.spec.trusted) == ("nice", False)
