import tomllib
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sired.config.editing import set_value


def test_a_value_changes_and_every_comment_stays() -> None:
    text = '# mine\n[daemon]\ngrace = "5s"  # not long\n\n[queue] # of all\ntotal = 3\n'
    assert set_value(text, "daemon.grace", "1m") == text.replace("5s", "1m")


@pytest.mark.parametrize(
    ("key", "given", "line"),
    [
        ("daemon.restore", "yes", "restore = true"),
        ("queue.total", "7", "total = 7"),
        ("daemon.preload", "a,b", 'preload = ["a", "b"]'),
        ("cache.memory", "1048576", 'memory = "1MiB"'),
        ("memory.file_factor", "1.5", "file_factor = 1.5"),
        ("devices.cpu.cores", "0-1", "cores = [0, 1]"),
        ("defaults.keep_alive", "forever", 'keep_alive = "forever"'),
    ],
)
def test_values_are_written_as_people_write_them(key: str, given: Any, line: str) -> None:
    assert set_value("", key, given).splitlines()[1] == line


def test_a_new_key_is_added_at_the_end_of_its_section() -> None:
    edited = set_value('[daemon]\ngrace = "5s"\n\n[queue]\ntotal = 3\n', "daemon.restore", "on")
    assert edited == '[daemon]\ngrace = "5s"\nrestore = true\n\n[queue]\ntotal = 3\n'


def test_a_new_key_does_not_separate_the_next_section_from_its_comment() -> None:
    text = "[queue]\ntotal = 3\n\n# the daemon\n[daemon]\nrestore = true\n"
    edited = set_value(text, "queue.per_model", "2")
    assert edited == text.replace("total = 3\n", "total = 3\nper_model = 2\n")


def test_a_new_section_is_added_at_the_end() -> None:
    edited = set_value("[queue]\ntotal = 3\n", "devices.cuda:0.memory", "2GiB")
    assert edited == '[queue]\ntotal = 3\n\n[devices."cuda:0"]\nmemory = "2GiB"\n'


def test_a_value_of_several_lines_is_replaced_with_its_last_comment_kept() -> None:
    text = '[daemon]\npreload = [\n  "a", # one\n  "b",\n] # all\ngrace = "5s"\n'
    edited = set_value(text, "daemon.preload", "c")
    assert edited == '[daemon]\npreload = ["c"] # all\ngrace = "5s"\n'


@pytest.mark.parametrize("text", ['daemon.grace = "5s" # x\n', 'daemon = {grace = "5s"} # x\n'])
def test_dotted_keys_and_inline_tables_keep_their_form(text: str) -> None:
    assert set_value(text, "daemon.grace", "1s") == text.replace("5s", "1s")


@pytest.mark.parametrize(
    "text",
    [
        "devices = {cpu = {memory = 3}}\n",
        "[devices]\ncpu = {memory = 3}\n",
        "devices.cpu.memory = 3\n[queue]\ntotal = 3\n",
        "[devices]\n[devices.cpu]\nmemory = 3\n\n[queue]\ntotal = 3\n",
        '[devices.cpu]\nmemory = 3\n[queue]\ntotal = 3\n[devices."cuda:1"]\nmemory = 4 # x\n',
    ],
)
def test_a_device_is_added_to_every_form_of_the_table_of_devices(text: str) -> None:
    expected = tomllib.loads(text)
    expected["devices"]["cuda:0"] = {"memory": "2GiB"}
    assert tomllib.loads(set_value(text, "devices.cuda:0.memory", "2GiB")) == expected


def test_a_number_sign_in_a_string_is_no_comment() -> None:
    text = '[metrics]\nhost = "a#b" # c # d\n'
    assert set_value(text, "metrics.host", "::1") == '[metrics]\nhost = "::1" # c # d\n'


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(InvalidConfiguration, match="setting daemon.gracee") as caught:
        set_value("", "daemon.gracee", "1s")
    assert caught.value.hint == "Did you mean daemon.grace?"
