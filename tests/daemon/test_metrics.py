"""Metrics: what Prometheus reads, from the command and over HTTP."""

import contextlib
import json
import os
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Gate
from tests.daemon.asking import ask
from tests.home import Home
from tests.waiting import DEADLINE_SECONDS, wait_until

LABELS = ("model", "device", "outcome", "le")


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a name: value by label values."""
    return {
        tuple(sample.labels[label] for label in LABELS if label in sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def metrics(home: Home) -> Callable[[], str]:
    def metrics() -> str:
        return home.sire("metrics").stdout.decode()

    return metrics


def fetch(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_SECONDS
    ) as answer:
        text: str = answer.read().decode()
        return text


def free_port() -> int:
    """A port that nobody is given by chance before the daemon listens there.

    The kernel gives those above 32767 to whoever asks for any.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are in use")


@pytest.mark.own_daemon
def test_requests_are_counted_by_model_device_and_outcome(
    home: Home, register: Callable[..., Any], metrics: Callable[[], str]
) -> None:
    register("m", 2, "Moody")
    for _ in range(3):
        home.sire("predict", "m", "-i", "-", stdin=b"[[0, 1, 1, 1]]")
    home.sire("predict", "m", "-i", "-", stdin=b"[[1, 1, 1, 1]]", code=5)
    text = metrics()
    assert values(text, "sire_inference_requests_total") == {
        ("m", "cpu", "ok"): 3,
        ("m", "", "InferenceError"): 1,
    }
    assert values(text, "sire_inference_duration_seconds_count") == {("m",): 3}
    assert 0 < values(text, "sire_inference_duration_seconds_sum")[("m",)] < 60
    assert values(text, "sire_batch_size_sum") == {("m",): 4}
    buckets = values(text, "sire_inference_duration_seconds_bucket")
    assert buckets["m", "+Inf"] == 3
    assert list(buckets.values()) == sorted(buckets.values())


@pytest.mark.own_daemon
def test_loads_unloads_crashes_and_memory_are_told(
    home: Home, register: Callable[..., Any], metrics: Callable[[], str]
) -> None:
    register("m", 2, "Moody")
    home.sire("predict", "m", "-i", "-", stdin=b"[[2, 1, 1, 1]]", code=5)
    home.sire("load", "m")
    text = metrics()
    assert values(text, "sire_model_load_total") == {("m", "cpu", "ok"): 2}
    assert values(text, "sire_worker_restarts_total") == {("m",): 1}
    assert values(text, "sire_models_loaded") == {("cpu",): 1}
    assert values(text, "sire_model_memory_bytes")["m", "cpu"] > 0
    home.sire("unload", "m")
    text = metrics()
    assert values(text, "sire_model_unload_total") == {("m", "cpu"): 1}
    assert values(text, "sire_models_loaded") == {("cpu",): 0}


def test_every_name_has_the_prefix_a_help_and_base_units(metrics: Callable[[], str]) -> None:
    found = families(metrics())
    assert len(found) > 20
    for name, family in found.items():
        assert name.startswith("sire_")
        assert family.documentation.endswith(".")
        assert not name.endswith(("_ms", "_mb", "_mib"))


@pytest.mark.own_daemon
def test_the_same_can_be_fetched_over_http_where_a_port_is_configured(
    home: Home, register: Callable[..., Any], metrics: Callable[[], str]
) -> None:
    port = free_port()
    home.configure(f"[metrics]\nport = {port}\n")
    register("m")
    home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    text = wait_until(lambda: _answer(port))
    name = "sire_inference_requests_total"
    assert values(text, name) == values(metrics(), name) == {("m", "cpu", "ok"): 1}

    assert json.loads(fetch(port, "/health")) == {"status": "ok", "problems": []}
    for path in ("/", "/metrics/more", "/favicon.ico", "/healthz"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(port, path)
    posted = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", data=b"x")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(posted, timeout=DEADLINE_SECONDS)  # noqa: S310 (its own server)


@pytest.mark.own_daemon
def test_the_probe_fails_while_the_daemon_shuts_down(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    port = free_port()
    home.configure(f"[metrics]\nport = {port}\n")
    register("m", 2, "Moody")
    wait_until(lambda: _answer(port))
    wait_until(lambda: json.loads(fetch(port, "/health"))["status"] == "ok")  # a shorter answer
    with home.connect() as connection, ThreadPoolExecutor() as pool:
        running = pool.submit(ask, connection, "m", 5)
        wait_until(lambda: any(one["state"] == "busy" for one in home.json("ps")))
        os.kill(home.pid(), signal.SIGTERM)
        assert wait_until(lambda: _failed_probe(port)) == {"status": "draining", "problems": []}
        gate.open()
        assert running.result() == [[10, 2, 2, 2]]


def _failed_probe(port: int) -> Any:
    """The body of a probe that failed with 503; None while it succeeds."""
    try:
        fetch(port, "/health")
    except urllib.error.HTTPError as problem:
        assert problem.code == 503
        return json.loads(problem.read())
    return None


def _answer(port: int) -> str | None:
    try:
        return fetch(port)
    except OSError:  # nobody listens yet
        return None


@pytest.mark.own_daemon
def test_a_port_that_is_taken_is_a_problem_and_nothing_else(
    home: Home, register: Callable[..., Any]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        home.configure(f"[metrics]\nport = {port}\n")
        register("m")
        (said,) = wait_until(lambda: home.json("health")["problems"])
        assert str(port) in said
        assert "in use" in said
        home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
