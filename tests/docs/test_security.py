"""SECURITY.md says what tests show: the tests that it names exist, and each promise names some."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = re.compile(r"<!-- shown by: (.*?) -->")
# These promise nothing about what sire does.
WITHOUT_TESTS = {"Reporting"}


@pytest.mark.parametrize(
    "name", sorted({n for one in NAMED.findall(PAGE) for n in one.split(", ")})
)
def test_a_test_that_is_named_exists(name: str) -> None:
    assert "def test_" in (ROOT / name).read_text("utf-8")


def test_every_section_names_the_tests_of_its_statements() -> None:
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    without = {text.partition("\n")[0] for text in sections if not NAMED.search(text)}
    assert without == WITHOUT_TESTS


def test_every_item_of_what_contains_workers_names_its_tests() -> None:
    _, _, items = PAGE.partition("Workers are protected against accidents:")
    items, _, _ = items.partition("## ")
    for item in re.split(r"^- ", items, flags=re.MULTILINE)[1:]:
        assert NAMED.search(item), item
