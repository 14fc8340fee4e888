"""What the runtime ``python`` can do."""

from sire.errors import InvalidModel
from sire.spec import ModelSpec
from sired.runtimes.class_source import mentions
from sired.runtimes.traits import RuntimeTraits

SOURCE = ".py"


def _check_class(spec: ModelSpec) -> ModelSpec:
    """Ensure that a class is given, unless the model's file is one to look for it in."""
    if spec.model_class is None and not spec.path.endswith(SOURCE):
        raise InvalidModel(
            f"No class is given to load {spec.path or spec.name}.",
            hint="Specify it: --class module:Class or --class file.py:Class, with --arg k=v for "
            "its constructor.",
        )
    return spec


def _frameworks(spec: ModelSpec) -> tuple[str, ...]:
    """PyTorch takes a second to import; of other frameworks nothing is imported ahead."""
    return ("pytorch",) if mentions(spec, "torch") else ()


TRAITS = RuntimeTraits(
    name="python",
    implementation="sired.runtimes.python.runtime:PythonRuntime",
    class_arguments=True,
    memory_arguments=frozenset({"compile", "dtype", "provider_options"}),
    suffixes=(SOURCE,),
    file="optional",
    concurrent=True,
    estimates=True,
    sleeps=True,
    preload="always",
    also_imports=_frameworks,
    on_register=_check_class,
)
