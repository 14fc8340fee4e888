"""Numbers are the same for a model in a worker and in its own process."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from sire import ModelManager
from sire.errors import InvalidInput
from tests.home import Home

CODE = """
import joblib

class Rent:
    def load(self, path): self.model = joblib.load(path)
    def predict(self, data): return {"minutes": self.model.predict(data)}

class Age:
    def load(self, path=None): pass
    def predict(self, data): return {"seconds": 1700000100 - data["t"]}

class Ids:
    def load(self, path=None): pass
    def predict(self, data): return [str(number) for number in data.ravel().tolist()]
"""


@pytest.fixture
def models(home: Home, tmp_path: Path) -> "LinearRegression":
    times = 1_700_000_000 + np.arange(0, 600, 1.0).reshape(-1, 1)
    rent = LinearRegression().fit(times, (times[:, 0] - 1_700_000_000) / 60)
    joblib.dump(rent, tmp_path / "rent.joblib")
    file = tmp_path / "numbers.py"
    file.write_text(CODE)
    home.register(
        "rent", tmp_path / "rent.joblib", "--runtime", "python", "--class", f"{file}:Rent"
    )
    for name in ("Age", "Ids"):
        home.register(name.lower(), file, "--runtime", "python", "--class", f"{file}:{name}")
    return rent


def test_every_kind_of_file_gives_the_answer_of_the_model_itself(
    home: Home, models: "LinearRegression", tmp_path: Path
) -> None:
    asked = np.array([[1700000030.0], [1700000060.0], [1700000090.0]])
    expected = {"minutes": models.predict(asked).tolist()}
    np.save(tmp_path / "q.npy", asked)
    np.savetxt(tmp_path / "q.csv", asked, fmt="%.1f")
    np.savetxt(tmp_path / "q.tsv", asked, fmt="%.1f")
    (tmp_path / "q.json").write_text(str(asked.tolist()))
    for suffix in ("npy", "csv", "tsv", "json"):
        answer = home.sire("predict", "rent", "-i", tmp_path / f"q.{suffix}").stdout
        assert json.loads(answer) == expected, suffix


def test_fractions_and_whole_numbers_are_exact_from_the_shell_and_from_python(
    home: Home, models: "LinearRegression"
) -> None:
    answer = home.sire("predict", "age", "-i", "-", stdin=b'{"t": 1700000001.25}').stdout
    assert json.loads(answer) == {"seconds": 98.75}
    ids = [9007199254740993, (1 << 63) - 1]
    unsigned = [1, (1 << 64) - 1]
    with ModelManager(home=home.path) as manager:
        assert manager.predict("age", {"t": 1700000001.25})["seconds"] == 98.75
        assert manager.predict("age", {"t": 1700000001})["seconds"] == 99
        for numbers in (ids, unsigned, np.array(unsigned, np.uint64)):
            assert manager.predict("ids", numbers) == [str(number) for number in numbers]
        with pytest.raises(InvalidInput, match="9007199254740993 would lose digits"):
            manager.predict("ids", [9007199254740993, 0.5])
    for numbers in (ids, unsigned):
        for kind, text in (("json", str(numbers)), ("csv", ",".join(map(str, numbers)))):
            asked = ("predict", "ids", "-i", "-", "--from", kind)
            answer = json.loads(home.sire(*asked, stdin=text.encode()).stdout)
            assert answer == [str(number) for number in numbers], (kind, text)
