"""What the traits of every installed runtime have to fulfil, and what is done with them."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from sire.errors import InvalidModel, LoadFailed
from sire.spec import ModelSpec
from sired.runtimes import discovery
from sired.runtimes.arguments import check_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.discovery import all_traits, find_runtime, find_traits, installed
from sired.runtimes.traits import RuntimeTraits
from tests.contract import tiny_models
from tests.contract.runtime_cases import CASES

READ_TRAITS = """
import json, sys
from sired.runtimes.discovery import all_traits
names = [traits.name for traits in all_traits()]
frameworks = {"numpy", "onnxruntime", "torch", "transformers"} & sys.modules.keys()
print(json.dumps([names, sorted(frameworks)]))
"""
RUNTIMES = sorted(installed())


@pytest.fixture(params=RUNTIMES)
def traits(request: pytest.FixtureRequest) -> "RuntimeTraits":
    return find_traits(request.param)


def spec_of(runtime: str, args: dict[str, Any], **fields: Any) -> ModelSpec:
    return ModelSpec("m", "/m", runtime=runtime, args=args, **fields)


def test_traits_are_read_without_importing_a_framework() -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_TRAITS], capture_output=True, text=True, check=True
    )
    names, frameworks = json.loads(done.stdout)
    assert sorted(names) == RUNTIMES
    assert frameworks == []


def test_the_implementation_is_a_runtime_that_keeps_what_its_traits_promise(
    traits: "RuntimeTraits",
) -> None:
    if traits.name == "huggingface":
        pytest.importorskip("transformers", reason="sire[hf] is not installed")
    runtime = find_runtime(traits.name)
    assert isinstance(runtime, InferenceRuntime)
    assert runtime.traits is traits
    for trait, method in discovery.OPTIONAL_METHODS:
        overrides = getattr(type(runtime), method) is not getattr(InferenceRuntime, method)
        assert overrides == getattr(traits, trait), method


def test_every_format_has_one_runtime_and_a_case(traits: "RuntimeTraits") -> None:
    for file_format in traits.formats:
        loaders = [other.name for other in all_traits() if other.format(file_format.name)]
        assert loaders == [traits.name]
    cases = {case.format for case in CASES.values() if case.runtime == traits.name}
    optional = {"aoti", "transformers", "diffusers"}  # which need a compiler or a package
    assert {known.name for known in traits.formats} - optional <= cases


def test_the_arguments_of_a_format_are_arguments_of_its_runtime(traits: "RuntimeTraits") -> None:
    declared = set(traits.arguments.__struct_fields__)
    for file_format in traits.formats:
        assert (file_format.arguments or set()) <= declared
    assert not declared & {"device", "format", "model_class", "trusted"}


def test_an_unknown_argument_is_rejected_with_its_name_and_what_is_accepted(
    traits: "RuntimeTraits",
) -> None:
    if traits.class_arguments and not traits.formats:
        check_arguments(traits, spec_of(traits.name, {"nonsense": 1}))  # its class knows
        return
    with pytest.raises(InvalidModel, match="nonsense") as caught:
        check_arguments(traits, spec_of(traits.name, {"nonsense": 1}, format=some_format(traits)))
    for name in list(traits.arguments.__struct_fields__)[:1]:
        assert name in caught.value.hint


def test_a_value_of_the_wrong_type_is_rejected_with_what_is_accepted(
    traits: "RuntimeTraits",
) -> None:
    for field in msgspec.structs.fields(traits.arguments):
        given = {field.name: {"not": ["a", None]} if "dict" not in str(field.type) else 1}
        spec = spec_of(traits.name, given, format=some_format(traits))
        with pytest.raises(InvalidModel, match=f"cannot take {field.name}=") as caught:
            check_arguments(traits, spec)
        assert caught.value.hint.startswith(f"{field.name} takes ")


def test_the_arguments_of_the_cases_are_accepted(traits: "RuntimeTraits") -> None:
    for case in CASES.values():
        if case.runtime == traits.name:
            given = spec_of(traits.name, case.args, format=case.format)
            check_arguments(traits, given)


def some_format(traits: "RuntimeTraits") -> str:
    """A format to which all of the runtime's arguments apply."""
    return next((known.name for known in traits.formats if known.arguments is None), "")


