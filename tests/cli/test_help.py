"""Help at 80 columns: complete first sentences, plain metavars, commands and options in groups."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from sire_cli.main import VERBS, full_app
from sire_cli.options.typer_command import CommandGroup


def walk(path: tuple[Any, ...], command: Any) -> Iterator[tuple[Any, ...]]:
    yield path, command
    if isinstance(command, CommandGroup):
        for name in command.list_commands(None):
            yield from walk((*path, name), command.commands[name])


COMMANDS = dict(walk((), typer.main.get_command(full_app())))
GROUPS = [path for path, command in COMMANDS.items() if isinstance(command, CommandGroup)]
VERB = re.compile(r"[A-Z][a-z]+(?<!s)(,| )")


def name(path: tuple[Any, ...]) -> str:
    return " ".join(path) or "sire"


@pytest.fixture(scope="module")
def help_of() -> Callable[..., Any]:
    known = {}

    def get(path: tuple[Any, ...]) -> str:
        if path not in known:
            done = subprocess.run(
                [sys.executable, "-m", "sire_cli", *path, "--help"],
                env={**os.environ, "COLUMNS": "80"},
                capture_output=True,
                text=True,
                check=True,
            )
            known[path] = done.stdout
        return known[path]

    return get


def sections(text: str) -> dict[str, list[str]]:
    """The lines below each heading that is not indented."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            title = line.partition(":")[0]
            found[title] = []
        elif line:
            found[title].append(line)
    return found


@pytest.mark.parametrize("path", GROUPS, ids=name)
def test_the_first_sentence_of_each_subcommand_is_listed_uncut(
    help_of: Callable[..., Any], path: tuple[Any, ...]
) -> None:
    text = help_of(path)
    assert "..." not in text.replace("[ARGS]...", "")
    for child, command in COMMANDS[path].commands.items():
        sentence = re.match(r".*?\.(?=\s|$)", " ".join((command.help or "").split()))
        assert sentence is not None
        assert re.search(rf"^  {child} +{re.escape(sentence[0])}$", text, re.MULTILINE)


@pytest.mark.parametrize("path", COMMANDS, ids=name)
def test_help_begins_with_a_verb_and_fits(
    help_of: Callable[..., Any], path: tuple[Any, ...]
) -> None:
    assert VERB.match(COMMANDS[path].help)
    assert max(map(len, help_of(path).splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS, ids=name)
def test_no_metavar_is_a_python_type(help_of: Callable[..., Any], path: tuple[Any, ...]) -> None:
    text = help_of(path)
    assert not re.search(r"<[a-z]|\{[A-Z]", text)
    assert "......" not in text
    for metavar in re.findall(r"^  (?:-\w, )?--[\w-]+ (\w\S+)", text, re.MULTILINE):
        assert metavar.removesuffix("|auto").isupper()


def test_every_command_is_listed_once_in_a_named_panel(help_of: Callable[..., Any]) -> None:
    listed = sections(help_of(()))
    panels = {title: lines for title, lines in listed.items() if title not in ("Usage", "Options")}
    assert "Commands" not in panels
    assert [line.split()[0] for lines in panels.values() for line in lines] == list(VERBS)
    assert "  daemon " in panels["Daemon"][0]


def test_many_options_are_grouped_and_few_are_not(help_of: Callable[..., Any]) -> None:
    assert {"Input", "Load", "Output", "Options"} <= sections(help_of(("bench",))).keys()
    assert {"Input", "Output", "Scheduling"} <= sections(help_of(("predict",))).keys()
    assert sections(help_of(("load",))).keys() == {"Usage", "Arguments", "Options"}
