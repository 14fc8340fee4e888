"""The settings by hand: one file, which others may be editing, and a daemon that goes by it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon


def test_a_setting_is_written_into_the_file_and_taken_up_by_the_running_daemon(home: Home) -> None:
    home.configure("# mine\n[defaults]\ntimeout = '9s' # short\n")
    home.sire("daemon", "start")
    done = home.sire("config", "set", "defaults.timeout", "7s")
    assert done.stderr == b""
    assert home.sire("config", "get", "defaults.timeout").stdout == b"7s\n"
    assert home.paths.config_file.read_text() == '# mine\n[defaults]\ntimeout = "7s" # short\n'
    said = home.sire("config", "set", "devices.cpu.memory", "2GiB").stderr
    assert said == b"devices: takes effect after: sire daemon restart\n"
    edit = {"EDITOR": "sed -i s/7s/8s/"}
    home.sire("config", "edit", env=edit)
    assert home.sire("config", "get", "defaults.timeout").stdout == b"8s\n"
    assert b"No setting was changed" in home.sire("config", "edit", env=edit).stderr


def test_what_cannot_be_is_refused_with_the_nearest_and_nothing_is_written(home: Home) -> None:
    home.configure("# mine\n")
    unknown = home.sire("config", "set", "deamon.grace", "5s", code=2)
    assert b"Did you mean daemon.grace?" in unknown.stderr
    assert (
        b"daemon.grace: 'soon'" in home.sire("config", "set", "daemon.grace", "soon", code=2).stderr
    )
    near = home.sire("config", "set", "placement.strategy", "bestfit", code=2)
    assert b"Did you mean best-fit?" in near.stderr
    home.sire("config", "get", "daemon.gracee", code=2)
    assert home.paths.config_file.read_text() == "# mine\n"


def test_the_file_is_checked_and_found_without_a_daemon(home: Home) -> None:
    assert home.sire("config", "path").stdout.decode().strip() == str(home.paths.config_file)
    home.sire("config", "check")
    home.configure("[placement]\neviction = 'lfu'\n")
    assert b"There are: cost, lru." in home.sire("config", "check", code=2).stderr
    assert not home.paths.socket.exists()


def test_a_text_that_is_wrong_is_kept_for_the_next_edit(home: Home) -> None:
    home.configure("[queue]\ntotal = 5\n")
    refused = home.sire("config", "edit", env={"EDITOR": "sed -i s/total/totl/"}, code=2)
    assert b"sire config edit" in refused.stderr
    assert home.paths.config_file.read_text() == "[queue]\ntotal = 5\n"
    home.sire("config", "edit", env={"EDITOR": "sed -i 's/totl = 5/total = 6/'"})
    assert home.paths.config_file.read_text() == "[queue]\ntotal = 6\n"


def test_two_who_write_at_once_both_find_theirs_in_the_file(home: Home) -> None:
    keys = ["queue.total", "queue.per_model"]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda key: home.sire("config", "set", key, "7"), keys))
    assert home.paths.config_file.read_text().count("= 7") == 2


def test_the_environment_that_stands_over_the_file_is_named(home: Home) -> None:
    home.sire("daemon", "start", env={"SIRE_DEFAULTS_TIMEOUT": "3s"})
    said = home.sire("config", "set", "defaults.timeout", "7s").stderr
    assert b"defaults.timeout remains 3s: SIRE_DEFAULTS_TIMEOUT" in said
