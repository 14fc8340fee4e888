"""Which generator a model needs."""

from sire.errors import InvalidInput
from sire.protocol.replies import ModelInfo
from sired.gateway.generation.huggingface import HuggingFaceGenerator
from sired.gateway.generation.ollama import OllamaGenerator
from sired.gateway.generation.program import ProgramGenerator
from sired.gateway.generation.request import Generator
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels


class Generators:
    """The generators of all models that are served."""

    def __init__(self, models: ServedModels, forwarder: Forwarder) -> None:
        self.models = models
        self._by_runtime: dict[str, Generator] = {
            "huggingface": HuggingFaceGenerator(models.daemon),
            "ollama": OllamaGenerator(models.daemon),
        }
        self._of_programs = ProgramGenerator(models.daemon, forwarder)

    async def of(self, name: str) -> Generator:
        """The generator of a model.

        Raises:
            ModelNotFound: it is not registered, or not served.
            InvalidInput: its runtime does not generate text.
        """
        return self.of_model(await self.models.show(name))

    def of_model(self, info: ModelInfo) -> Generator:
        """The generator of a model whose state is known; raises as ``of``."""
        if info.serves_http:
            return self._of_programs
        if (found := self._by_runtime.get(info.model.runtime)) is not None:
            return found
        raise InvalidInput(
            f"{info.model.name} is a model of the runtime {info.model.runtime}, which does not "
            "generate text.",
            hint=f"Models that do are programs, and those of {' and '.join(self._by_runtime)}.",
            param="model",
        )
