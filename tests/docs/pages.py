"""Read the fenced blocks of a Markdown page, and run them.

- ``console``: commands after ``$``, with their expected output below. A figure with a unit matches
  any figure with a unit, a pid any pid, ``…`` any text on its line, and a line that is only ``…``
  any number of lines.
- ``python`` and ``toml`` whose first line is ``# NAME``: written to a file of that name.
- ``crontab``: each command is run at once.
- ``sh`` and ``bash``: not run. The commands and options of `sire` in them must exist.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIES = re.compile(
    r"\b\d+(?:\.\d+)? ?(?:ms|s|m|h|d|B|KiB|MiB|GiB|%|bytes)(?=[\s,;.)]|$)"
    r"|(?<=pid )\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?"
)
_OPERATORS = frozenset("();<>|&") | {"&&", "||", ">>", "<<", "2>"}


@dataclass
class Command:
    line: str
    expected: str


def blocks(text: str) -> list[tuple[str, ...]]:
    """Return (language, content) of each fenced block."""
    return _BLOCK.findall(text)


def is_runnable(text: str) -> bool:
    """Return whether a page has blocks that `play` runs."""
    return any(language in {"console", "crontab"} for language, _ in blocks(text))


def section(text: str, title: str) -> str:
    """Return the text below a second-level heading, up to the next one."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def commands(content: str) -> list[Command]:
    """Split a console block into commands."""
    found = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif line.startswith("> "):
            found[-1].line += "\n" + line[2:]
        else:
            found[-1].expected += line + "\n"
    return found


def alike(expected: str, printed: str) -> bool:
    """Return whether two outputs agree, apart from blanks and measured figures."""

    def pattern(line: str) -> str:
        if line == "…":
            return r"(?:.*\n)*?"
        parts = [re.escape(part) for part in _VARIES.split(line)]
        return r"[\d.:-]+(?: [\d:.]+)? ?\w*%?".join(parts).replace("…", ".*") + "\n"

    want = "".join(pattern(" ".join(line.split())) for line in expected.splitlines())
    have = "".join(" ".join(line.split()) + "\n" for line in printed.splitlines())
    return re.fullmatch(want, have) is not None


def run(line: str, directory: Path, environment: dict[str, str]) -> str:
    """Run a command line in bash; return stdout and stderr as one text."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    return done.stdout


def play(text: str, directory: Path, environment: dict[str, str]) -> None:
    """Follow a page, block by block."""
    for language, content in blocks(text):
        name = re.match(r"# ([\w/.-]+)\n", content)
        if language in {"python", "toml"} and name:
            file = directory / name[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        elif language == "console":
            for command in commands(content):
                printed = run(command.line, directory, environment)
                assert alike(command.expected, printed), f"$ {command.line}\n{printed}"
        elif language == "crontab":
            for line in content.splitlines():
                if line and line[0] in "0123456789*":
                    assert run(line.split(None, 5)[5], directory, environment) == "", line


def sire_calls(text: str) -> list[list[str]]:
    """Return the words of each call of `sire` in the shell blocks of a page, without `sire`."""
    found: list[list[str]] = []
    for language, content in blocks(text):
        if language == "console":
            lines = [command.line for command in commands(content)]
        elif language in {"sh", "bash"}:
            lines = content.replace("\\\n", " ").splitlines()
        else:
            continue
        for line in lines:
            found += _calls(line)
    return found


def _calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.replace("$(", "( "), posix=True, punctuation_chars=True)
    lexer.wordchars += "{}[]:,*$%…"
    words = list(lexer)
    for place, word in enumerate(words):
        # `sire` itself, also with a path before it or behind xargs; not a word in a message.
        if word.rpartition("/")[2] != "sire" or (place and words[place - 1] in {"mkdir", "-p"}):
            continue
        call = []
        for argument in words[place + 1 :]:
            if argument in _OPERATORS:
                break
            call.append(argument)
        yield call
