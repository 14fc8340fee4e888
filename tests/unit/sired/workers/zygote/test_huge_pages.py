"""The zygote's memory, brought into huge pages while no worker is requested."""

import subprocess
import sys

import pytest

from sired.workers.zygote.huge_pages import HUGE, huge_addresses

MAPS = """\
00200000-00300000 rw-p 00000000 00:00 0                          [heap]
00500000-00b00000 rw-p 00000000 00:00 0
00c00000-01000000 r--p 00000000 00:00 0
01000000-01400000 rw-p 00000000 fe:00 29723                      /lib/x.so
01500000-01600000 rw-p 00000000 00:00 0                          [stack]
"""

FORKS = """
import os, signal, time
from sired.workers.zygote import huge_pages

huge_pages.IDLE_SECONDS = 0.05
held = bytearray(64 << 20)
huge_pages.collapse_when_idle()
if os.fork() == 0:  # a worker, and what it forks
    inherited = signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    if os.fork() == 0:
        os._exit(signal.getsignal(signal.SIGALRM) is not signal.SIG_IGN)
    _, own_handler_lost = os.wait()
    os._exit(inherited or own_handler_lost or signal.getitimer(signal.ITIMER_REAL)[0] > 0)
_, status = os.wait()
print(status, flush=True)
while signal.getitimer(signal.ITIMER_REAL)[0]:
    time.sleep(0.01)
print(held == bytearray(64 << 20), flush=True)
print(open("/proc/self/smaps_rollup").read())
"""


def test_they_fit_where_memory_is_written_to_and_of_no_file() -> None:
    assert list(huge_addresses(MAPS)) == [0x600000, 0x800000]
    assert all(place % HUGE == 0 for place in huge_addresses(MAPS))


def test_after_a_fork_and_some_quiet_memory_lies_in_them_and_holds_what_it_held() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, text=True) as done:
        said, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    status, same, *rollup = said.splitlines()
    assert (status, same) == ("0", "True")
    (line,) = [line for line in rollup if line.startswith("AnonHugePages:")]
    if line.split()[1] == "0":
        pytest.skip("this kernel brings no pages together: it is older than 6.1, or may not")
    assert int(line.split()[1]) * 1024 >= 32 << 20
