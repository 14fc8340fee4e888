"""Writing one setting into the text of a TOML file, the rest of which stays as it is.

The line is replaced or added as a person would do it, so that comments stay. What comes out is
read again: where lines are not enough (inline tables, dotted keys at the top), the file is written
anew from its values.
"""

import json
import tomllib
from typing import Any

import tomli_w

from sire.values import DURATION, SIZE
from sired.config.loading import kind_of


def set_value(text: str, key: str, given: str) -> tuple[str, bool]:
    """Set one setting in the text of a TOML file.

    Args:
        text: valid TOML.
        key: dotted, such as ``daemon.grace`` or ``devices.cuda:0.memory``.
        given: the value, as in an environment variable.

    Returns:
        The new text, and whether the comments of the old one are in it.

    Raises:
        InvalidConfiguration: there is no such key, or it cannot have this value.
    """
    kind = kind_of(key)
    read = kind.read(given)
    value = kind.write(read) if kind in (SIZE, DURATION) else read
    value = list(value) if isinstance(value, tuple) else value
    path = _path(key)
    wanted = tomllib.loads(text)
    _put(wanted, path, value)
    edited = _edit(text, path[:-1], path[-1], value)
    try:
        if tomllib.loads(edited) == wanted:
            return edited, True
    except tomllib.TOMLDecodeError:
        pass
    return tomli_w.dumps(wanted), "#" not in text


def _path(key: str) -> list[str]:
    section, _, name = key.rpartition(".")
    return [*section.split(".", 1), name]


def _put(tables: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        tables = tables.setdefault(part, {})
    tables[path[-1]] = value


def _edit(text: str, section: list[str], name: str, value: Any) -> str:
    lines = text.splitlines()
    # JSON's strings, numbers, booleans and lists are TOML's, too.
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    begin = next((n for n, one in enumerate(lines) if _header(one) == section), None)
    if begin is None:
        heading = ".".join(map(_bare, section))
        gap = [""] if lines and lines[-1].strip() else []
        return "\n".join([*lines, *gap, f"[{heading}]", line]) + "\n"
    rest = range(begin + 1, len(lines))
    end = next((n for n in rest if _header(lines[n]) is not None), len(lines))
    for n in range(begin + 1, end):
        if name in (_table(lines[n : _value_end(lines, n, end)]) or ()):
            last = _value_end(lines, n, end)
            lines[n:last] = [line + _comment(lines[last - 1])]
            return "\n".join(lines) + "\n"
    while end > begin + 1 and not lines[end - 1].strip():
        end -= 1
    return "\n".join([*lines[:end], line, *lines[end:]]) + "\n"


def _table(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _value_end(lines: list[str], begin: int, end: int) -> int:
    """Behind the last line of the value that begins on this one."""
    ends = range(begin + 1, end + 1)
    return next((n for n in ends if _table(lines[begin:n]) is not None), begin + 1)


def _header(line: str) -> list[str] | None:
    """The names in a line like ``[devices."cuda:0"]``; None for any other line."""
    if not line.lstrip().startswith("[") or not (table := _table([line])):
        return None
    path = []
    while table:
        ((name, table),) = table.items()
        path.append(name)
    return path


def _bare(name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isalnum() and plain.isascii() else json.dumps(name, ensure_ascii=False)


def _comment(line: str) -> str:
    """What stands behind the value of a line, with the blanks before it."""
    for at, character in enumerate(line):
        if character == "#" and _closed(line[:at]):
            before = line[:at].rstrip()
            return line[len(before) :]
    return ""


def _closed(text: str) -> bool:
    """Whether no string is open at the end of this text."""
    return _table([text]) is not None or text.rstrip().endswith("]")
