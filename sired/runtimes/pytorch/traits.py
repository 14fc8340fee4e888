"""What the runtime ``pytorch`` can do."""

from sire.errors import InvalidModel
from sire.spec import ModelSpec
from sired.runtimes.pytorch.arguments import TorchOptions
from sired.runtimes.traits import FileFormat, RuntimeTraits


def _check_compile(spec: ModelSpec) -> ModelSpec:
    """Ensure that the inputs of a model that is compiled when it is loaded are known by then."""
    if spec.args.get("compile") is not True:
        return spec
    if not spec.signature.inputs and spec.warmup is None and spec.format != "exported":
        raise InvalidModel(
            f"{spec.name} is to be compiled when it is loaded, but its inputs are not declared.",
            hint="Declare them, with -1 for axes of any length: --input 'float32[-1,4]'; or give "
            "an example: --warmup FILE",
        )
    return spec


# Programs leave only some of the options open; the others were fixed when they were exported.
TRAITS = RuntimeTraits(
    name="pytorch",
    implementation="sired.runtimes.pytorch.runtime:PyTorchRuntime",
    arguments=TorchOptions,
    class_arguments=True,
    memory_arguments=frozenset({"compile", "dtype"}),
    formats=(
        FileFormat(name="safetensors", takes_class=True, needs_class=True, checks=True),
        FileFormat(
            name="state_dict", takes_class=True, needs_class=True, estimates=True, checks=True
        ),
        FileFormat(
            name="pickle",
            takes_class=True,
            needs_trust="without_class",
            estimates=True,
            checks=True,
        ),
        FileFormat(
            name="exported",
            needs_trust="always",
            describes_inputs=True,
            arguments=frozenset({"compile", "cudnn_benchmark"}),
        ),
        FileFormat(name="aoti", needs_trust="always", arguments=frozenset({"cudnn_benchmark"})),
        FileFormat(
            name="torchscript",
            needs_trust="always",
            arguments=frozenset({"channels_last", "cudnn_benchmark", "dtype"}),
        ),
    ),
    concurrent=True,
    streams_files=True,
    checks=True,
    estimates=True,
    accepts_dummy_input=True,
    sleeps=True,
    # ONNX Runtime uses the CUDA libraries that PyTorch loads.
    preload="first",
    on_register=_check_compile,
)
