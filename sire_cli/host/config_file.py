"""The settings' file, and the daemon that goes by it."""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sire.client.autostart import daemon_runs
from sire.client.connection import Connection
from sire.errors import InvalidConfiguration
from sire.paths import find_paths, private_directory
from sire.protocol.replies import ConfigReport, Setting
from sire.protocol.requests import ShowConfig
from sire_cli.files import replace_file
from sire_cli.terminal.output import say
from sired.config import HOLD_FROM_START, SettingSource, load_settings

_EDITORS = ("sensible-editor", "nano", "vi")
# Reading a file takes a daemon milliseconds; longer than a busy one would need.
_ADOPT_SECONDS = 5.0
_LOOK_SECONDS = 0.02


def in_force() -> ConfigReport:
    """The settings that the running daemon goes by, or those that it would start with."""
    paths = find_paths()
    if daemon_runs(paths):
        with Connection(paths, autostart=False) as connection:
            return connection.expect(ConfigReport, ShowConfig())
    loaded = load_settings(paths.config_file, os.environ, {})
    return ConfigReport(
        path=str(loaded.path), settings=tuple(Setting(*source) for source in loaded.sources)
    )


def check_settings(*arguments: str) -> None:
    """Have ``sired`` itself read the settings, with options of its own.

    Raises:
        InvalidConfiguration: it would not start with them.
    """
    command = [sys.executable, "-P", "-m", "sired", "--check", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        message, _, hint = done.stderr.strip().partition("\n")
        raise InvalidConfiguration(message, hint=hint)


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep others from changing the settings in this directory meanwhile."""
    descriptor = os.open(private_directory(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_text(file: Path) -> str:
    """What is in the file; nothing where there is none."""
    return file.read_text("utf-8") if file.exists() else ""


def edit_file(file: Path, text: str) -> None:
    """Put a text in the place of the file, or of what it links to, as a whole."""
    replace_file(file.resolve(), text.encode())


def edit_copy(file: Path, environment: Mapping[str, str]) -> list[SettingSource]:
    """Let somebody edit a copy, and have it take the file's place once it is right.

    Returns:
        The settings of the new file that differ from those of the old one.

    Raises:
        InvalidConfiguration: the text cannot be; it is kept, and the next edit goes on with it.
    """
    copy = file.with_name("config.edited.toml")
    if not copy.exists():
        copy.write_text(read_text(file))
    subprocess.run([*_editor(environment), str(copy)], check=True)
    try:
        check_settings("--config", str(copy))
    except InvalidConfiguration as problem:
        kept = f"{file} is as it was. To go on with your text: sire config edit"
        raise InvalidConfiguration(problem.message, hint=f"{problem.hint} {kept}".strip()) from None
    new = set(load_settings(copy, {}, {}).sources)
    old = set(_old_sources(file))
    edit_file(file, copy.read_text("utf-8"))
    copy.unlink()
    return sorted(new - old)


def _old_sources(file: Path) -> list[SettingSource]:
    try:
        return load_settings(file, {}, {}).sources
    except InvalidConfiguration:  # the very reason to edit it
        return []


def _editor(environment: Mapping[str, str]) -> list[str]:
    given = environment.get("VISUAL") or environment.get("EDITOR")
    found = given or next(filter(shutil.which, _EDITORS), None)
    if found is None or not shutil.which(shlex.split(found)[0]):
        said = f"There is no editor {found!r}." if found else "There is no editor."
        raise InvalidConfiguration(said, hint="Name one: EDITOR=nano sire config edit")
    return shlex.split(found)


def adopt(changed: Sequence[SettingSource]) -> None:
    """Have the running daemon read the file again, and say what it could not take up."""
    paths = find_paths()
    if not daemon_runs(paths):
        return
    os.kill(int(paths.lock.read_text()), signal.SIGHUP)
    later = sorted({name for key, *_ in changed if (name := _from_start(key))})
    if later:
        say(f"{', '.join(later)}: a change holds once you run: sire daemon restart")
    report = _await(changed)
    if report.path != str(paths.config_file):
        say(f"The running daemon reads another file: {report.path}")
        return
    keys = {key for key, *_ in changed}
    for setting in report.settings:
        if setting.key in keys and setting.source not in {"file", "default"}:
            over = "an option of sired" if setting.source == "flag" else setting.source
            say(f"{setting.key} stays {setting.value}: {over} stands over the file.")


def _await(changed: Sequence[SettingSource]) -> ConfigReport:
    """What the daemon goes by once it has read the file again."""
    wanted = {
        setting.key: setting.value
        for setting in load_settings(find_paths().config_file, {}, {}).sources
    }
    deadline = time.monotonic() + _ADOPT_SECONDS
    while True:
        report = in_force()
        force = {setting.key: setting for setting in report.settings}
        late = [
            key
            for key, *_ in changed
            if key in force
            and force[key].source in {"file", "default"}
            and force[key].value != wanted.get(key)
        ]
        same = report.path == str(find_paths().config_file)
        if not (same and late) or time.monotonic() > deadline:
            return report
        time.sleep(_LOOK_SECONDS)


def _from_start(key: str) -> str | None:
    return next((name for name in HOLD_FROM_START if f"{key}.".startswith(f"{name}.")), None)
