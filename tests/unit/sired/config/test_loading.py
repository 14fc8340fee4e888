import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sire.units import parse_bytes, parse_duration
from sired.config import DeviceSettings, Settings, load_settings
from sired.config.loading import LoadedSettings

Load = Callable[..., LoadedSettings]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def load(file: Path) -> Load:
    """Load settings from this text, environment and flags."""

    def load(text: str = "", environment: Any = None, flags: Any = None) -> LoadedSettings:
        file.write_text(text)
        return load_settings(file, environment or {}, flags or {})

    return load


def source_of(loaded: LoadedSettings, key: str) -> tuple[str, str]:
    return next((value, source) for name, value, source in loaded.sources if name == key)


def test_a_missing_file_leaves_the_defaults(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path / "none.toml", {}, {})
    assert loaded.settings == Settings()
    assert {source for _, _, source in loaded.sources} == {"default"}


def test_the_defaults_are_those_that_are_documented(load: Load) -> None:
    loaded = load()
    assert [(key, value) for key, value, _ in loaded.sources] == [
        ("daemon.grace", "10s"),
        ("daemon.log_level", "info"),
        ("daemon.max_message", "1GiB"),
        ("daemon.max_decoded", "4GiB"),
        ("daemon.hung_after", "1m"),
        ("daemon.load_timeout", "10m"),
        ("daemon.retry_after", "1s"),
        ("daemon.retry_most", "1m"),
        ("daemon.restore", "false"),
        ("placement.strategy", "least-memory-used"),
        ("placement.eviction", "lru"),
        ("placement.routing", "least-loaded"),
        ("placement.most_instances", "8"),
        ("placement.shrink_after", "30s"),
        ("limits.max_models", "0"),
        ("limits.max_memory_percent", "100"),
        ("memory.reserve_cpu", "256MiB"),
        ("memory.reserve_gpu", "512MiB"),
        ("memory.cuda_context", "512MiB"),
        ("memory.cpu_process", "32MiB"),
        ("memory.file_factor", "1.3"),
        ("tiers.dram", "0"),
        ("defaults.device", "auto"),
        ("defaults.keep_alive", "5m"),
        ("defaults.pin", "false"),
        ("defaults.priority", "normal"),
        ("defaults.weight", "1.0"),
        ("defaults.instances", "1"),
        ("defaults.batch_size", "1"),
        ("defaults.batch_delay", "0s"),
        ("defaults.concurrency", "1"),
        ("defaults.cache", "false"),
        ("defaults.timeout", "2m"),
        ("queue.per_model", "1000"),
        ("queue.total", "10000"),
        ("queue.memory", "256MiB"),
        ("queue.ageing", "10s"),
        ("queue.patience", "1s"),
        ("queue.turn_requests", "1000"),
        ("cache.memory", "256MiB"),
        ("jobs.timeout", "1h"),
        ("jobs.keep_for", "7d"),
        ("jobs.keep_count", "100000"),
        ("jobs.keep_bytes", "10GiB"),
        ("history.keep_for", "7d"),
        ("metrics.port", "0"),
        ("metrics.host", "127.0.0.1"),
        ("http.loading_wait", "1m"),
        ("workers.limits", "true"),
        ("workers.no_new_privileges", "true"),
        ("workers.control_groups", "false"),
    ]


def test_sizes_and_durations_become_bytes_and_seconds(load: Load) -> None:
    settings = load(
        """
        [daemon]
        grace = "1500ms"
        max_message = "64MB"
        [memory]
        reserve_gpu = 1048576
        [defaults]
        keep_alive = "forever"
        timeout = 30
        """
    ).settings
    assert settings.daemon.grace_seconds == 1.5
    assert settings.daemon.max_message_bytes == 64_000_000
    assert settings.memory.reserve_gpu == 1024**2
    assert settings.defaults.keep_alive == math.inf
    assert settings.defaults.timeout == 30.0


