"""The machine gives less than it did: disks fill up or turn read-only, descriptors run out."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.errors import (
    DeviceNotFound,
    InferenceError,
    JobsUnavailable,
    SireError,
    WorkerCrashed,
)
from sire.protocol.jobs import Submit, Submitted
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from tests.faults.conftest import House, new_house, predict, stopped
from tests.waiting import DEADLINE_SECONDS, wait_until

MOUNTABLE = not subprocess.run(
    ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
).returncode


@pytest.fixture
def small_disk(house: House) -> Iterator["Disk"]:
    """A daemon whose state and registry lie on a disk of 8 MiB of its own."""
    if not MOUNTABLE:
        pytest.skip("this machine does not allow mounting a disk")
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
    wait_until(house.paths.socket.exists)
    yield Disk(house, daemon)
    daemon.terminate()
    _, said = daemon.communicate(timeout=DEADLINE_SECONDS)
    assert b"Traceback" not in said, said.decode()


class Disk:
    """The disks of a daemon that others do not see."""

    def __init__(self, house: House, daemon: subprocess.Popen[bytes]) -> None:
        self.house = house
        self.daemon = daemon
        self.places = (house.paths.state, house.paths.data)

    def fill(self) -> None:
        for place in self.places:
            with open(f"/proc/{self.daemon.pid}/root{place}/filler", "wb", 0) as filler:
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(bytes(4096))

    def empty(self) -> None:
        for place in self.places:
            os.unlink(f"/proc/{self.daemon.pid}/root{place}/filler")

    def protect(self) -> None:
        """Nothing can be made there any more; what is open stays so."""
        for place in self.places:
            # The kernel refuses to make a mount read-only while a file on it is being written.
            # The daemon may write at any moment, so the mount is made aside, and then moved.
            aside = f"{place}.readonly"
            self._enter(
                f"mkdir -p {aside} && mount --bind {place} {aside}"
                f" && mount -o remount,bind,ro {aside} && mount --move {aside} {place}"
            )

    def unprotect(self) -> None:
        for place in self.places:
            self._enter(f"umount {place}")

    def _enter(self, script: str) -> None:
        enter = ["nsenter", "-t", str(self.daemon.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, "sh", "-c", script], check=True)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_takes_nothing_stops_no_model_and_everything_else_says_so(
    small_disk: Disk, fault: str
) -> None:
    house, disk = small_disk.house, small_disk
    house.register_faulty()
    house.register_faulty("idle")
    worker = house.predict(do="pid")
    disk.fill() if fault == "full" else disk.protect()
    why = "No space left|full" if fault == "full" else "[Rr]ead-only|readonly"
    assert house.predict(do="pid") == worker
    assert house.predict(do="shout", bytes=1_000_000) in (1_000_000, 983_040)
    with house.connect() as connection:
        with pytest.raises(JobsUnavailable, match=why):
            connection.ask(Submit(model="m"), [b'{"number": 1}' + b" " * 100_000])
        with pytest.raises(SireError, match=why):
            house.register_faulty("another")
        assert any(
            "jobs" in problem for problem in connection.expect(HealthReport, Health()).problems
        )
    assert house.predict("idle", x=1) == {"x": 1}  # it is loaded, with nowhere to print to
    house.sire("unload", "m")
    assert house.predict(x=2) == {"x": 2}
    disk.empty() if fault == "full" else disk.unprotect()
    with house.connect() as connection:
        (job,) = connection.expect(Submitted, Submit(model="m"), [b'{"number": 1}']).jobs
    house.register_faulty("another")
    house.sire("job", "wait", job)


DRIVER = '''
"""Stands in for pynvml: made-up GPUs that answer as a file says."""

import json, os, sys, time
from sired.devices.fake import FakeGpu, FakeNvml, NVMLError


class _Driver:
    NVMLError = NVMLError

    def __getattr__(self, name):
        if name == "NVMLLibraryMismatchError":
            return FakeNvml.NVMLLibraryMismatchError
        while (said := self._said())["hangs"]:
            time.sleep(0.02)
        gpus = [FakeGpu(**gpu) for gpu in said["gpus"]]
        return getattr(FakeNvml(gpus, driver=said["driver"]), name)

    def _said(self):
        with open(os.environ["CUDA_FAKE_GPUS"]) as file:
            return json.load(file)

    # A handle outlives the file that it is from.
    def nvmlDeviceGetMemoryInfo(self, handle, version=None):
        return self.__getattr__("nvmlDeviceGetMemoryInfo")(
            self.__getattr__("nvmlDeviceGetHandleByUUID")(handle.uuid), version
        )


sys.modules[__name__] = _Driver()
'''
GIB = 1 << 30


class Gpus:
    """The machine's made-up GPUs; what is said here is what the driver says from now on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.driver, self.hangs = True, False
        self.each = [
            {"uuid": f"GPU-{n}", "bus": n, "total": 8 * GIB, "free": 7 * GIB} for n in (1, 2)
        ]
        self.say()

    def say(self, number: int = 0, **changes: Any) -> None:
        self.each[number].update(changes)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"gpus": self.each, "driver": self.driver, "hangs": self.hangs}))
        new.replace(self._file)


