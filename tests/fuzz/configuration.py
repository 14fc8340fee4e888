"""Settings from file, environment and flags: read, or refused with the key that is wrong.

Every setting as it is listed can be given back as a flag and means the same.
"""

import contextlib
from pathlib import Path

from sire.errors import InvalidConfiguration
from sire.units import parse_bytes, parse_duration
from sired.config import load_settings
from tests.fuzz.draw import TEXTS, Draw, scratch

_KEYS = [source.key for source in load_settings(Path("/nowhere/config.toml"), {}, {}).sources] + [
    *("devices.cpu.memory", "devices.cpu.cores", "devices.cpu.standby", "devices.x.kind"),
    *("devices.cuda:1.index", "devices.cuda:99999.memory", "devices.x.index", "devices.a.b.memory"),
    *("devices", "daemon", "devices.cpu", "nothing", "daemon.", ".", "devices..memory"),
]
_VALUES = (
    *TEXTS,
    *("1", "-1", "1e400", "nan", "inf", "9" * 25, "9" * 5_000, "1e30", "0.1", "1e-400"),
    *("2GiB", "99999999999TiB", "5m", "1e308d", "yes", "0-3", "0,2-1", "0-99999999999999", "a,b"),
)
_LARGEST = 2**63
_FILE, _DRAWN, _UNITS = range(3)


def fuzz_one(data: bytes) -> None:
    """Read the bytes as settings; raises only for what is a bug."""
    draw = Draw(data)
    match draw.byte() % 3:
        case 0:
            _check(draw.rest(), {}, {})
        case 1:
            _check(*_drawn(draw))
        case _:
            _check_units(draw.rest().decode(errors="replace"))


def _drawn(draw: Draw) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """A few settings, in the file, the environment or on the command line."""
    lines, environment, flags = [], {}, {}
    for _ in range(draw.byte() % 4):
        key, value = draw.choice(_KEYS), draw.choice(_VALUES)
        section, _, name = key.rpartition(".")
        match draw.byte() % 4:
            case 0:
                lines.append(f"{key} = {value!r}".replace("\\", ""))
            case 1:
                lines.append(f'["{section}"]\n{name} = {value}')
            case 2:
                environment["SIRE_" + key.replace(".", "_").replace(":", "_").upper()] = value
            case _:
                flags[key] = value
    return "\n".join(lines).encode(), environment, flags


def _check(file: bytes, environment: dict[str, str], flags: dict[str, str]) -> None:
    with scratch() as directory:
        path = Path(directory) / "config.toml"
        path.write_bytes(file)
        try:
            loaded = load_settings(path, environment, flags)
        except InvalidConfiguration as error:
            assert len(str(error)) < 2_000, "an error repeats what it refuses"
            return
    settings = loaded.settings
    assert 0 <= settings.daemon.max_message_bytes < _LARGEST
    assert all(len(device.cores) <= 65_536 for device in settings.devices.values())
    again = load_settings(path, {}, {key: value for key, value, _ in loaded.sources})
    assert repr(again.settings) == repr(settings)


def _check_units(text: str) -> None:
    for parse in (parse_bytes, parse_duration):
        with contextlib.suppress(InvalidConfiguration):
            assert parse(text) >= 0


def seeds() -> list[bytes]:
    """Files as people write them, and every setting with every odd value."""
    files = (
        b'[daemon]\ngrace = "5s"\nmax_message = "64MB"\npreload = ["a", "b"]\n[queue]\ntotal = 5\n',
        b'[devices."cuda:0"]\nmemory = "2GiB"\n[devices.cpu0]\nkind = "cpu"\ncores = [0, "2-3"]\n',
        b"x = " + b"[" * 3_000,
        b"x = " + b"9" * 5_000,
    )
    return [
        *(bytes([_FILE]) + file for file in files),
        *(bytes([_UNITS]) + value.encode() for value in _VALUES),
        *(
            bytes([_DRAWN, 1, 0, key, 0, value, 3])
            for key in range(len(_KEYS))
            for value in range(len(_VALUES))
        ),
    ]
