"""What runs each task: a class of this package, or a pipeline of transformers."""

from collections.abc import Callable
from typing import Any

import transformers

from sire.errors import InvalidModel
from sired.runtimes.huggingface.architectures import architectures_of
from sired.runtimes.huggingface.embeddings import Embeddings
from sired.runtimes.huggingface.generate import (
    Summarization,
    Text2TextGeneration,
    TextGeneration,
    Translation,
)
from sired.runtimes.huggingface.images import ImageClassification, ImageToText
from sired.runtimes.huggingface.labels import TextClassification, TextRanking
from sired.runtimes.huggingface.objects import OBJECT_TASKS
from sired.runtimes.huggingface.pipelines import PIPELINES, PipelineTask
from sired.runtimes.huggingface.questions import QuestionAnswering
from sired.runtimes.huggingface.table import TaskTraits
from sired.runtimes.huggingface.task import Task, TransformersModel

_CLASSES: dict[str, Callable[[TransformersModel], Task]] = {
    "embeddings": Embeddings,
    "text-classification": TextClassification,
    "text-ranking": TextRanking,
    "question-answering": QuestionAnswering,
    "text-generation": TextGeneration,
    "summarization": Summarization,
    "translation": Translation,
    "text2text-generation": Text2TextGeneration,
    "image-classification": ImageClassification,
    "image-to-text": ImageToText,
}


def task_for(made: TransformersModel) -> Task:
    """What runs a model's task.

    Raises:
        InvalidModel: a file of the model or an argument does not fit the task.
    """
    known = {**PIPELINES, **OBJECT_TASKS, **_CLASSES}
    return known.get(made.task.name, PipelineTask)(made)


def model_class(task: TaskTraits, config: Any) -> Any:
    """The class of transformers that loads a model for a task.

    It is the architecture that the config states, if the task runs it, and else the first class of
    the task that knows the type of the model.

    Raises:
        InvalidModel: no class of the task does.
    """
    names = {name for known in architectures_of(task).values() for name in known}
    for name in getattr(config, "architectures", None) or ():
        if name in names and hasattr(transformers, name):
            return getattr(transformers, name)
    code = getattr(config, "auto_map", None) or {}
    for name in (*task.models, *task.on_request):
        kind = getattr(transformers, name)
        if name in code or type(config) in kind._model_mapping:  # noqa: SLF001 (it has no other)
            return kind
    raise InvalidModel(
        f"No {type(config).__name__.removesuffix('Config')} model is run for the task {task.name}."
    )
