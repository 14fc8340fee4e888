"""Recipes: how well-known programs are started so that they serve one model."""

import shlex
import shutil
from dataclasses import dataclass

import msgspec

from sire.errors import InvalidConfiguration, InvalidModel, shown
from sire.nearest import did_you_mean
from sire.spec import ModelSpec

# Requests at once that a program gets unless a number is given: they batch by themselves.
_CONCURRENCY = 8
TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A program that serves a model over HTTP.

    Attributes:
        program: its name, which is looked for on PATH.
        arguments: of its command line. ``{name}`` is the model's name; ``{path}``, ``{port}`` and
            ``{fraction}`` are replaced by sire when it starts the program.
        on_gpu: arguments that are added where there is a GPU.
        most: the argument for the number of requests at once, which ``{most}`` stands for.
        endpoint: where ``sire predict`` posts inputs.
        install: how to get it.
    """

    program: str
    arguments: str
    on_gpu: str
    most: str
    endpoint: str
    install: str
    health: str = "/health"


RECIPES = {
    "vllm": Recipe(
        program="vllm",
        arguments="serve {path} --served-model-name {name} --host 127.0.0.1 --port {port}",
        on_gpu="--gpu-memory-utilization {fraction}",
        most="--max-num-seqs {most}",
        endpoint="/v1/chat/completions",
        install="pip install vllm",
    ),
    "tgi": Recipe(
        program="text-generation-launcher",
        arguments="--model-id {path} --hostname 127.0.0.1 --port {port}",
        on_gpu="--cuda-memory-fraction {fraction}",
        most="--max-batch-size {most}",
        endpoint="/generate",
        install="see https://github.com/huggingface/text-generation-inference",
    ),
    "llama.cpp": Recipe(
        program="llama-server",
        arguments="-m {path} --alias {name} --host 127.0.0.1 --port {port}",
        on_gpu="",
        most="--parallel {most}",
        endpoint="/v1/chat/completions",
        install="see https://github.com/ggml-org/llama.cpp",
    ),
}
FRAMEWORKS = (*RECIPES, TRANSFORMERS)


def served_by(
    model: ModelSpec, framework: str, *, most: int | None = None, on_gpu: bool = False
) -> ModelSpec:
    """The registration of a model as a framework serves it.

    Args:
        model: as it is registered now; its file, device and options of scheduling stay.
        framework: one of ``FRAMEWORKS``.
        most: requests, or rows, at once; None for the framework's default.
        on_gpu: whether it will be placed on a GPU.

    Raises:
        InvalidConfiguration: there is no such framework, or its program is not installed.
        InvalidModel: the model has no file that it could serve.
    """
    if framework not in FRAMEWORKS:
        raise InvalidConfiguration(
            f"There is no framework {shown(framework)}.",
            hint=f"{did_you_mean(framework, FRAMEWORKS)}Use {', '.join(FRAMEWORKS)}.",
        )
    if not model.path:
        raise InvalidModel(
            f"{model.name} has no file or directory that {framework} could serve.",
            hint="Register one: sire register NAME PATH",
        )
    plain = ModelSpec(
        name=model.name,
        path=model.path,
        device=model.device,
        group=model.group,
        max_memory=model.max_memory,
        keep_alive=model.keep_alive,
        pinned=model.pinned,
        priority=model.priority,
        weight=model.weight,
    )
    if framework == TRANSFORMERS:
        return msgspec.structs.replace(plain, runtime="huggingface", batch_size=most or 1)
    recipe = RECIPES[framework]
    program = shutil.which(recipe.program)
    if program is None:
        raise InvalidConfiguration(
            f"{framework} is not installed: there is no program {recipe.program} on PATH.",
            hint=f"Install it: {recipe.install}",
        )
    cmd = [shlex.quote(program), recipe.arguments.replace("{name}", shlex.quote(model.name))]
    cmd += [recipe.on_gpu] if on_gpu and recipe.on_gpu else []
    cmd += [recipe.most.replace("{most}", str(most))] if most is not None else []
    args = {"cmd": " ".join(cmd), "health": recipe.health, "endpoint": recipe.endpoint}
    return msgspec.structs.replace(
        plain, runtime="command", args=args, concurrency=most or _CONCURRENCY
    )
