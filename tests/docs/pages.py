"""What stands in a document's fenced blocks, and what comes of running it.

- ``console``: commands behind ``$``, with what they print below. Figures that have a unit stand for
  any such figure, a pid for any other, ``…`` for anything.
- ``python`` and ``toml`` whose first line is ``# NAME`` are files of that name.
- ``crontab``: the commands are run, not waited for until they are due.
"""

import re
import subprocess
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIES = re.compile(
    r"\b\d+(?:\.\d+)? ?(?:ms|s|m|B|KiB|MiB|GiB|%|bytes)(?=[\s,;.)]|$)"
    r"|(?<=pid )\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
)


@dataclass
class Command:
    line: str
    expected: str


def blocks(text):
    """(language, content) of each block."""
    return _BLOCK.findall(text)


def section(text, title):
    """What stands below a heading, up to the next of its kind."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def commands(content):
    """A console block, taken apart."""
    found = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif line.startswith("> "):
            found[-1].line += "\n" + line[2:]
        else:
            found[-1].expected += line + "\n"
    return found


def alike(expected, printed):
    """Whether two outputs say the same, apart from blanks and measured figures."""

    def pattern(line):
        parts = [re.escape(part) for part in _VARIES.split(line)]
        return r"[\d.:-]+(?: [\d:]+)? ?\w*%?".join(parts).replace("…", ".*")

    want = [" ".join(line.split()) for line in expected.splitlines()]
    have = [" ".join(line.split()) for line in printed.splitlines()]
    return len(want) == len(have) and all(
        re.fullmatch(pattern(one), other) for one, other in zip(want, have, strict=True)
    )


def run(line, directory, environment):
    """Run a command line in a shell; what it printed, stderr and stdout as they came."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
    )
    return done.stdout


def play(text, directory, environment):
    """Do what a document says, block by block."""
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
