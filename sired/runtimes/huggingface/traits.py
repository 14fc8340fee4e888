"""What the runtime ``huggingface`` can do."""

from pathlib import Path

import msgspec

from sire.spec import ModelSpec, Signature
from sired.runtimes.huggingface.architectures import check_files, check_packages, choose_task
from sired.runtimes.huggingface.arguments import TransformersOptions, check_options
from sired.runtimes.huggingface.table import INPUTS
from sired.runtimes.traits import FileFormat, RuntimeTraits


def _complete(spec: ModelSpec) -> ModelSpec:
    """Check that a task runs the model with its arguments, and state the inputs of the task.

    A model that can be loaded on the CPU only is placed there by the scheduler.
    """
    root = Path(spec.path)
    check_packages(root)
    task = choose_task(str(spec.args.get("task") or ""), root, spec.args)
    check_options(task, spec.args)
    check_files(task, root, spec.args)
    spec = msgspec.structs.replace(spec, stated=Signature(INPUTS[task.takes]))
    on_cpu = spec.args.get("force_cpu") is True or spec.args.get("dtype") == "int8"
    if on_cpu and spec.device == "auto":
        return msgspec.structs.replace(spec, device="cpu")
    return spec


TRAITS = RuntimeTraits(
    name="huggingface",
    implementation="sired.runtimes.huggingface.runtime:HuggingFaceRuntime",
    arguments=TransformersOptions,
    formats=(
        FileFormat(name="transformers", describes_inputs=True),
        FileFormat(name="diffusers", describes_inputs=True),
    ),
    sleeps=True,
    # transformers takes seconds to import, and its pipelines up to 270 MiB.
    preload="when_registered",
    also_imports=lambda _: ("pytorch",),
    import_bytes=270 << 20,
    on_register=_complete,
)
