"""The examples' models, registered and asked as their texts say, by the real commands."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_scikit_learn_model_answers(home, tmp_path):
    file = tmp_path / "iris.joblib"
    subprocess.run([sys.executable, EXAMPLES / "sklearn/train.py", file], check=True)
    kind = f"{EXAMPLES}/sklearn/iris.py:Iris"
    home.sire("register", "iris", file, "--runtime", "python", "--class", kind)
    answer = home.sire("predict", "iris", "-i", "-", stdin=b"[[5.1, 3.5, 1.4, 0.2]]")
    assert json.loads(answer.stdout)["species"] == ["setosa"]
    signature = home.json("show", "iris")["signature"]
    assert signature["inputs"] == [{"name": "", "dtype": "float32", "shape": [-1, 4]}]
    refused = home.sire("predict", "iris", "-i", "-", stdin=b"[1, 2, 3]", code=10)
    assert b"float32[N, 4]" in refused.stderr


def test_a_file_that_no_class_is_named_for_is_refused_when_it_is_registered(home, tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"1234")
    refused = home.sire("register", "m", file, "--runtime", "python", code=9)
    assert b"--class" in refused.stderr