def test_the_environment_wins_over_the_file_and_flags_win_over_both(
    load: Load,
) -> None:
    text = '[daemon]\ngrace = "1s"\nhung_after = "1s"\nload_timeout = "1s"\n'
    environment = {"SIRE_DAEMON_HUNG_AFTER": "2s", "SIRE_DAEMON_LOAD_TIMEOUT": "2s"}
    loaded = load(text, environment, {"daemon.load_timeout": "3s"})
    daemon = loaded.settings.daemon
    assert (daemon.grace_seconds, daemon.hung_after, daemon.load_timeout) == (1, 2, 3)
    assert source_of(loaded, "daemon.grace") == ("1s", "file")
    assert source_of(loaded, "daemon.hung_after") == ("2s", "SIRE_DAEMON_HUNG_AFTER")
    assert source_of(loaded, "daemon.load_timeout") == ("3s", "flag")
    assert source_of(loaded, "daemon.log_level") == ("info", "default")


def test_every_listed_value_can_be_given_back_as_a_flag(
    load: Load,
) -> None:
    loaded = load("[devices.cpu0]\nmemory = '600MB'\ncores = [0, 1]\n")
    flags = {key: value for key, value, _ in loaded.sources}
    assert load("", {}, flags).settings == loaded.settings


def test_variables_of_no_known_section_are_left_alone(load: Load) -> None:
    environment = {"SIRE_HOME": "/x", "SIRE_NO_AUTOSTART": "1", "SIRE_DEBUG": "1", "SIRE_": ""}
    assert load("", environment).settings == Settings()


def test_a_misspelt_variable_is_named_with_the_nearest_key(
    load: Load,
) -> None:
    with pytest.raises(InvalidConfiguration, match="SIRE_DAEMON_GRACEE") as caught:
        load("", {"SIRE_DAEMON_GRACEE": "1s"})
    assert "daemon.grace?" in caught.value.hint


def test_a_misspelt_key_is_named_with_the_file_and_the_nearest_key(load: Load, file: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="defaults.keepalive") as caught:
        load('[defaults]\nkeepalive = "5m"\n')
    assert str(file) in caught.value.message
    assert "defaults.keep_alive?" in caught.value.hint


def test_a_misspelt_section_is_named_with_the_nearest_key(
    load: Load,
) -> None:
    with pytest.raises(InvalidConfiguration, match="setting deamon.grace does not exist") as caught:
        load("[deamon]\ngrace = 1\n")
    assert "daemon.grace?" in caught.value.hint


@pytest.mark.parametrize("text", ["[bogus]", "[zzz]\nq = 1", "x = 1"])
def test_a_key_like_no_other_brings_the_list_of_sections(load: Load, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="does not exist") as caught:
        load(text)
    assert "placement" in caught.value.hint


def test_sections_may_be_empty(load: Load) -> None:
    assert load("[daemon]\n[devices]\n[devices.cpu]\n").settings == Settings()


