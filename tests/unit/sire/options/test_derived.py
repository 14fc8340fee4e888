"""A model's options: what is derived from their declaration has all of them."""

import inspect
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from man.__main__ import build
from sire.client.manager import ModelManager
from sire.client.models.definition import define_model
from sire.client.models.yaml_definition import read_model_file
from sire.errors import InvalidConfiguration, InvalidModel, SireError
from sire.options.derived import check_values, options_shown
from sire.options.option import ModelOption
from sire.options.table import BY_NAME, OPTIONS, settable_in
from sire.spec import ModelSpec, Signature, TensorSpec
from sire_cli.main import full_app
from sired.config.settings import DefaultSettings
from sired.store.model_file import from_toml, to_toml

# For each option a value as the command line, Python and YAML take it, and as a model has it.
GIVEN = {
    "runtime": ("onnx", "onnx"),
    "model_class": ("package.module:Class", "package.module:Class"),
    "args": ({"layers": 4}, {"layers": 4}),
    "cmd": ("serve {port}", "serve {port}"),
    "health": ("/ready", "/ready"),
    "python_path": (["/tmp"], ("/tmp",)),
    "trust": (True, True),
    "inputs": (["x:float32[-1,4]"], (TensorSpec("x", "float32", (-1, 4)),)),
    "signature": (Signature((TensorSpec("", "int64", (1,)),)),) * 2,
    "mean": ("0.5,0.25", (0.5, 0.25)),
    "std": ([1, 2.0], (1.0, 2.0)),
    "image_fit": ("pad", "pad"),
    "pad_value": (114, 114),
    "channel_order": ("bgr", "bgr"),
    "pixel_range": ([-1, 1], (-1.0, 1.0)),
    "side_multiple": (32, 32),
    "audio_rate": (16000, 16000),
    "warmup": ("/tmp/input.json", "/tmp/input.json"),
    "device": ("cuda:0", "cuda:0"),
    "group": ("lab", "lab"),
    "max_memory": ("2GiB", 2 << 30),
    "keep_alive": ("5m", 300.0),
    "pin": (True, True),
    "priority": ("high", "high"),
    "weight": ("2.5", 2.5),
    "instances": ("1..4", "1..4"),
    "batch_size": ("8", 8),
    "batch_delay": ("5ms", 0.005),
    "concurrency": (3, 3),
    "cache": ("true", True),
}
every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def defined(option: ModelOption) -> ModelSpec:
    """A model with this option alone."""
    return define_model("m", None, {option.name: GIVEN[option.name][0]}).spec


@every_option
def test_each_option_is_read_into_its_field(option: ModelOption) -> None:
    assert option.value_in(defined(option)) == GIVEN[option.name][1]


@every_option
def test_each_option_of_the_command_line_is_one_of_sire_register(option: ModelOption) -> None:
    group = typer.main.get_command(full_app())
    assert isinstance(group, typer.core.TyperGroup)
    parameters: dict[str | None, Any] = {one.name: one for one in group.commands["register"].params}
    assert (option.name in parameters) == ("cli" in option.settable)
    if "cli" in option.settable:
        assert option.flag in parameters[option.name].opts
        assert parameters[option.name].help == option.help
        assert parameters[option.name].rich_help_panel == option.group
        assert option.switch or parameters[option.name].metavar == option.metavar


