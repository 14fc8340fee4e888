"""The machine gives less than it did: disks fill up or turn read-only, descriptors run out."""

import contextlib
import os
import resource
import subprocess
import sys
import threading

import pytest

from sired.errors import JobsUnavailable, SireError
from sired.protocol.requests import Health, Submit
from tests.daemon.test_workers import until

from .conftest import new_house, predict

MOUNTABLE = not subprocess.run(
    ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
).returncode


@pytest.fixture
def small_disk(house):
    """A daemon whose state and registry lie on a disk of 8 MiB of its own."""
    if not MOUNTABLE:
        pytest.skip("this machine lets nobody mount a disk of their own")
    for directory in (house.paths.state, house.paths.data):
        directory.mkdir(parents=True, mode=0o700)
    mounts = "; ".join(
        f"mount -t tmpfs -o size=8m,mode=700 none {directory}"
        for directory in (house.paths.state, house.paths.data)
    )
    daemon = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", f"{mounts}; exec {sys.executable} -m sired"],
        env=house.environment,
        stderr=subprocess.PIPE,
    )
    until(lambda: house.paths.socket.exists())
    house.disk = Disk(house, daemon)
    yield house
    daemon.terminate()
    _, said = daemon.communicate(timeout=20)
    assert b"Traceback" not in said, said.decode()


class Disk:
    """The disks of a daemon that others do not see."""

    def __init__(self, house, daemon):
        self.daemon = daemon
        self.places = (house.paths.state, house.paths.data)

    def fill(self):
        for place in self.places:
            with open(f"/proc/{self.daemon.pid}/root{place}/filler", "wb", 0) as filler:
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(bytes(4096))

    def empty(self):
        for place in self.places:
            os.unlink(f"/proc/{self.daemon.pid}/root{place}/filler")

    def protect(self):
        """Nothing can be made there any more; what is open stays so."""
        for place in self.places:
            self._enter(f"mount --bind {place} {place} && mount -o remount,bind,ro {place}")

    def unprotect(self):
        for place in self.places:
            self._enter(f"umount {place}")

    def _enter(self, script):
        enter = ["nsenter", "-t", str(self.daemon.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, "sh", "-c", script], check=True)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_takes_nothing_stops_no_model_and_everything_else_says_so(small_disk, trouble):
    house, disk = small_disk, small_disk.disk
    house.register()
    house.register("idle")
    worker = house.predict(do="pid")
    disk.fill() if trouble == "full" else disk.protect()
    why = "No space left|full" if trouble == "full" else "[Rr]ead-only|readonly"
    assert house.predict(do="pid") == worker
    assert house.predict(do="shout", bytes=1_000_000) in (1_000_000, 983_040)
    with house.connect() as connection:
        with pytest.raises(JobsUnavailable, match=why):
            connection.ask(Submit(model="m"), [b'{"number": 1}' + b" " * 100_000])
        with pytest.raises(SireError, match=why):
            house.register("another")
        assert any("jobs" in problem for problem in connection.ask(Health())[0].problems)
    assert house.predict("idle", x=1) == {"x": 1}  # it is loaded, with nowhere to print to
    house.sire("unload", "m")
    assert house.predict(x=2) == {"x": 2}
    disk.empty() if trouble == "full" else disk.unprotect()
    with house.connect() as connection:
        (job,) = connection.ask(Submit(model="m"), [b'{"number": 1}'])[0].jobs
    house.register("another")
    house.sire("job", "wait", job)


@pytest.fixture(scope="module")
def crowded():
    house = new_house()
    for name in ("m", "another"):
        house.register(name)
    house.predict()
    yield house
    house.end()


@contextlib.contextmanager
def at_most(house, most):
    """No descriptor above this number can be opened."""
    pid = house.pid()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def left(house, spare):
    """The limit at which a daemon can open so many more."""
    taken = {int(number) for number in os.listdir(f"/proc/{house.pid()}/fd")}
    return [number for number in range(1000) if number not in taken][spare]


def test_a_daemon_starts_with_all_the_descriptors_it_may_have(crowded):
    soft, hard = resource.prlimit(crowded.pid(), resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


def test_a_daemon_short_of_descriptors_lets_nobody_new_in_until_it_has_some(crowded):
    big, answers = {"text": "x" * 300_000}, []
    with crowded.connect() as inside, crowded.connect(autostart=False) as outside:
        worker = predict(inside, do="pid")
        with at_most(crowded, left(crowded, 4)):
            until(lambda: not crowded.paths.socket.exists())
            for number in range(20):
                assert predict(inside, x=number) == {"x": number}
            assert predict(inside, **big) == big
            waiting = threading.Thread(target=lambda: answers.append(predict(outside, x=1)))
            waiting.start()
        waiting.join(20)
        assert answers == [{"x": 1}]
        assert predict(inside, do="pid") == worker


def test_a_daemon_that_can_open_nothing_at_all_says_so_and_recovers(crowded):
    big = {"text": "x" * 300_000}
    with crowded.connect() as connection:
        assert predict(connection, x=1) == {"x": 1}
        with at_most(crowded, left(crowded, 0)):
            with pytest.raises(SireError, match="Too many open files"):
                predict(connection, **big)
            with pytest.raises(SireError, match="Too many open files"):
                predict(connection, "another")
            for number in range(20):
                assert predict(connection, x=number) == {"x": number}
        assert predict(connection, **big) == big
        assert predict(connection, "another", x=2) == {"x": 2}
