"""What the documents say to type does what they say it does."""

import re

import pytest

from tests.docs.conftest import ROOT
from tests.docs.pages import alike, blocks, commands, play, section

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_holds_what_it_promises(page, place):
    play(page.read_text(), *place)


def test_the_first_five_minutes_go_as_the_readme_tells(new_place):
    play(section((ROOT / "README.md").read_text(), "The first five minutes"), *new_place)


def test_the_readme_begins_with_two_commands():
    language, first = blocks((ROOT / "README.md").read_text())[0]
    assert language == "console"
    assert [re.split(r"\s+#", one.line)[0] for one in commands(first)] == ["make demo", "make test"]


def test_what_pages_link_to_is_there():
    for page in [*PAGES, *ROOT.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


def test_what_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:sired|sire_cli|tests|man|docs)/[\w/.-]+)`", text))
    assert len(named) > 15
    assert not [
        path for path in named if not re.search("NAME|VERB", path) and not (ROOT / path).exists()
    ]


def test_figures_may_vary_and_words_may_not():
    assert alike("loaded in 1.2 s, 32 MiB (pid 12345)", "loaded  in 734 ms, 9.1 MiB (pid 77777)")
    assert not alike("loaded in 1.2 s", "failed in 1.2 s")
    assert not alike('{"total":[120.0]}', '{"total":[120.5]}')
    assert not alike("one\n", "one\ntwo\n")
