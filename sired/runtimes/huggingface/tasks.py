"""Which task a model is for, by its config, and what it is loaded as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import transformers

from sire.errors import InvalidModel
from sired.runtimes.huggingface.embeddings import Embeddings
from sired.runtimes.huggingface.generate import Continuation, Rewriting, Summary
from sired.runtimes.huggingface.labels import TextClassification, TokenClassification
from sired.runtimes.huggingface.pictures import ImageClassification
from sired.runtimes.huggingface.speech import Dictation, Transcription
from sired.runtimes.huggingface.task import Task, TransformersModel


class _Kind(NamedTuple):
    """The transformers class that loads a task's models, and what runs them."""

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
    "text-generation": _Kind(transformers.AutoModelForCausalLM, Continuation),
    "summarization": _Kind(transformers.AutoModelForSeq2SeqLM, Summary),
    "text2text-generation": _Kind(transformers.AutoModelForSeq2SeqLM, Rewriting),
    "image-classification": _Kind(
        transformers.AutoModelForImageClassification, ImageClassification
    ),
    "automatic-speech-recognition": _Kind(transformers.AutoModelForSpeechSeq2Seq, Dictation),
    "automatic-speech-recognition-ctc": _Kind(transformers.AutoModelForCTC, Transcription),
}
_SEQ2SEQ = ("ForConditionalGeneration", "MTModel", "MarianMTModel")
# What the name of an architecture ends in.
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
    """The name of the task: the one wanted, or what the directory says.

    Raises:
        InvalidModel: there is none of that name, or nothing is said.
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
        said = getattr(config, "task_specific_params", None) or {}
        return "summarization" if "summarization" in said else "text2text-generation"
    for ending, task in _ENDINGS.items():
        if any(name.endswith(ending) for name in names):
            return task
    raise InvalidModel(
        f"{root} is a {', '.join(names) or 'model of no named kind'}, whose task is not known.",
        hint=f"Specify it: --arg task=…, one of {', '.join(TASKS)}.",
    )
