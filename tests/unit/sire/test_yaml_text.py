"""YAML is read with bounds: on its size, on what its aliases stand for, on each number."""

from pathlib import Path
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sire.yaml_text import LARGEST_BYTES, MOST_VALUES, read_yaml


def grown(first: str, line: str) -> str:
    """A document in which each of twelve values stands for ten of the one before."""
    repeated = [line.format(n, ", ".join([f"*a{n - 1}"] * 10)) for n in range(1, 12)]
    return "\n".join([f"a0: &a0 {first}", *repeated])


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str) -> Any:
        file = tmp_path / "file.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(file)

    return read


def test_aliases_and_merges_of_moderate_size_are_read(read: Any) -> None:
    assert read("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }
    assert read("") == {}


def test_a_long_list_is_read(read: Any) -> None:
    labels = [f"label-{number}" for number in range(20_000)]
    assert read(f"labels: {labels}") == {"labels": labels}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (grown("[x, x]", "a{0}: &a{0} [{1}]"), f"the limits are {MOST_VALUES}"),
        (grown("{x: 1}", "a{0}: &a{0} {{<<: [{1}]}}"), f"the limits are {MOST_VALUES}"),
        ("b: &b " + "y" * 100_000 + "\nc: [" + ", ".join(["*b"] * 100) + "]", "characters"),
        ("a: &a [*a]", "contains it"),
        (b"#" * (LARGEST_BYTES + 1), f"more than {LARGEST_BYTES} bytes"),
        ("a: " + "[" * 5000, "recursion"),
        ("a: " + "{" * 5000, "recursion"),
        ("- " * 100_000, "recursion"),
        ("a: " + "9" * 101, "a number of 101 characters; the limit is 100"),
        ("a: " + ":".join(["59"] * 50), "a number of 149 characters"),
        ("a: 2024-13-45", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!timestamp soon", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!python/object/apply:os.getpid []", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        (b"a: \xff", "not valid YAML"),
        ("- a", "not a mapping"),
    ],
)
def test_what_exceeds_a_bound_or_is_not_valid_is_refused(
    read: Any, text: str | bytes, said: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=said):
        read(text)
