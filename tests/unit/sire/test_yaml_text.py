"""YAML files are read within bounds."""

from pathlib import Path

import pytest

from sire.errors import InvalidConfiguration
from sire.yaml_text import LARGEST_BYTES, MOST_VALUES, read_yaml


def read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    return read_yaml(file)


def test_aliases_are_replaced_by_their_values(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &a [1, 2]\nb: *a\n") == {"a": [1, 2], "b": [1, 2]}


def test_a_long_list_is_read(tmp_path: Path) -> None:
    labels = [f"label-{number}" for number in range(50_000)]
    assert read(tmp_path, f"labels: {labels}\n") == {"labels": labels}


def test_aliases_of_aliases_are_refused_by_the_number_of_their_values(tmp_path: Path) -> None:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    with pytest.raises(InvalidConfiguration, match=rf"\d{{20}} values .* limit is {MOST_VALUES}"):
        read(tmp_path, "\n".join(laughs))


def test_a_value_that_contains_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="values once its aliases are replaced"):
        read(tmp_path, "a: &a [1, *a]\n")


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=f"more than {LARGEST_BYTES} bytes"):
        read(tmp_path, "a: " + "x" * LARGEST_BYTES)


@pytest.mark.parametrize("text", ["a: [" * 5000, "a: {" * 5000, "- " * 100_000])
def test_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfiguration):
        read(tmp_path, text)
