"""Determines a model's task by its config, and how models of that task are loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import transformers

from sire.errors import InvalidModel
from sired.runtimes.huggingface.embeddings import Embeddings
from sired.runtimes.huggingface.generate import (
    Summarization,
    Text2TextGeneration,
    TextGeneration,
)
from sired.runtimes.huggingface.images import ImageClassification
from sired.runtimes.huggingface.labels import TextClassification, TokenClassification
from sired.runtimes.huggingface.speech import (
    CtcSpeechRecognition,
    Seq2SeqSpeechRecognition,
)
from sired.runtimes.huggingface.task import Task, TransformersModel


class _Kind(NamedTuple):
    """The transformers class that loads a task's models, and the task that runs them."""

    loads: Any
    runs: Callable[[TransformersModel], Task]


TASKS = {
    "embeddings": _Kind(transformers.AutoModel, Embeddings),
    "text-classification": _Kind(
        transformers.AutoModelForSequenceClassification, TextClassification
    ),
    "token-classification": _Kind(
        transformers.AutoModelForTokenClassification, TokenClassification
    ),
    "text-generation": _Kind(transformers.AutoModelForCausalLM, TextGeneration),
    "summarization": _Kind(transformers.AutoModelForSeq2SeqLM, Summarization),
    "text2text-generation": _Kind(transformers.AutoModelForSeq2SeqLM, Text2TextGeneration),
    "image-classification": _Kind(
        transformers.AutoModelForImageClassification, ImageClassification
    ),
    "automatic-speech-recognition": _Kind(
        transformers.AutoModelForSpeechSeq2Seq, Seq2SeqSpeechRecognition
    ),
    "automatic-speech-recognition-ctc": _Kind(transformers.AutoModelForCTC, CtcSpeechRecognition),
}
_SEQ2SEQ = ("ForConditionalGeneration", "MTModel", "MarianMTModel")
# Tasks by the suffix of the architecture's name.
_ENDINGS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForCTC": "automatic-speech-recognition-ctc",
    "Model": "embeddings",
}


def find_task(wanted: str, config: Any, root: Path) -> str:
    """The name of the task.

    Args:
        wanted: the argument ``task``; "" to determine it.
        config: of the model.
        root: the model's directory.

    Raises:
        InvalidModel: the task cannot be determined.
    """
    if wanted:
        return wanted
    if (root / "modules.json").is_file():
        return "embeddings"
    names = getattr(config, "architectures", None) or ()
    if type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
        return "automatic-speech-recognition"
    if type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING and any(
        name.endswith(_SEQ2SEQ) for name in names
    ):
        specific = getattr(config, "task_specific_params", None) or {}
        return "summarization" if "summarization" in specific else "text2text-generation"
    for ending, task in _ENDINGS.items():
        if any(name.endswith(ending) for name in names):
            return task
    raise InvalidModel(
        f"The task of {root} ({', '.join(names) or 'no architecture stated'}) is not known.",
        hint=f"Specify it: --arg task=…, one of {', '.join(TASKS)}.",
    )
