"""What the runtime ``huggingface`` can do."""

import msgspec

from sire.spec import ModelSpec
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.traits import FileFormat, RuntimeTraits


def _choose_device(spec: ModelSpec) -> ModelSpec:
    """Have the scheduler place a model on the CPU that is to be loaded there in any case."""
    if spec.args.get("force_cpu") is True and spec.device == "auto":
        return msgspec.structs.replace(spec, device="cpu")
    return spec


TRAITS = RuntimeTraits(
    name="huggingface",
    implementation="sired.runtimes.huggingface.runtime:HuggingFaceRuntime",
    arguments=TransformersOptions,
    formats=(FileFormat(name="transformers", describes_inputs=True),),
    sleeps=True,
    # transformers takes seconds to import, and a hundred megabytes.
    preload="when_registered",
    on_register=_choose_device,
)
