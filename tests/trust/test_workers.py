"""What a model's process finds around it."""

import re
import resource
from collections import Counter
from pathlib import Path

import psutil
import pytest

from sire.errors import InsufficientMemory
from tests.home import Home
from tests.trust.conftest import PRYING, SECRETS, WANTED, CarelessHome, ask, register_prying


def test_it_sees_what_libraries_are_told_by_and_what_the_settings_name(
    careless: CarelessHome,
) -> None:
    seen = ask(careless, "environment")
    assert WANTED.items() <= seen.items()
    assert {"PATH", "HOME"} <= seen.keys()


def test_it_sees_no_secret_not_even_in_what_its_ancestor_was_started_with(
    careless: CarelessHome,
) -> None:
    assert not SECRETS.keys() & ask(careless, "environment").keys()
    assert "s3cret" not in ask(careless, "first_environment")


def test_it_has_nothing_open_but_its_log_and_its_lines_to_the_daemon(
    careless: CarelessHome,
) -> None:
    found = ask(careless, "descriptors")
    log = str(careless.paths.model_log("prying"))
    assert [found.pop(name) for name in ("0", "1", "2")] == ["/dev/null", log, log]
    kinds = Counter(target.partition(":")[0] for target in found.values())
    assert kinds.pop("socket") == 1  # the daemon; and what multiprocessing and epoll need
    assert kinds.keys() <= {"pipe", "anon_inode", "/dev/null"}


def test_it_can_gain_no_rights(careless: CarelessHome) -> None:
    assert "NoNewPrivs:\t1" in ask(careless, "status")


def test_it_writes_no_core_opens_few_files_and_is_first_to_go(careless: CarelessHome) -> None:
    limits = ask(careless, "limits")
    assert limits["CORE"] == [0, 0]
    assert limits["NOFILE"][0] <= 4096
    assert limits["NOFILE"][1] <= 65_536
    assert ask(careless, "oom_score") >= 500


def test_the_daemon_may_have_many_files_open(careless: CarelessHome) -> None:
    soft, hard = psutil.Process(careless.pid()).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == (65_536 if hard == psutil.RLIM_INFINITY else min(65_536, hard))


def test_one_that_takes_too_much_runs_out_of_memory_before_the_machine_does(
    careless: CarelessHome,
) -> None:
    with pytest.raises(InsufficientMemory):
        ask(careless, "reserve", size=2 << 30)
    assert ask(careless, "reserve", size=100 << 20) == "taken"


@pytest.mark.settings("[workers]\nlimits = false\nno_new_privileges = false\n")
def test_limits_can_be_switched_off(home: Home, tmp_path: Path) -> None:
    code = tmp_path / "prying.py"
    code.write_text(PRYING)
    register_prying(home, code)
    assert ask(home, "limits")["DATA"] == list(resource.getrlimit(resource.RLIMIT_DATA))
    (ours,) = re.findall(r"NoNewPrivs:\t\d", Path("/proc/self/status").read_text())
    assert ours in ask(home, "status")
