"""What the runtime ``onnx`` can do."""

from sired.runtimes.onnx.arguments import OnnxOptions
from sired.runtimes.traits import FileFormat, RuntimeTraits

TRAITS = RuntimeTraits(
    name="onnx",
    implementation="sired.runtimes.onnx.runtime:OnnxRuntime",
    arguments=OnnxOptions,
    memory_arguments=frozenset({"provider_options"}),
    formats=(FileFormat(name="onnx", describes_inputs=True),),
    concurrent=True,
    streams_files=True,
    accepts_dummy_input=True,
    preload="always",
)
