"""Nothing of sire listens on a network, connects to one, or reads untrusted data in the daemon."""

import contextlib
import re
from pathlib import Path

import psutil

from tests.trust.conftest import CarelessHome, ask

# Libraries that parse data of others, and frameworks: workers map them.
PARSERS = re.compile(
    r"/(?:lib)?(?:torch|onnxruntime|numpy|safetensors|PIL|_imaging|sndfile|soundfile|soxr)\b",
    re.ASCII,
)


def test_no_process_has_a_network_socket(careless: CarelessHome) -> None:
    ask(careless, "environment")
    daemon = psutil.Process(careless.pid())
    family = [daemon, *daemon.children(recursive=True)]
    assert len(family) > 2  # the fork server and a worker among them
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that had something to do and is done
            assert process.net_connections("inet") == [], process


def test_libraries_are_told_to_report_nothing(careless: CarelessHome) -> None:
    assert ask(careless, "environment")["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_daemon_has_no_parser_of_untrusted_data_loaded(careless: CarelessHome) -> None:
    worker = psutil.Process(ask(careless, "pid"))
    mapped = Path(f"/proc/{worker.pid}/maps").read_text()
    assert PARSERS.search(mapped), "a worker has, so that this test could fail"
    assert not PARSERS.search(Path(f"/proc/{careless.pid()}/maps").read_text())