@pytest.fixture
def gpus(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpus:
    (tmp_path / "pynvml.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("CUDA_FAKE_GPUS", str(tmp_path / "gpus.json"))
    return Gpus(tmp_path / "gpus.json")


def device(house: House, name: str) -> Any:
    return next(one for one in house.json("devices")["devices"] if one["name"] == name)


def test_models_of_a_gpu_that_is_lost_run_elsewhere_and_it_is_used_again_when_it_is_back(
    house: House, gpus: Gpus, tmp_path: Path
) -> None:
    house.register_faulty()
    house.register_faulty("idle")
    house.register_faulty("bound", device="cuda:0")
    for name in ("m", "idle", "bound"):
        house.predict(name)
    on_first = [
        i.model for name in ("m", "idle") for i in house.instances(name) if i.device == "cuda:0"
    ]
    answers = []
    slow = threading.Thread(
        target=lambda: answers.append(
            house.predict(on_first[0], do="wait", file=str(tmp_path / "go"))
        )
    )
    slow.start()
    wait_until(lambda: "busy" in [i.state for i in house.instances(on_first[0])])
    gpus.say(0, lost=True)
    wait_until(lambda: not device(house, "cuda:0")["available"])
    wait_until(lambda: {i.device for i in house.instances(on_first[0])} == {"cuda:1"})
    assert any("cuda:0" in problem for problem in house.json("health")["problems"])
    assert b"unavailable" in house.sire("devices").stdout
    wait_until(
        lambda: all([i.device for i in house.instances(name)] == ["cuda:1"] for name in on_first)
    )
    with pytest.raises(DeviceNotFound, match="cuda:0"):
        house.predict("bound")
    (tmp_path / "go").touch()
    slow.join(90)
    assert answers == [None]  # it ran again, from its beginning
    gpus.say(0, lost=False)
    wait_until(lambda: device(house, "cuda:0")["available"])
    assert house.predict("bound", x=1) == {"x": 1}
    wait_until(lambda: house.json("health")["problems"] == [])


def test_gpus_whose_driver_is_loaded_after_the_daemon_started_are_used(
    house: House, gpus: Gpus
) -> None:
    gpus.driver = False
    gpus.say()
    house.register_faulty()
    assert house.predict(x=1) == {"x": 1}
    assert [i.device for i in house.instances()] == ["cpu"]
    gpus.driver = True
    gpus.say()
    wait_until(lambda: len(house.json("devices")["devices"]) == 3)
    house.sire("unload", "m")
    assert house.predict(x=1) == {"x": 1}
    assert [i.device for i in house.instances()] == ["cuda:0"]


def test_a_driver_that_hangs_blocks_no_request_and_is_told(house: House, gpus: Gpus) -> None:
    house.register_faulty(device="cpu")
    house.register_faulty("bound", device="cuda:0")
    house.predict()
    gpus.hangs = True
    gpus.say()
    wait_until(lambda: any("does not answer" in why for why in house.json("health")["problems"]))
    assert house.predict(x=1) == {"x": 1}
    assert b"does not report on cuda:0" in house.sire("devices").stderr
    with pytest.raises(DeviceNotFound, match="not reported on by its driver"):
        house.predict("bound")
    gpus.hangs = False
    gpus.say()
    wait_until(lambda: not house.json("health")["problems"])
    assert house.predict("bound", x=1) == {"x": 1}


def test_a_process_whose_cuda_context_is_lost_is_replaced(house: House, gpus: Gpus) -> None:
    house.register_faulty(device="cuda:0")
    pid = house.predict(do="pid")
    with pytest.raises(InferenceError, match="no attribute"):
        house.predict(do="an ordinary mistake")
    assert house.predict(do="pid") == pid
    with pytest.raises(WorkerCrashed):
        house.predict(do="poison")
    assert house.predict(x=1) == {"x": 1}
    assert house.predict(do="pid") != pid
    log = house.sire("logs", "m").stdout
    assert b"the CUDA context is lost (CUDA error: device-side assert triggered)" in log


def test_a_gpu_on_which_cuda_fails_rests_and_models_are_loaded_on_another(
    house: House, gpus: Gpus
) -> None:
    house.configure('[daemon]\nretry_after = "1h"\n')  # so long does it rest
    house.register_faulty(args={"at_load": "use_gpu"})
    house.register_faulty("bound", device="cuda:0", args={"at_load": "use_gpu"})
    assert house.predict(x=1) == {"x": 1}
    assert [i.device for i in house.instances()] == ["cuda:1"]
    with pytest.raises(SireError, match="busy or unavailable"):
        house.predict("bound")
    assert not device(house, "cuda:0")["available"]
    assert any("CUDA cannot be used on cuda:0" in why for why in house.json("health")["problems"])


def test_memory_that_others_take_is_seen_at_once_and_waited_for(house: House, gpus: Gpus) -> None:
    house.register_faulty(device="cuda:0", max_memory=5 * GIB)
    house.predict()
    house.sire("unload", "m")
    free = device(house, "cuda:0")["free_bytes"]
    gpus.say(0, free=1 * GIB)
    assert device(house, "cuda:0")["free_bytes"] <= 1 * GIB < free
    assert device(house, "cuda:0")["foreign_bytes"] >= 5 * GIB
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(house.predict(x=1)))
    waiting.start()
    wait_until(lambda: house.json("health")["queued"] == 1)
    assert [one.state for one in house.instances()] in ([], ["waiting"])
    gpus.say(0, free=7 * GIB)
    waiting.join(90)
    assert answers == [{"x": 1}]


@pytest.fixture(scope="module")
def crowded() -> Iterator[House]:
    house = new_house()
    for name in ("m", "another"):
        house.register_faulty(name)
    house.predict()
    yield house
    house.end()


@contextlib.contextmanager
def at_most(house: House, most: int) -> Iterator[None]:
    """No descriptor above this number can be opened."""
    pid = house.pid()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def left(house: House, spare: int) -> int:
    """The limit at which a daemon can open ``spare`` more descriptors.

    What it opens for a moment, to read a file, is not among those that are taken: once that is
    closed, its number could be used again.
    """
    seen: list[set[int]] = []

    def looked_often() -> bool:
        seen.append({int(number) for number in os.listdir(f"/proc/{house.pid()}/fd")})
        return len(seen) == 50

    wait_until(looked_often)
    taken = set.intersection(*seen)
    return [number for number in range(1000) if number not in taken][spare]


def test_a_daemon_starts_with_all_the_descriptors_it_may_have(crowded: House) -> None:
    soft, hard = resource.prlimit(crowded.pid(), resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


def test_a_daemon_short_of_descriptors_lets_nobody_new_in_until_it_has_some(crowded: House) -> None:
    big: dict[str, Any] = {"text": "x" * 300_000}
    answers: list[Any] = []
    with crowded.connect() as inside, crowded.connect(autostart=False) as outside:
        worker = predict(inside, do="pid")
        with at_most(crowded, left(crowded, 4)):
            wait_until(lambda: kept_out(crowded))
            for number in range(20):
                assert predict(inside, x=number) == {"x": number}
            assert predict(inside, **big) == big
            waiting = threading.Thread(target=lambda: answers.append(predict(outside, x=1)))
            waiting.start()
        waiting.join(90)
        assert answers == [{"x": 1}]
        assert predict(inside, do="pid") == worker


@pytest.mark.parametrize("spare", [1, 20, 120])
def test_a_burst_of_connections_ends_nothing_and_lets_clients_in_once_it_is_over(
    crowded: House, spare: int
) -> None:
    with crowded.connect() as inside, contextlib.ExitStack() as burst:
        worker = predict(inside, do="pid")
        with at_most(crowded, left(crowded, spare)):
            # The daemon accepts none of them before all are there.
            with stopped(crowded):
                for _ in range(600):
                    one = burst.enter_context(socket.socket(socket.AF_UNIX))
                    one.setblocking(False)
                    with contextlib.suppress(OSError):  # there is no room in the queue
                        one.connect(str(crowded.paths.socket))
            wait_until(lambda: kept_out(crowded))
            assert predict(inside, do="pid") == worker
            burst.close()
            if spare > 100:  # fewer are kept for the daemon itself
                with crowded.connect(autostart=False) as outside:
                    assert predict(outside, x=1) == {"x": 1}
        with crowded.connect(autostart=False) as outside:
            assert predict(outside, x=2) == {"x": 2}


def kept_out(house: House) -> bool:
    """Whether the daemon accepts no client at the moment: it sends the first bytes to each."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.5)
        try:
            client.connect(str(house.paths.socket))
            return not client.recv(1)
        except (TimeoutError, BlockingIOError):
            return True


LISTING = """
import os, resource, sys
import sire.client.link
from sire import ModelManager
from sire.errors import DaemonUnavailable

spare = int(sys.argv[1])
manager = ModelManager()
resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 1 + spare, 4096))
try:
    print("answered", [info.model.name for info in manager.list_models()])
except DaemonUnavailable as error:
    print(error.message, error.hint)
"""


@pytest.mark.parametrize("spare", [0, 2, 4, 8, 30])
def test_a_client_short_of_descriptors_says_so_and_is_not_ended(crowded: House, spare: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTING, str(spare)],
        env=crowded.environment,
        capture_output=True,
        check=True,
    )
    if spare == 30:
        assert done.stdout == b"answered ['another', 'm']\n"
    else:
        assert b": Too many open files." in done.stdout


def test_a_daemon_that_can_open_nothing_at_all_says_so_and_recovers(crowded: House) -> None:
    big: dict[str, Any] = {"text": "x" * 300_000}
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
