import tomllib

import pytest

from sire.errors import InvalidConfiguration
from sired.config.editing import set_value


def test_a_value_changes_and_every_comment_stays():
    text = '# mine\n[daemon]\ngrace = "5s"  # not long\n\n[queue] # of all\ntotal = 3\n'
    edited, comments = set_value(text, "daemon.grace", "1m")
    assert edited == text.replace("5s", "1m")
    assert comments


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
def test_values_are_written_as_people_write_them(key, given, line):
    edited, _ = set_value("", key, given)
    assert edited.splitlines()[1] == line


def test_a_key_that_is_new_stands_in_its_section_before_the_next():
    edited, _ = set_value('[daemon]\ngrace = "5s"\n\n[queue]\ntotal = 3\n', "daemon.restore", "on")
    assert edited == '[daemon]\ngrace = "5s"\nrestore = true\n\n[queue]\ntotal = 3\n'


def test_a_section_that_is_new_stands_at_the_end():
    edited, _ = set_value("[queue]\ntotal = 3\n", "devices.cuda:0.memory", "2GiB")
    assert edited == '[queue]\ntotal = 3\n\n[devices."cuda:0"]\nmemory = "2GiB"\n'


def test_a_value_of_several_lines_is_replaced_with_its_last_comment_kept():
    text = '[daemon]\npreload = [\n  "a", # one\n  "b",\n] # all\ngrace = "5s"\n'
    edited, _ = set_value(text, "daemon.preload", "c")
    assert edited == '[daemon]\npreload = ["c"] # all\ngrace = "5s"\n'


@pytest.mark.parametrize("text", ['daemon.grace = "5s" # x\n', 'daemon = {grace = "5s"} # x\n'])
def test_where_lines_are_not_enough_the_file_is_written_anew(text):
    edited, comments = set_value(text, "daemon.grace", "1s")
    assert tomllib.loads(edited)["daemon"] == {"grace": "1s"}
    assert comments == ("#" not in text)


def test_a_number_sign_in_a_string_is_no_comment():
    text = '[metrics]\nhost = "a#b" # c # d\n'
    edited, _ = set_value(text, "metrics.host", "::1")
    assert edited == '[metrics]\nhost = "::1" # c # d\n'


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(InvalidConfiguration, match="no setting daemon.gracee") as caught:
        set_value("", "daemon.gracee", "1s")
    assert caught.value.hint == "Did you mean daemon.grace?"