@every_option
def test_each_option_is_a_field_of_model_files_or_refused_by_name(
    option: ModelOption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where relative paths of both start
    file = tmp_path / "model.yaml"
    given = GIVEN[option.name][0]
    if "yaml" in option.settable:
        for name in (option.name, *(also for also, kind in option.also if kind is option.kind)):
            file.write_bytes(msgspec.yaml.encode({"model_id": "m", name: given}))
            names_code = option.name in {"model_class", "cmd"}
            found = read_model_file(file, trust=names_code).spec
            trusted = {"trusted": names_code, "python_path": found.python_path}
            assert found == msgspec.structs.replace(defined(option), **trusted)
    else:
        file.write_text(f"model_id: m\n{option.name}: 1\n")
        with pytest.raises(InvalidModel, match=f"a model has no field {option.name}"):
            read_model_file(file)


@every_option
def test_each_option_is_a_keyword_of_register_model(option: ModelOption) -> None:
    register = ModelManager.register_model
    keywords = set(inspect.signature(register).parameters)
    if "python" in option.settable and not option.field.startswith("args"):
        assert option.name in keywords  # what goes to the arguments is any other keyword
        # Python 3.13 strips the docstring's indentation.
        described = f"\n    {option.name}: {option.help[0].lower()}"
        assert described in (inspect.getdoc(register) or "")


def test_register_model_takes_no_option_that_is_not_declared() -> None:
    own = {"self", "name", "model_path", "replace", "args"}
    assert set(inspect.signature(ModelManager.register_model).parameters) <= own | BY_NAME.keys()


@every_option
def test_each_option_is_in_the_manual(option: ModelOption) -> None:
    page = build()["man/sire.1"].replace("\\-", "-")
    if "cli" in option.settable:
        assert f"\\fB{option.flag}\\fR" in page
    if option.settable & {"yaml", "defaults"}:
        assert f"\\fB{option.name}\\fR" in page


@every_option
def test_each_option_is_shown_with_its_value(option: ModelOption) -> None:
    texts = [text for _, text in options_shown(defined(option))]
    value = GIVEN[option.name][1]
    written = option.kind.write(value)
    if option.name == "signature":
        assert "int64[1]" in texts  # as the inputs
    else:
        assert any(text == "yes" if value is True else written in text for text in texts)


@every_option
def test_each_option_is_kept_by_the_registry(option: ModelOption) -> None:
    spec = msgspec.structs.replace(defined(option), path="/m")
    assert from_toml("m", to_toml(spec).decode()) == (spec, ())


def test_an_option_given_with_its_default_is_kept_apart_from_one_not_given() -> None:
    options = {"batch_size": 1, "pin": False, "weight": 2, "keep_alive": None}
    definition = define_model("m", "/m", options)
    assert definition.explicit == ("pin", "batch_size")
    text = to_toml(*definition).decode()
    assert text == 'path = "/m"\nweight = 2.0\npinned = false\nbatch_size = 1\n'
    assert from_toml("m", text) == definition


@every_option
def test_each_option_that_settings_may_give_is_one_of_the_defaults(option: ModelOption) -> None:
    keys = {field.name for field in msgspec.structs.fields(DefaultSettings)}
    assert (option.name in keys) == ("defaults" in option.settable)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batchsize": 8}, "no option batchsize. Did you mean batch_size?"),
        ({"keep_alive": "soon"}, "keep_alive: 'soon' is not a duration"),
        ({"batch_size": 0}, "batch_size: 0 is not a whole number from 1"),
        ({"batch_size": 4.5}, "batch_size: 4.5 is not a whole number"),
        ({"batch_delay": "forever"}, "batch_delay: 'forever' is not a bounded duration"),
        ({"weight": 0}, "weight: 0 is not a number above zero"),
        ({"instances": "many"}, "instances: 'many'"),
        ({"priority": "hihg"}, "priority: 'hihg'.* Did you mean high?"),
        ({"mean": "a,b"}, "mean: 'a,b' is not a list of numbers"),
        ({"inputs": 3}, "inputs: 3 is not a list of inputs"),
        ({"model_class": "Class"}, "model_class: 'Class' is not the name of a class"),
        ({"args": {"a": object()}}, "args: The argument 'a' cannot be encoded"),
        ({"warmup": True}, "warmup: it is the path of an input"),
        ({"pin": "maybe"}, "pin: 'maybe' is neither true nor false"),
    ],
)
def test_what_is_not_valid_is_rejected_by_name(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SireError, match=complaint):
        define_model("m", None, options)


def test_an_option_that_is_none_is_not_given() -> None:
    assert define_model("m", None, dict.fromkeys(BY_NAME)).spec == ModelSpec("m", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0},
        {"concurrency": 257},
        {"weight": math.nan},
        {"batch_delay": math.inf},
        {"keep_alive": -1.0},
        {"max_memory": -1},
        {"instances": "4..1"},
        {"weight_bytes": 1 << 63},
        {"args": {"a": 1 << 64}},
    ],
)
def test_a_definition_from_elsewhere_is_checked_by_the_same_declaration(changes: Any) -> None:
    with pytest.raises(InvalidModel):
        check_values(msgspec.structs.replace(ModelSpec("m", "/m"), **changes))


def test_only_the_caller_decides_that_a_file_may_run_code() -> None:
    assert BY_NAME["trust"] not in settable_in("yaml") + settable_in("defaults")


def test_a_value_of_the_wrong_kind_is_a_usage_error() -> None:
    with pytest.raises(InvalidConfiguration):
        define_model("m", None, {"weight": "heavy"})
