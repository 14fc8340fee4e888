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

COLLAPSE = """
from sired.workers.zygote.huge_pages import HugePages

held = bytearray(64 << 20)
pages = HugePages()
assert pages.pause is None
pages.wait()
while pages.pause is not None:
    pages.collapse_next()
pages.wait()
print(pages.pause, held == bytearray(64 << 20))
print(open("/proc/self/smaps_rollup").read())
"""


def test_they_fit_where_memory_is_written_to_and_of_no_file() -> None:
    assert list(huge_addresses(MAPS)) == [0x600000, 0x800000]
    assert all(place % HUGE == 0 for place in huge_addresses(MAPS))


def test_page_by_page_memory_moves_into_them_once_and_holds_what_it_held() -> None:
    command = [sys.executable, "-c", COLLAPSE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    last, *rollup = done.stdout.splitlines()
    assert last == "None True"
    (line,) = [line for line in rollup if line.startswith("AnonHugePages:")]
    if line.split()[1] == "0":
        pytest.skip("this kernel brings no pages together: it is older than 6.1, or may not")
    assert int(line.split()[1]) * 1024 >= 32 << 20
