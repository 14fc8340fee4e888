"""``sire top`` on a real terminal, against a daemon that is only a lock and a socket."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.paths import Paths, find_paths
from sire.protocol.counts import ModelStats, StatsTotals
from sire.protocol.devices import DeviceInfo
from sire.protocol.replies import HealthReport, InstanceInfo, StatsReport, TopReport
from tests.home import Home
from tests.stand_ins.daemon import StandIn

SIRE_TOP = [sys.executable, "-m", "sire_cli", "top"]
ROOT = Path(__file__).parents[2]
GIB = 1 << 30
PATIENCE_SECONDS = 90

ALTERNATE_SCREEN, NORMAL_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR = b"\x1b[?25h"
CONTROL_CODE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")

REPORT = TopReport(
    health=HealthReport(
        status="ok",
        version="0.1.0",
        pid=1,
        uptime_seconds=60.0,
        memory_bytes=GIB,
        models=1,
        instances=1,
        queued=0,
        socket="",
        python="3.11",
    ),
    devices=(
        DeviceInfo(
            name="cpu",
            kind="cpu",
            hardware="Some CPU",
            uuid="",
            total_bytes=8 * GIB,
            capacity_bytes=8 * GIB,
            used_bytes=GIB,
            foreign_bytes=0,
            free_bytes=7 * GIB,
            available=True,
        ),
    ),
    instances=(
        InstanceInfo(
            instance=1,
            model="mnist",
            device="cpu",
            state="ready",
            pid=2,
            memory_bytes=GIB,
            uptime_seconds=1.0,
            idle_seconds=1.0,
            expires_in_seconds=None,
            load_seconds=1.0,
            requests=1,
            queued=0,
            pinned=False,
        ),
    ),
    stats=StatsReport(
        models=(
            ModelStats(
                model="mnist",
                state="ready",
                device="cpu",
                memory_bytes=GIB,
                peak_memory_bytes=GIB,
                inference_count=1,
                errors={},
                queued=0,
                average_latency_seconds=0.001,
                p50_latency_seconds=0.001,
                p99_latency_seconds=0.001,
                average_compute_seconds=0.001,
                requests_per_second=0.0,
                loads=1,
                evictions=0,
                crashes=0,
                last_load_seconds=1.0,
                last_used_at=None,
            ),
        ),
        totals=StatsTotals(inference_count=1, errors=0, loads=1, evictions=0, crashes=0),
    ),
)


def a_daemon(paths: Paths) -> StandIn:
    return StandIn(paths, lambda request: REPORT)


class Terminal:
    """A pseudo-terminal with one process in it, whose controlling terminal it is."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        columns: int = 80,
        rows: int = 24,
        stdin: str | None = None,
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        name = os.ttyname(slave)
        self.modes = termios.tcgetattr(slave)
        self.slave = slave
        # The first terminal that the leader of a new session opens becomes its controlling one.
        actions = [
            (os.POSIX_SPAWN_OPEN, 1, name, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_OPEN, 0, stdin or name, os.O_RDONLY, 0),
        ]
        self.pid = os.posix_spawn(
            arguments[0], arguments, environment, file_actions=actions, setsid=True
        )
        self.output = b""
        self.exit_code: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: str, since: int = 0) -> int:
        """Read until the text was written; returns where its frame ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (at := self.plain.find(text.encode(), since)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come; there was {self.plain[since:].decode()}"
            if select.select([self.master], [], [], left)[0]:
                self.output += os.read(self.master, 65536)
        return at + len(text.encode())

    @property
    def plain(self) -> bytes:
        return CONTROL_CODE.sub(b"", self.output)

    def exit(self) -> int:
        """Read until the process ends; returns its exit code."""
        if self.exit_code is None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (ended := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
                assert time.monotonic() < deadline, "it did not end"
                if select.select([self.master], [], [], 0.01)[0]:
                    self.output += os.read(self.master, 65536)
            self.exit_code = os.waitstatus_to_exitcode(ended[1])
            while select.select([self.master], [], [], 0)[0]:
                self.output += os.read(self.master, 65536)
        return self.exit_code

    def close(self) -> None:
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.exit()
        os.close(self.master)
        os.close(self.slave)

    def assert_restored(self) -> None:
        assert self.output.rindex(NORMAL_SCREEN) > self.output.rindex(ALTERNATE_SCREEN)
        assert SHOW_CURSOR in self.output[self.output.index(ALTERNATE_SCREEN) :]
        assert termios.tcgetattr(self.slave) == self.modes


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="sire-") as home:
        yield find_paths({"SIRE_HOME": home})


@pytest.fixture
def environment(paths: Paths) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ
    }
    return {
        **kept,
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "SIRE_HOME": str(paths.runtime.parent),
    }


@pytest.fixture
def daemon(paths: Paths) -> Iterator[StandIn]:
    stand_in = a_daemon(paths)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    opened = []

    def start_top(
        *arguments: Any,
        interval: str = "100ms",
        columns: int = 80,
        rows: int = 24,
        stdin: str | None = None,
        **variables: Any,
    ) -> Terminal:
        command = [*SIRE_TOP, "--interval", interval, *arguments]
        opened.append(Terminal(command, environment | variables, columns, rows, stdin))
        return opened[-1]

    yield start_top
    for terminal in opened:
        terminal.close()


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SIRE_TOP, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x03"], ids=["q", "Q", "ctrl-c"])
def test_a_key_quits_at_once_and_the_terminal_is_as_before(
    daemon: StandIn, start: Callable[..., Any], key: bytes
) -> None:
    terminal = start(interval="1h")
    terminal.wait_for("q quit")
    terminal.press(key)
    assert terminal.exit() == 0
    terminal.assert_restored()


def test_other_keys_do_nothing(daemon: StandIn, start: Callable[..., Any]) -> None:
    terminal = start()
    end = terminal.wait_for("q quit")
    terminal.press(b"x\x1a")
    terminal.wait_for("q quit", since=end)
    terminal.press(b"q")
    assert terminal.exit() == 0


def test_being_terminated_restores_the_terminal_too(
    daemon: StandIn, start: Callable[..., Any]
) -> None:
    terminal = start()
    terminal.wait_for("q quit")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.exit() == 128 + signal.SIGTERM
    terminal.assert_restored()


def test_a_resize_is_followed_at_once(daemon: StandIn, start: Callable[..., Any]) -> None:
    terminal = start(interval="1h")
    end = terminal.wait_for("q quit")
    assert b"CRASHES" not in terminal.plain
    terminal.resize(200, 60)
    terminal.wait_for("CRASHES", since=end)


def test_a_daemon_that_goes_is_missed_and_one_that_comes_is_found(
    daemon: StandIn, start: Callable[..., Any], paths: Paths
) -> None:
    terminal = start()
    terminal.wait_for("mnist")
    daemon.stop()
    end = terminal.wait_for("daemon not running, retrying…")
    end = terminal.wait_for("mnist", since=end)
    successor = a_daemon(paths)
    terminal.wait_for("● ok", since=end)
    successor.stop()


def test_the_view_does_not_start_a_daemon_in_place_of_one_that_went(
    daemon: StandIn, start: Callable[..., Any], paths: Paths
) -> None:
    terminal = start()
    terminal.wait_for("mnist")
    daemon.stop()
    end = 0
    for _ in range(3):
        end = terminal.wait_for("daemon not running, retrying…", since=end)
    assert not paths.daemon_log.exists()


def test_without_a_keyboard_the_view_runs_until_it_is_interrupted(
    daemon: StandIn, start: Callable[..., Any]
) -> None:
    terminal = start(stdin=os.devnull)
    end = terminal.wait_for("q quit")
    terminal.wait_for("q quit", since=end)
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.exit() == 0
    terminal.assert_restored()


def test_no_color_is_honoured_on_a_terminal(daemon: StandIn, start: Callable[..., Any]) -> None:
    terminal = start(NO_COLOR="1")
    terminal.wait_for("q quit")
    assert b"38;5" not in terminal.output
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.output)


@pytest.mark.parametrize("arguments", [["--once"], []], ids=["--once", "piped"])
def test_without_a_terminal_one_frame_is_printed_without_control_codes(
    daemon: StandIn, environment: dict[str, str], arguments: list[str]
) -> None:
    done = run(environment, *arguments)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    lines = done.stdout.decode().splitlines()
    assert [line for line in lines if "mnist" in line]
    assert all(line == line.rstrip() for line in lines)
    assert done.stdout.count(b"MODEL") == 1


def test_json_once_is_one_report(daemon: StandIn, environment: dict[str, str]) -> None:
    done = run(environment, "--json", "--once")
    report = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert report["health"]["status"] == "ok"
    assert report["stats"]["models"][0]["model"] == "mnist"
    assert report["devices"][0]["free_bytes"] == 7 * GIB


def test_json_is_a_line_every_interval(daemon: StandIn, environment: dict[str, str]) -> None:
    command = [*SIRE_TOP, "--json", "--interval", "100ms"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        reports = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
    assert len(reports) == 3


@pytest.mark.parametrize("interval", ["0s", "forever", "soon"])
def test_an_interval_that_cannot_be_is_a_usage_error(
    environment: dict[str, str], interval: str
) -> None:
    done = run(environment, "--interval", interval)
    assert done.returncode == 2
    assert done.stderr.startswith(b"sire: error:")


def test_without_a_daemon_and_autostart_the_exit_code_says_so(environment: dict[str, str]) -> None:
    done = run(environment | {"SIRE_NO_AUTOSTART": "1"}, "--once")
    assert done.returncode == 6
    assert b"sire daemon start" in done.stderr


def test_the_real_daemon_is_drawn_with_the_model_it_has_loaded(
    home: Home, register: Callable[..., Any]
) -> None:
    register("doubled")
    home.sire("load", "doubled")
    lines = home.sire("top", "--once").stdout.decode().splitlines()
    model = next(line for line in lines if "doubled" in line)
    assert model.split()[2:5] == ["ready", "device", "cpu"]
    assert any(line.split()[1:3] == ["loaded", "doubled"] for line in lines)
    assert any(line.startswith("cpu ") and "━" in line for line in lines)
    report = home.json("top", "--once")
    assert [one["model"] for one in report["instances"]] == ["doubled"]


def test_a_model_is_selected_loaded_and_pinned_by_keys_and_what_happens_is_shown(
    home: Home, register: Callable[..., Any], start: Callable[..., Any]
) -> None:
    register("doubled")
    register("tripled", 3)
    terminal = start(SIRE_HOME=str(home.path))
    terminal.wait_for("tripled")
    terminal.press(b"/trip\r\x1b[Bl")
    terminal.wait_for("Loading tripled…")
    end = terminal.wait_for("Loaded tripled.")
    terminal.wait_for("loaded   tripled", since=end)
    terminal.press(b"p")
    terminal.wait_for("Pinned tripled.")
    (instance,) = home.json("ps")
    assert (instance["model"], instance["pinned"]) == ("tripled", True)
    terminal.press(b"u")
    terminal.wait_for("Unloaded tripled.")
    assert home.json("ps") == []
    terminal.press(b"?")
    terminal.wait_for("unload the model")
    terminal.press(b"xq")
    assert terminal.exit() == 0
    terminal.assert_restored()
