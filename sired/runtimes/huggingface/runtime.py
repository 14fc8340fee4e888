"""The runtime: loads Hugging Face directories with transformers."""

import importlib
import itertools
import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sire.errors import Cancelled, LoadFailed
from sire.model_directory import PIPELINE, is_adapter, model_directory
from sired.runtimes.arguments import own_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.huggingface import loading
from sired.runtimes.huggingface.adapters import Adapter
from sired.runtimes.huggingface.architectures import (
    check_packages,
    choose_task,
    directory_beside,
)
from sired.runtimes.huggingface.arguments import (
    TransformersOptions,
    check_options,
    read_options,
)
from sired.runtimes.huggingface.task import Task, TransformersModel
from sired.runtimes.huggingface.tasks import model_class, task_for
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.pytorch.gpu_limit import limit_allocations
from sired.runtimes.pytorch.model import TorchModel, common_precision
from sired.runtimes.pytorch.runtime import PyTorchRuntime
from sired.runtimes.wanted import check_wanted, running

log = logging.getLogger("sired.worker")

# A first token takes other kernels than those that follow it, and each pass of a beam search too.
_WARM_UP_PASSES = 4


@dataclass(frozen=True, slots=True)
class TaskModel(TorchModel):
    """A loaded module, and the task that it is run for."""

    task: Task | None = None


class HuggingFaceRuntime(PyTorchRuntime):
    """Runs models that transformers can load, for the task that their config states."""

    # transformers reads the files, so nothing of what the base class does about them applies.
    check_arguments = InferenceRuntime.check_arguments
    check_files = InferenceRuntime.check_files
    estimate = InferenceRuntime.estimate
    prepare = InferenceRuntime.prepare  # texts, pictures and sounds become tensors in the task
    streams_files = InferenceRuntime.streams_files
    accepts_dummy_input = InferenceRuntime.accepts_dummy_input  # ``warmup`` has a better input

    def load(self, model_path: str, **kwargs: Any) -> TaskModel:
        """Load a model; see ``InferenceRuntime.load``.

        Nothing is downloaded. Code that comes with a model runs only if ``trusted``.
        """
        options, trusted = read_options(kwargs), bool(kwargs.get("trusted", False))
        device = _device(kwargs.get("device", "cpu"), options)
        limit_allocations(device, self.memory_limit)
        root = Path(model_path)
        arguments = own_arguments(kwargs)
        if (root / PIPELINE).is_file():
            return self._load_pipeline(root, arguments, options, device)
        directory = str(model_directory(root, arguments))
        config = loading.read_config(directory, trusted=trusted)
        task = choose_task(options.task, root, arguments)
        check_options(task, arguments)
        adapter = Adapter(root) if is_adapter(root) else None
        if adapter is not None:
            adapter.prepare(config)
        module = loading.load_weights(
            model_class(task, config),
            directory,
            config,
            options,
            trusted=trusted,
            needs_pooler=task.head or options.pool,
            replaced=() if adapter is None else adapter.replaced,
        )
        if adapter is not None:
            adapter.apply(module)
        if options.quantized:
            module = loading.quantize(module, device)
        module = module.to(device)
        module.register_forward_pre_hook(_check_wanted)
        beside = str(directory_beside(root, arguments))
        made = TransformersModel(module, config, beside, model_path, device, options, task, trusted)
        with torch.inference_mode():
            running = task_for(made)
        return _running(running, [module, *running.layers], device)

    @staticmethod
    def _load_pipeline(
        root: Path, arguments: dict[str, Any], options: TransformersOptions, device: torch.device
    ) -> TaskModel:
        """Load a pipeline of diffusers."""
        check_packages(root)
        check_options(choose_task(options.task, root, arguments), arguments)
        # diffusers is an extra of its own.
        images = importlib.import_module("sired.runtimes.huggingface.text_to_image")
        drawing = images.TextToImage(images.load_pipeline(root, options, device), options)
        return _running(drawing, drawing.layers, device)

    def predict(self, model: TorchModel, data: Any) -> Any:
        """Run the model's task once; see ``InferenceRuntime.predict``."""
        assert isinstance(model, TaskModel)
        assert model.task is not None
        with torch.inference_mode():
            return model.task.run(data)

    def stream(self, model: TorchModel, data: Any) -> Generator[Any, None, None]:
        """Run the model's task once, and yield its output as it is generated."""
        assert isinstance(model, TaskModel)
        assert model.task is not None
        yield from model.task.stream(data)

    def warmup(self, model: TorchModel) -> None:
        """Run the smallest possible input, so that kernels are selected and buffers allocated.

        It is not the input of a user, so a model that does not take it is loaded all the same, and
        one that generates is stopped after a few of the passes that it may be allowed.
        """
        assert isinstance(model, TaskModel)
        assert model.task is not None
        passes = itertools.count(1)
        try:
            with running(lambda: next(passes) <= _WARM_UP_PASSES):
                self.predict(model, model.task.sample())
        except Cancelled:
            pass
        except Exception as problem:
            if is_out_of_memory(problem):
                raise
            reason = " ".join(str(problem).split())[:300]
            log.info("not warmed up: it failed on a sample: %s: %s", type(problem).__name__, reason)


def _running(task: Task, modules: Sequence[torch.nn.Module], device: torch.device) -> TaskModel:
    """A model that runs a task with these modules."""
    whole = torch.nn.ModuleList(modules)
    return TaskModel(
        call=whole,
        device=device,
        arrange=lambda data: ((data,), {}),
        weight_bytes=loading.memory_bytes(whole),
        precision=common_precision(whole.parameters()),
        signature=task.signature,
        task=task,
    )


def _check_wanted(*_: Any) -> None:
    """Cut a request short whose answer is not wanted any more: before each pass, and each token.

    Raises:
        Cancelled: it is not wanted.
    """
    check_wanted()


def _device(wanted: str, options: TransformersOptions) -> torch.device:
    if options.force_gpu and not wanted.startswith("cuda"):
        raise LoadFailed(
            "The model was registered with force_gpu, but was placed on the CPU.",
            hint="Register it with --device and the name of a GPU, or without force_gpu.",
        )
    return torch.device("cpu" if options.force_cpu else wanted)
