"""Which generator a model needs."""

from sire.client.aio.connection import AsyncConnection
from sire.errors import InvalidInput
from sire.protocol.replies import ModelInfo
from sired.gateway.generation.huggingface import HuggingFaceGenerator
from sired.gateway.generation.ollama import OllamaGenerator
from sired.gateway.generation.program import ProgramGenerator
from sired.gateway.generation.request import Generator
from sired.gateway.programs.forwarding import Forwarder


class Generators:
    """The generators of all models.

    Args:
        daemon: has the models.
        forwarder: sends requests to programs.
    """

    def __init__(self, daemon: AsyncConnection, forwarder: Forwarder) -> None:
        self._by_runtime: dict[str, Generator] = {
            "huggingface": HuggingFaceGenerator(daemon),
            "ollama": OllamaGenerator(daemon),
        }
        self._of_programs = ProgramGenerator(daemon, forwarder)

    def of_model(self, info: ModelInfo) -> Generator:
        """The generator of a model.

        Raises:
            InvalidInput: its runtime does not generate text.
        """
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
