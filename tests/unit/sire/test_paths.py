import os
import stat
from pathlib import Path

import pytest

from sire.errors import DaemonUnavailable
from sire.paths import find_paths, private_directory

XDG = {
    "XDG_RUNTIME_DIR": "/run/user/7",
    "XDG_CONFIG_HOME": "/etc/me",
    "XDG_DATA_HOME": "/data/me",
    "XDG_STATE_HOME": "/state/me",
}


def test_sire_home_puts_everything_below_one_directory(tmp_path: Path) -> None:
    paths = find_paths({**XDG, "SIRE_HOME": str(tmp_path)})
    for path in (paths.socket, paths.lock, paths.config_file, paths.models, paths.footprints):
        assert path.is_relative_to(tmp_path)


def test_a_relative_sire_home_is_made_absolute() -> None:
    assert find_paths({"SIRE_HOME": "here"}).config == Path.cwd() / "here/config"


def test_the_xdg_variables_are_honoured() -> None:
    paths = find_paths(XDG)
    assert paths.socket == Path("/run/user/7/sire/sired.sock")
    assert paths.config_file == Path("/etc/me/sire/config.toml")
    assert paths.models == Path("/data/me/sire/models")
    assert paths.footprints == Path("/state/me/sire/footprints.json")
    assert paths.model_log("digits") == Path("/state/me/sire/logs/models/digits.log")


def test_a_relative_xdg_directory_is_ignored_as_the_specification_says() -> None:
    assert find_paths({"XDG_CONFIG_HOME": "config"}).config == Path.home() / ".config/sire"


def test_without_a_login_session_there_still_is_a_runtime_directory() -> None:
    runtime = find_paths({}).runtime
    assert runtime.is_absolute()
    assert str(os.getuid()) in str(runtime)


def test_nothing_is_created_by_looking(tmp_path: Path) -> None:
    find_paths({"SIRE_HOME": str(tmp_path / "home")})
    assert not (tmp_path / "home").exists()


def test_a_socket_path_of_107_bytes_is_taken_and_one_more_is_refused() -> None:
    fitting = "/" + "d" * (107 - len("/run/sired.sock") - 1)
    assert find_paths({"SIRE_HOME": fitting}).checked_socket().name == "sired.sock"
    with pytest.raises(DaemonUnavailable, match="108 bytes.*107") as caught:
        find_paths({"SIRE_HOME": fitting + "d"}).checked_socket()
    assert "SIRE_HOME" in caught.value.hint


def test_a_private_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    made = private_directory(tmp_path / "a/b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_directory_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert stat.S_IMODE(private_directory(tmp_path / "open").stat().st_mode) == 0o700


def test_a_file_where_the_directory_should_be_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DaemonUnavailable, match="Cannot use the directory"):
        private_directory(tmp_path / "file")


@pytest.mark.skipif(os.getuid() == 0, reason="root owns / itself")
def test_a_directory_of_somebody_else_is_refused() -> None:
    with pytest.raises(DaemonUnavailable, match="belongs to uid 0"):
        private_directory(Path("/"))
