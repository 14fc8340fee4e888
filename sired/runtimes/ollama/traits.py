"""What the runtime ``ollama`` can do."""

import hashlib

import msgspec

from sire.spec import ModelSpec
from sired.runtimes.arguments import read_arguments
from sired.runtimes.ollama.arguments import OllamaOptions
from sired.runtimes.ollama.server import Ollama
from sired.runtimes.traits import RuntimeTraits


def _look_up(spec: ModelSpec) -> ModelSpec:
    """Complete a model with its size and digest, as the server reports them."""
    spec = msgspec.structs.replace(spec, args={"model": spec.name, **spec.args})
    options = read_arguments(OllamaOptions, spec.args, "The runtime ollama")
    found = Ollama(options.host).find(options.model)
    content = repr((found.digest, sorted(options.options.items())))
    return msgspec.structs.replace(
        spec,
        format="gguf",
        weight_bytes=found.size,
        fingerprint=hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32],
    )


TRAITS = RuntimeTraits(
    name="ollama",
    implementation="sired.runtimes.ollama.runtime:OllamaRuntime",
    arguments=OllamaOptions,
    file="none",
    out_of_process=True,
    concurrent=True,
    batches=False,
    preload="always",
    on_register=_look_up,
)