@pytest.mark.parametrize("text", ["daemon = 1", "devices = 1", "devices.cpu = 2"])
def test_a_section_given_as_a_value_is_said_so(load: Load, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="is a section, not a value"):
        load(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[daemon]\ngrace = "soon"', "daemon.grace: 'soon' is not a duration"),
        ("[daemon]\ngrace = -1", "daemon.grace: .* is not a duration"),
        ("[daemon]\ngrace = [1]", "daemon.grace: .* is not a duration"),
        ('[daemon]\nlog_level = "loud"', "daemon.log_level: 'loud' is not one of debug, info"),
        ("[memory]\nreserve_cpu = true", "memory.reserve_cpu: .* is not a size"),
        ("[memory]\nfile_factor = 0", "memory.file_factor: 0 is not a number above zero"),
        ("[queue]\ntotal = 0", "queue.total: 0 is not a whole number of at least 1"),
        ("[queue]\ntotal = 1.5", "queue.total: 1.5 is not a whole number"),
        ("[placement]\nstrategy = 3", "placement.strategy: 3 is not a name"),
        ("[devices.cpu]\ncores = [-1]", "devices.cpu.cores: .* is not a core"),
        ("[devices.cpu]\nenabled = 'maybe'", "devices.cpu.enabled: 'maybe' is neither"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(
    load: Load, file: Path, text: str, complaint: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=complaint) as caught:
        load(text)
    assert str(file) in caught.value.message


@pytest.mark.parametrize("text", ["[daemon]\ngrace =", "[daemon]\ngrace = [", "[daemon]\nx = 'a"])
def test_broken_toml_is_named_with_file_and_line(load: Load, file: Path, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="line 2") as caught:
        load(text)
    assert str(file) in caught.value.message


def test_a_file_that_is_no_text_is_said_so(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfiguration, match="is not UTF-8"):
        load_settings(file, {}, {})


def test_a_directory_in_the_place_of_the_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="Is a directory"):
        load_settings(tmp_path, {}, {})


def test_a_device_takes_kind_and_index_from_its_name(load: Load) -> None:
    devices = load('[devices."cuda:1"]\nmemory = "2GiB"\n[devices.cpu0]\ncores = [0]\n').settings
    assert devices.devices == {
        "cuda:1": DeviceSettings(kind="cuda", index=1, memory=2 * 1024**3),
        "cpu0": DeviceSettings(kind="cpu", cores=(0,)),
    }


def test_a_device_of_another_name_says_its_kind(load: Load) -> None:
    devices = load('[devices.big]\nkind = "cuda"\nindex = 2\nenabled = false\n').settings.devices
    assert devices == {"big": DeviceSettings(kind="cuda", index=2, enabled=False)}


def test_a_device_whose_kind_nobody_knows_is_refused(load: Load) -> None:
    with pytest.raises(InvalidConfiguration, match="devices.big") as caught:
        load("[devices.big]\nindex = 2\n")
    assert 'kind = "cuda"' in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        '[devices.cpu]\nkind = "cuda"',
        '[devices."cuda:0"]\nkind = "cpu"',
        '[devices."cuda:0"]\nindex = 1',
        '[devices.auto]\nkind = "cpu"',
        '[devices.dram]\nkind = "cpu"',
        '[devices.disk]\nkind = "cpu"',
    ],
)
def test_the_name_of_a_whole_device_cannot_mean_another(load: Load, text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="devices"):
        load(text)


def test_the_environment_reaches_devices_by_their_names(
    load: Load,
) -> None:
    loaded = load(
        '[devices.Left-Half]\nkind = "cpu"\nmemory = "1GiB"\n',
        {
            "SIRE_DEVICES_LEFT_HALF_MEMORY": "2GiB",
            "SIRE_DEVICES_CUDA_1_ENABLED": "no",
            "SIRE_DEVICES_CPU_CORES": "0,2-3",
        },
    )
    devices = loaded.settings.devices
    assert devices["Left-Half"].memory == 2 * 1024**3
    assert devices["cuda:1"] == DeviceSettings(kind="cuda", index=1, enabled=False)
    assert devices["cpu"].cores == (0, 2, 3)
    variable = "SIRE_DEVICES_LEFT_HALF_MEMORY"
    assert source_of(loaded, "devices.Left-Half.memory") == ("2GiB", variable)


def test_flags_reach_devices_by_dotted_keys(load: Load) -> None:
    loaded = load(flags={"devices.cuda:0.memory": "4GiB"})
    assert loaded.settings.devices["cuda:0"].memory == parse_bytes("4GiB")
    assert source_of(loaded, "devices.cuda:0.memory") == ("4GiB", "flag")
    assert parse_duration(source_of(loaded, "daemon.grace")[0]) == 10


def test_a_device_whose_name_has_a_number_nobody_can_count_to_is_refused(
    load: Load,
) -> None:
    number = "8" * 99
    with pytest.raises(InvalidConfiguration, match="not a whole number"):
        load(f'[devices."cuda{number}"]\nmemory = "1GiB"\n')
