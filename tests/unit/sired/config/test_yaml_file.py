from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sired.config import Settings, load_settings


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Settings]:
    def load(text: str) -> Settings:
        file = tmp_path / "server.yaml"
        file.write_text(text)
        return load_settings(file, {}, {}).settings

    return load


def test_short_names_and_sections_are_settings(load: Callable[..., Any]) -> None:
    settings = load(
        "host: 0.0.0.0\nmetrics_port: 9090\nmax_models: 4\nlog_level: DEBUG\n"
        "enable_monitoring: true\ndaemon:\n  grace: 5s\ndevices:\n  cpu:\n    memory: 2GiB\n"
    )
    assert (settings.metrics.host, settings.metrics.port) == ("0.0.0.0", 9090)
    assert settings.limits.max_models == 4
    assert (settings.daemon.log_level, settings.daemon.grace_seconds) == ("debug", 5.0)
    assert settings.devices["cpu"].memory == 2 << 30


def test_monitoring_that_is_switched_off_has_no_port(load: Callable[..., Any]) -> None:
    assert load("metrics_port: 9090\nenable_monitoring: false\n").metrics.port == 0


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("port: 8000", "port has no meaning here", "metrics_port"),
        ("max_workers: 4", "max_workers has no meaning", "max_models"),
        ("health_check_interval: 5", "detected at once", "hung_after"),
        ("host: 0.0.0.0", "Unix socket", "metrics_port"),
        ("enable_monitoring: true", "port for Prometheus is not specified", "metrics_port"),
        ("max_model: 3", "setting max_model does not exist", ""),
        ("log_level: 3", "log_level", ""),
        ("max_models: many", "limits.max_models: 'many'", ""),
        ("- a", "not a mapping of names to values", ""),
        ("a: [", "not valid YAML", ""),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML", ""),
        ("metrics: 3\nmetrics_port: 5", "metrics is a section", ""),
        ("enable_monitoring: [1]", "not true or false", ""),
    ],
)
def test_what_means_nothing_or_cannot_be_is_refused(
    load: Callable[..., Any], text: str, said: str, hint: Any
) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        load(text)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "server.yaml" in caught.value.message


def test_an_empty_file_sets_nothing(load: Callable[..., Any]) -> None:
    assert load("") == load("# nothing\n")
