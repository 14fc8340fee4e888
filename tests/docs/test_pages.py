"""The commands that the pages show do what the pages say."""

import ast
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from man.settings import NAMED
from sire import ModelManager
from sire_cli.main import full_app
from sired.config.layers import from_file
from sired.config.loading import load_settings
from tests.docs.conftest import ROOT
from tests.docs.pages import alike, blocks, commands, is_runnable, play, section, sire_calls

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXAMPLES = ROOT / "examples" / "README.md"
RUNNABLE = [page for page in [*PAGES, EXAMPLES] if is_runnable(page.read_text())]
DOCUMENTS = [*PAGES, *ROOT.glob("*.md"), EXAMPLES, *ROOT.glob("benchmarks/*.md")]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_a_page_does_what_it_says(page: Path, place: tuple[Path, dict[str, str]]) -> None:
    text = page.read_text()
    if "| jq " in text and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    play(text, *place)


def test_the_first_five_minutes_of_the_readme(place: tuple[Path, dict[str, str]]) -> None:
    play(section((ROOT / "README.md").read_text(), "The first five minutes"), *place)


def test_the_readme_begins_with_two_commands() -> None:
    language, first = blocks((ROOT / "README.md").read_text())[0]
    assert language == "console"
    assert [re.split(r"\s+#", one.line)[0] for one in commands(first)] == ["make demo", "make test"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^):\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in titles]
            assert heading in anchors, link


def test_every_page_is_reached_from_the_index() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^):#]+)", index.read_text())}
    assert [name_of(page) for page in PAGES if page != index and page not in linked] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    for call in sire_calls(page.read_text()):
        assert unknown_words(call) == [], call


def unknown_words(call: list[str]) -> list[Any]:
    """The first words of a call that `sire` does not know: a command or an option."""
    root, words = typer.main.get_command(full_app()), iter(call)
    command = root
    for word in words:
        if not word.startswith("-") or word == "-":
            verbs = getattr(command, "commands", None)
            if not verbs:
                continue
            if word not in verbs:
                return [word]
            command = verbs[word]
            continue
        name, equals, _ = word.partition("=")
        parameters = [*command.params, *root.params]  # those of sire itself may come last
        known = [one for one in parameters if name in [*one.opts, *one.secondary_opts]]
        if not known and name not in {"-h", "--help"}:
            return [word]
        if known and not getattr(known[0], "is_flag", False) and not equals:
            next(words, None)
    return []


def test_an_unknown_command_or_option_is_found() -> None:
    assert unknown_words(["predict", "digits", "-i", "-", "--to", "npy"]) == []
    assert unknown_words(["job", "wait", "--all"]) == []
    assert unknown_words(["job", "weight"]) == ["weight"]
    assert unknown_words(["predict", "digits", "--output-file", "x"]) == ["--output-file"]
    text = "```sh\nls | xargs -n 1 sire predict m -o out/ -i && x $(sire job list)\n```\n"
    assert sire_calls(text) == [["predict", "m", "-o", "out/", "-i"], ["job", "list"]]


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_python_blocks_parse_and_call_methods_that_exist(page: Path) -> None:
    for language, content in blocks(page.read_text()):
        if language == "python":
            for node in ast.walk(ast.parse(content)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    assert node.value.id != "manager" or hasattr(ModelManager, node.attr), content


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_settings_that_pages_show_are_accepted(page: Path, tmp_path: Path) -> None:
    for language, content in blocks(page.read_text()):
        if language == "toml" and "project" not in tomllib.loads(content):
            file = tmp_path / "config.toml"
            file.write_text(content)
            assert from_file(file, NAMED)
            load_settings(file, {}, {})


def test_paths_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(
        re.findall(r"`((?:sire|sired|sire_cli|tests|man|docs|completions)/[\w/.-]+)`", text)
    )
    assert len(named) > 15
    assert not [
        path for path in named if not re.search("NAME|VERB", path) and not (ROOT / path).exists()
    ]


def test_figures_may_vary_and_words_may_not() -> None:
    assert alike("loaded in 1.2 s, 32 MiB (pid 12345)", "loaded  in 734 ms, 9.1 MiB (pid 77777)")
    assert not alike("loaded in 1.2 s", "failed in 1.2 s")
    assert not alike('{"total":[120.0]}', '{"total":[120.5]}')
    assert not alike("one\n", "one\ntwo\n")
    assert alike("one\n…\nfour\n", "one\ntwo\nthree\nfour\n")
    assert not alike("one\n…\nfour\n", "one\ntwo\nthree\n")
