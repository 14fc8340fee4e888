"""Set one setting in the text of a TOML file; comments and layout are kept."""

from typing import Any

import tomlkit
from tomlkit.items import Comment, InlineTable, Table, Whitespace

from sired.config.loading import kind_of


def set_value(text: str, key: str, given: str) -> str:
    """Set one setting in the text of a TOML file.

    Args:
        text: valid TOML.
        key: dotted, such as ``daemon.grace`` or ``devices.cuda:0.memory``.
        given: the value, as in an environment variable.

    Returns:
        The new text, in which only this setting differs.

    Raises:
        InvalidConfiguration: the key does not exist, or the value is invalid for it.
    """
    kind = kind_of(key)
    read = kind.read(given)
    value = kind.write(read) if kind.name in {"size", "duration"} else read
    document = tomlkit.parse(text)
    *sections, name = _path(key)
    table: Any = document
    for section in sections:
        if section not in table:
            table[section] = _new_table(table, has_values=section == sections[-1])
        table = table[section]
    trailing = _take_trailing_trivia(table) if name not in table else []
    table[name] = list(value) if isinstance(value, tuple) else value
    if trailing:
        table.value.body.extend(trailing)
    return tomlkit.dumps(document)


def _path(key: str) -> list[str]:
    """The names in a dotted key; that of a device or a group may contain dots itself."""
    section, _, name = key.rpartition(".")
    return [*section.split(".", 1), name]


def _new_table(parent: Any, *, has_values: bool) -> Any:
    """An empty table; one without values of its own gets no header."""
    if isinstance(parent, InlineTable):
        return tomlkit.inline_table()
    return tomlkit.table(is_super_table=not has_values)


def _take_trailing_trivia(table: Any) -> list[Any]:
    """Remove blank lines and comments at the end of a table, and return them.

    They usually describe the section that follows, so that a new key has to go before them.
    """
    trailing: list[Any] = []
    if isinstance(table, Table) and len(table):
        body = table.value.body
        while isinstance(body[-1][1], Comment | Whitespace):
            trailing.insert(0, body.pop())
    return trailing
