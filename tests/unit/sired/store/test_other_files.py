"""Files of other libraries are recognised, and what is said to do with them runs them."""

import json
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sire.errors import InvalidModel
from sired.runtimes.discovery import find_runtime
from sired.store.formats import recognise
from sired.store.other_files import recognise_other

X = np.random.default_rng(0).random((20, 3))


@pytest.fixture
def classifier() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X[:, 0] > 0.5)


def advice(path: Path) -> tuple[str, str]:
    with pytest.raises(InvalidModel) as caught:
        recognise(path)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_a_pickled_estimator_is_answered_with_the_class_that_runs_it(
    tmp_path: Path, classifier: Pipeline, compress: Any
) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(classifier, path, compress=compress)
    message, hint = advice(path)
    assert "scikit-learn" in message
    assert f"sire register NAME {path} --runtime python --class model.py:Model" in hint
    code = re.search(r"\n(    import .*?)\nand register", hint, re.DOTALL)
    assert code is not None
    (tmp_path / "model.py").write_text(re.sub("^    ", "", code[1], flags=re.MULTILINE))
    runtime = find_runtime("python")
    model = runtime.load(str(path), model_class=f"{tmp_path}/model.py:Model")
    np.testing.assert_array_equal(runtime.predict(model, X), classifier.predict(X))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_so_is_a_plain_pickle_whatever_its_protocol(
    tmp_path: Path, classifier: Pipeline, protocol: Any
) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"model": classifier}, protocol))
    assert "scikit-learn" in advice(path)[0]


@pytest.mark.parametrize(
    ("content", "name", "how"),
    [
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "GGUF", "llama-server -m {path}"),
        (b"tree\nversion=v4\nnum_class=1\n", "LightGBM", "lightgbm.Booster(model_file=path)"),
        (json.dumps({"learner": {}}).encode(), "XGBoost", "xgboost.DMatrix(data)"),
        (b"{L" + struct.pack(">q", 7) + b"learner{", "XGBoost", "xgboost.Booster"),
        (b"CBM1" + bytes(64), "CatBoost", "catboost.CatBoost"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras", "keras.models.load_model"),
        (b"\x80\x04clightgbm.sklearn\nLGBMClassifier\n.", "LightGBM", "joblib.load"),
        (b"\x80\x04cmine\nModel\n.", "mine.Model", "joblib.load"),
    ],
)
def test_each_is_recognised_by_its_content(
    tmp_path: Path, content: bytes, name: str, how: str
) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    message, hint = advice(path)
    assert name in message
    assert how in hint


@pytest.mark.parametrize(
    "content",
    [
        b"x\x9c damaged",
        b"\x1f\x8b",
        b"BZh",
        b"\x80",
        b"\x80\x04",
        b"\x80\x04.",
        pickle.dumps({"sklearn": "a text, not a class"}),
    ],
)
def test_what_is_damaged_or_says_nothing_is_not(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    assert recognise_other(path) is None


def test_a_small_file_that_unpacks_to_much_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "m"
    import zlib

    path.write_bytes(zlib.compress(bytes(1 << 28)))
    assert recognise_other(path) is None