@pytest.mark.parametrize(
    ("runtime", "args", "said"),
    [
        ("onnx", {"intra_op_threads": 2}, "Did you mean intra_op_num_threads?"),
        ("onnx", {"intra_op_num_threads": 0}, "a whole number >= 1"),
        ("onnx", {"graph_optimization_level": "most"}, "one of all, basic, disable"),
        ("onnx", {"provider_options": {"gpu_memory_limit": 1}}, "Did you mean gpu_mem_limit?"),
        ("command", {}, "requires the argument 'cmd'"),
        ("command", {"cmd": "serve {port}", "stall": "long"}, "stall takes a number"),
        ("command", {"cmd": "serve"}, "the port to serve on"),
        ("ollama", {"model": 3}, "model takes text"),
        ("huggingface", {"dtype": "fp8"}, "one of auto, bf16, fp16, fp32, int8"),
        ("huggingface", {"pooling": "median"}, "one of cls, lasttoken, max"),
        ("huggingface", {"task": "juggling"}, "Tasks are: text-classification, "),
        ("huggingface", {"task": "fil-mask"}, "Did you mean fill-mask?"),
        ("huggingface", {"max_new_tokens": "many"}, "a whole number >= 1"),
        ("huggingface", {"force_cpu": True, "force_gpu": True}, "cannot both be true"),
        ("huggingface", {"device": "cpu"}, "have options of their own"),
    ],
)
def test_arguments_are_checked_without_loading_anything(
    runtime: str, args: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidModel) as caught:
        check_arguments(find_traits(runtime), spec_of(runtime, args))
    assert said in str(caught.value)


@pytest.mark.parametrize("args", [{"force_cpu": True}, {"dtype": "int8"}])
def test_what_runs_on_a_cpu_only_is_not_placed_on_a_gpu(
    args: dict[str, Any], tmp_path: Path
) -> None:
    tiny_models.text_classifier(tmp_path)
    complete = find_traits("huggingface").on_register
    assert complete is not None
    for device, expected in (("auto", "cpu"), ("cuda:0", "cuda:0")):
        given = ModelSpec("m", str(tmp_path), runtime="huggingface", args=args, device=device)
        assert complete(given).device == expected


def test_only_the_arguments_that_apply_to_a_format_are_accepted() -> None:
    pytorch = find_traits("pytorch")
    check_arguments(pytorch, spec_of("pytorch", {"compile": True}, format="exported"))
    with pytest.raises(InvalidModel, match="for exported files, takes no argument 'dtype'"):
        check_arguments(pytorch, spec_of("pytorch", {"dtype": "fp16"}, format="exported"))


def test_names_that_a_class_may_take_are_left_to_it() -> None:
    given = spec_of("pytorch", {"width": 4}, format="safetensors", model_class="m:Net")
    check_arguments(find_traits("pytorch"), given)
    with pytest.raises(InvalidModel, match="width"):
        check_arguments(
            find_traits("pytorch"), spec_of("pytorch", {"width": 4}, format="safetensors")
        )


def test_what_is_declared_of_transformers_is_what_it_has() -> None:
    transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")
    from sired.runtimes.huggingface import arguments, pooling

    internal = {"_from_model_config", "transformers_version"}
    declared = set(arguments.TransformersOptions.__struct_fields__)
    assert vars(transformers.GenerationConfig()).keys() - internal <= declared
    assert set(get_args(arguments.PoolingName)) == pooling.POOLINGS.keys()


# A runtime of another package

STATED = RuntimeTraits(name="other", implementation="tests.contract.test_traits:Other")


class Other(InferenceRuntime):
    def load(self, model_path: Any, **kwargs: Any) -> Any:
        return model_path

    def predict(self, model: Any, data: Any) -> Any:
        return data

    def get_memory_footprint(self, model: Any) -> Any:
        return 0

    def estimate(self, model_path: Any, **kwargs: Any) -> Any:
        return 7


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Have an entry point found, until the test ends."""

    def _install(value: str) -> None:
        entry = EntryPoint("other", value, discovery.GROUP)
        monkeypatch.setattr(discovery, "installed", lambda: {"other": entry})

    monkeypatch.setattr(discovery, "find_traits", discovery.find_traits.__wrapped__)
    return _install


def test_a_runtime_that_overrides_what_its_traits_do_not_state_is_rejected(
    install: Callable[..., Any],
) -> None:
    install("tests.contract.test_traits:STATED")
    with pytest.raises(LoadFailed, match="estimates is False, and Other overrides estimate"):
        discovery.find_runtime("other")


@pytest.mark.parametrize("value", ["tests.contract.test_traits:Other", "no.such.module:TRAITS"])
def test_an_entry_point_that_does_not_name_traits_is_reported(
    install: Callable[..., Any], value: str
) -> None:
    install(value)
    with pytest.raises(LoadFailed, match="traits of the runtime other|does not name its traits"):
        discovery.find_traits("other")


def test_an_implementation_that_is_not_installed_is_reported_with_the_command(
    install: Callable[..., Any],
) -> None:
    install("tests.contract.test_traits:MISSING")
    with pytest.raises(LoadFailed, match="pip install no_such_framework"):
        discovery.find_runtime("other")


MISSING = RuntimeTraits(name="other", implementation="no_such_framework:Runtime")
