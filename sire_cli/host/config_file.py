"""The settings file, and the daemon that reads it."""

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
from sire_cli.terminal.output import print_message
from sired.config import HOLD_FROM_START, SettingSource, load_settings

_EDITORS = ("sensible-editor", "nano", "vi")
# The daemon reads the file within milliseconds, a busy one within this time.
_RELOAD_SECONDS = 5.0
_POLL_SECONDS = 0.02


def effective_settings() -> ConfigReport:
    """The settings of the running daemon, or those it would start with."""
    paths = find_paths()
    if daemon_runs(paths):
        with Connection(paths, autostart=False) as connection:
            return connection.expect(ConfigReport, ShowConfig())
    loaded = load_settings(paths.config_file, os.environ, {})
    return ConfigReport(
        path=str(loaded.path), settings=tuple(Setting(*source) for source in loaded.sources)
    )


def check_settings(*arguments: str) -> None:
    """Check the settings with ``sired --check`` and these further options.

    Raises:
        InvalidConfiguration: the daemon would not start with these settings.
    """
    command = [sys.executable, "-P", "-m", "sired", "--check", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        message, _, hint = done.stderr.strip().partition("\n")
        raise InvalidConfiguration(message, hint=hint)


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold a lock that serializes changes of the settings in this directory."""
    descriptor = os.open(private_directory(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_text(file: Path) -> str:
    """The text of the file; empty if it does not exist."""
    return file.read_text("utf-8") if file.exists() else ""


def edit_file(file: Path, text: str) -> None:
    """Replace the file, or the target of a symbolic link, atomically."""
    replace_file(file.resolve(), text.encode())


def edit_copy(file: Path, environment: Mapping[str, str]) -> list[SettingSource]:
    """Open a copy in an editor and replace the file once the copy is valid.

    Returns:
        The settings of the new file that differ from those of the old one.

    Raises:
        InvalidConfiguration: the copy is invalid; it is kept for the next edit.
    """
    copy = file.with_name("config.edited.toml")
    if not copy.exists():
        copy.write_text(read_text(file))
    subprocess.run([*_editor(environment), str(copy)], check=True)
    try:
        check_settings("--config", str(copy))
    except InvalidConfiguration as problem:
        kept = f"{file} is unchanged. To continue with your edits: sire config edit"
        raise InvalidConfiguration(problem.message, hint=f"{problem.hint} {kept}".strip()) from None
    new = set(load_settings(copy, {}, {}).sources)
    old = set(_old_sources(file))
    edit_file(file, copy.read_text("utf-8"))
    copy.unlink()
    return sorted(new - old)


def _old_sources(file: Path) -> list[SettingSource]:
    try:
        return load_settings(file, {}, {}).sources
    except InvalidConfiguration:  # an invalid file may be the reason for the edit
        return []


def _editor(environment: Mapping[str, str]) -> list[str]:
    given = environment.get("VISUAL") or environment.get("EDITOR")
    found = given or next(filter(shutil.which, _EDITORS), None)
    if found is None or not shutil.which(shlex.split(found)[0]):
        reason = f"Editor {found!r} was not found." if found else "No editor was found."
        raise InvalidConfiguration(reason, hint="Specify one: EDITOR=nano sire config edit")
    return shlex.split(found)


def apply_settings(changed: Sequence[SettingSource]) -> None:
    """Make the running daemon read the file again; print which settings need a restart."""
    paths = find_paths()
    if not daemon_runs(paths):
        return
    os.kill(int(paths.lock.read_text()), signal.SIGHUP)
    later = sorted({name for key, *_ in changed if (name := _read_at_start(key))})
    if later:
        print_message(f"{', '.join(later)}: takes effect after: sire daemon restart")
    report = _wait_until_applied(changed)
    if report.path != str(paths.config_file):
        print_message(f"The running daemon uses a different settings file: {report.path}")
        return
    keys = {key for key, *_ in changed}
    for setting in report.settings:
        if setting.key in keys and setting.source not in {"file", "default"}:
            source = "an option of sired" if setting.source == "flag" else setting.source
            print_message(f"{setting.key} remains {setting.value}: {source} overrides the file.")


def _wait_until_applied(changed: Sequence[SettingSource]) -> ConfigReport:
    """The effective settings once the daemon has read the file again."""
    expected = {
        setting.key: setting.value
        for setting in load_settings(find_paths().config_file, {}, {}).sources
    }
    deadline = time.monotonic() + _RELOAD_SECONDS
    while True:
        report = effective_settings()
        effective = {setting.key: setting for setting in report.settings}
        pending = [
            key
            for key, *_ in changed
            if key in effective
            and effective[key].source in {"file", "default"}
            and effective[key].value != expected.get(key)
        ]
        same = report.path == str(find_paths().config_file)
        if not (same and pending) or time.monotonic() > deadline:
            return report
        time.sleep(_POLL_SECONDS)


def _read_at_start(key: str) -> str | None:
    return next((name for name in HOLD_FROM_START if f"{key}.".startswith(f"{name}.")), None)
