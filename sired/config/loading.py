"""Building the settings from the three layers: keys and values are checked, sources kept."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import FieldInfo, fields

from sire.errors import InvalidConfiguration
from sire.nearest import nearest
from sire.values import Kind
from sired.config.layers import GivenValue, Layer, from_environment, from_file, from_flags
from sired.config.settings import DeviceSettings, GroupSettings, Settings

# Sections that contain one table for each name that the user chose.
_NAMED: dict[str, type[msgspec.Struct]] = {"devices": DeviceSettings, "groups": GroupSettings}
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in fields(Settings) if field.name not in _NAMED
}
# Former names of settings.
_MOVED = {"placement.max_models": "limits.max_models"}
_RESERVED = {"auto": "any device", "dram": "main memory", "disk": "no device"}
_PHYSICAL = re.compile(r"(cpu)|(cuda):(\d+)")

Section = TypeVar("Section", bound=msgspec.Struct)


class SettingSource(NamedTuple):
    """One setting: its value as text, and its source (default, file, SIRE_…, flag)."""

    key: str
    value: str
    source: str


class LoadedSettings(NamedTuple):
    """The settings in force, the source of each, and the path of the file."""

    settings: Settings
    sources: list[SettingSource]
    path: Path


def load_settings(
    path: Path, environment: Mapping[str, str], flags: Mapping[str, str]
) -> LoadedSettings:
    """Read every setting: defaults, over them the file, the environment, the flags.

    Args:
        path: the TOML or YAML file, which need not exist.
        environment: variables, of which ``SIRE_<SECTION>_<KEY>`` are settings.
        flags: text by dotted key, such as ``{"daemon.grace": "5s"}``.

    Raises:
        InvalidConfiguration: a section, key or value is not valid; the message names it.
    """
    given = {
        key: item
        for key, item in from_file(path, _NAMED).items()
        if item.value != {} or not _section(key)
    }
    names = {section: _names(section, given) for section in _NAMED}
    given |= from_environment(environment, _SECTIONS, names)
    given |= from_flags(flags)
    values = {key: _read(key, item) for key, item in given.items()}
    sections = {name: _build(kind, values, name) for name, kind in _SECTIONS.items()}
    devices = {name: _device(name, values, given) for name in _names("devices", values)}
    groups = {
        name: _build(GroupSettings, values, f"groups.{name}") for name in _names("groups", values)
    }
    settings = _settings(sections, devices, groups)
    return LoadedSettings(settings, list(_sources(settings, given)), path)


def _settings(
    sections: Mapping[str, Any],
    devices: dict[str, DeviceSettings],
    groups: dict[str, GroupSettings],
) -> Settings:
    return Settings(**sections, devices=devices, groups=groups)


def _read(key: str, item: GivenValue) -> Any:
    kind = _kinds(key).get(key)
    if kind is None:
        raise _unknown(key, item.place)
    try:
        return kind.read(item.value)
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(
            f"{item.place}: {key}: {problem.message}", hint=problem.hint
        ) from None


def kind_of(key: str) -> Kind:
    """The kind of value of a dotted key.

    Raises:
        InvalidConfiguration: the setting does not exist; the hint names the nearest.
    """
    kind = _kinds(key).get(key)
    if kind is None:
        raise _unknown(key)
    return kind


def _kinds(key: str) -> dict[str, Kind]:
    """The kinds of all dotted keys; for a device or a group, of all its keys."""
    known = {
        f"{section}.{field.encode_name}": _kind(field)
        for section, struct in _SECTIONS.items()
        for field in fields(struct)
    }
    section, _, name = key.partition(".")
    if section in _NAMED and name:
        prefix = key.rpartition(".")[0]
        known |= {f"{prefix}.{field.name}": _kind(field) for field in fields(_NAMED[section])}
    return known


def _kind(field: FieldInfo) -> Kind:
    kind: Kind = field.type.__metadata__[0]
    return kind


def _unknown(key: str, place: str = "") -> InvalidConfiguration:
    sections = [*_SECTIONS, *_NAMED]
    near = nearest(key, [*_kinds(key), *sections])
    message = f"the setting {key} does not exist."
    if _section(key):
        message, hint = f"{key} is a section, not a value.", f"Set keys below [{key}]."
    elif key in _MOVED:
        hint = f"It has been renamed to {_MOVED[key]}."
    elif near:
        hint = f"Did you mean {near}?"
    else:
        hint = f"The sections are {', '.join(sections)}."
    text = f"{place}: {message}" if place else message[0].upper() + message[1:]
    return InvalidConfiguration(text, hint=hint)


def _section(key: str) -> bool:
    named = re.fullmatch(r"(\w+)(\.[^.]*)?", key)
    return key in _SECTIONS or (named is not None and named[1] in _NAMED)


def _build(struct: type[Section], values: Mapping[str, Any], prefix: str) -> Section:
    keys = {field.name: f"{prefix}.{field.encode_name}" for field in fields(struct)}
    return struct(**{name: values[key] for name, key in keys.items() if key in values})


def _names(section: str, values: Mapping[str, Any]) -> list[str]:
    """The names that a section contains a table for."""
    keys = (key for key in values if key.startswith(f"{section}."))
    return list(dict.fromkeys(key.split(".", 1)[1].rpartition(".")[0] for key in keys))


def _device(name: str, values: dict[str, Any], given: Layer) -> DeviceSettings:
    """Build one device; its kind and index are derived from its name if they are not given."""
    prefix = f"devices.{name}"
    place = next(item.place for key, item in given.items() if key.startswith(f"{prefix}."))
    named = re.match(r"(cpu|cuda)(?::?(\d+))?", name)
    if named is None and f"{prefix}.kind" not in values:
        raise InvalidConfiguration(
            f"{place}: {prefix}: the kind of the device is not specified.",
            hint=f'Put kind = "cpu" or kind = "cuda" into [{prefix}].',
        )
    deduced = {f"{prefix}.kind": named[1]} if named else {}
    if named and named[2] and values.get(f"{prefix}.kind", named[1]) == "cuda":
        deduced[f"{prefix}.index"] = _read(f"{prefix}.index", GivenValue(named[2], name, place))
    device = _build(DeviceSettings, deduced | values, prefix)
    _check_name(name, device, place)
    return device


def _check_name(name: str, device: DeviceSettings, place: str) -> None:
    """Check that a device does not have the name of another physical device, or of a tier."""
    if name in _RESERVED:
        raise InvalidConfiguration(
            f"{place}: devices.{name}: the name {name} is reserved for {_RESERVED[name]}.",
            hint="Choose another name.",
        )
    match = _PHYSICAL.fullmatch(name)
    if match and (device.kind, device.index) != (match[1] or match[2], int(match[3] or 0)):
        raise InvalidConfiguration(
            f"{place}: devices.{name}: it cannot be {device.kind} {device.index}.",
            hint=f"Choose another name: {name} is the name of a physical device.",
        )


def _sources(settings: Settings, given: Layer) -> Iterator[SettingSource]:
    """All settings as text: the sections, then the devices and the groups."""
    parts = [(section, getattr(settings, section)) for section in _SECTIONS]
    for section in _NAMED:
        named = getattr(settings, section).items()
        parts += [(f"{section}.{name}", table) for name, table in named]
    for prefix, part in parts:
        for field in fields(part):
            key, value = f"{prefix}.{field.encode_name}", getattr(part, field.name)
            if value in (None, (), ""):
                continue
            source = given[key].source if key in given else "default"
            yield SettingSource(key, _kind(field).write(value), source)
