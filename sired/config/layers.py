"""The three sources of settings, each read into dotted keys."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sire.errors import InvalidConfiguration, error_text
from sired.config.yaml_file import read_server_file

_VARIABLE = re.compile("SIRE_(?P<section>[A-Z]+)_(?P<key>[A-Z0-9_]+)")


class GivenValue(NamedTuple):
    """A value as given; ``source`` is shown in listings, ``place`` in errors."""

    value: Any
    source: str
    place: str


Layer = dict[str, GivenValue]


def from_file(path: Path, named: Collection[str]) -> Layer:
    """Read a TOML file, or a YAML file by its suffix; a missing file sets nothing.

    ``named`` are the sections that contain tables under names of the user's choice.

    Raises:
        InvalidConfiguration: the file cannot be read, or is not valid.
    """
    if path.suffix in {".yaml", ".yml"}:
        tables = read_server_file(path)
        return _from_tables(tables, named, path)
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise InvalidConfiguration(f"Cannot read {path}: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidConfiguration(f"{path} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as problem:
        # The parser counts lines except on the last one.
        where = str(problem).replace("end of document", f"line {max(1, len(text.splitlines()))}")
        raise InvalidConfiguration(f"{path} is not valid TOML: {where}.") from None
    except (ValueError, RecursionError) as problem:  # thousands of digits, or of brackets
        raise InvalidConfiguration(f"{path} cannot be read: {error_text(problem)}.") from None
    return _from_tables(tables, named, path)


def _from_tables(tables: dict[str, Any], named: Collection[str], path: Path) -> Layer:
    found = _flatten(tables, named)
    return {key: GivenValue(value, "file", str(path)) for key, value in found}


def _flatten(tables: dict[str, Any], named: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; an empty or misplaced table counts as a value."""
    for section, table in tables.items():
        if section in named and isinstance(table, dict):
            for name, keys in table.items():
                yield from _keys(f"{section}.{name}", keys)
        else:
            yield from _keys(section, table)


def _keys(prefix: str, table: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(table, dict) or not table:
        yield prefix, table
        return
    yield from ((f"{prefix}.{key}", value) for key, value in table.items())


def from_environment(
    environment: Mapping[str, str],
    sections: Iterable[str],
    named: Mapping[str, Iterable[str]],
) -> Layer:
    """Read ``SIRE_<SECTION>_<KEY>``; other variables are ignored.

    ``SIRE_DEVICES_<NAME>_<KEY>`` refers to the device of ``named`` with that name in capitals and
    underscores, otherwise to a new one: ``CUDA_1`` is ``cuda:1``. So does ``SIRE_GROUPS_…``.
    """
    known = {
        section: {re.sub(r"\W", "_", name).upper(): name for name in names}
        for section, names in named.items()
    }
    layer = {}
    for variable, value in sorted(environment.items()):
        match = _VARIABLE.fullmatch(variable)
        if match is None or match["section"].lower() not in {*sections, *known}:
            continue
        section, key = match["section"].lower(), match["key"].lower()
        if section in known:
            name, _, key = match["key"].rpartition("_")
            section = f"{section}.{known[section].get(name) or _device_name(name)}"
        layer[f"{section}.{key.lower()}"] = GivenValue(value, variable, variable)
    return layer


def _device_name(variable: str) -> str:
    return re.sub(r"^cuda_(\d+)$", r"cuda:\1", variable.lower())


def from_flags(flags: Mapping[str, str]) -> Layer:
    """Read flags, whose names are dotted keys."""
    return {key: GivenValue(value, "flag", "command line") for key, value in flags.items()}
