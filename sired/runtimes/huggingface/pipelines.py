"""Runs tasks by the pipelines of transformers."""

from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers.pipelines.base import PipelineException

from sire.errors import InvalidInput, InvalidModel, error_text
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.items import (
    pictures_in,
)
from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.sound import Recordings
from sired.runtimes.huggingface.table import ITEMS, SOUND, TEXTS
from sired.runtimes.huggingface.task import Task, TransformersModel, object_array, texts_in
from sired.runtimes.huggingface.text import TRIAL
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.comparison import alike

_ANSWERS = (TensorSpec("", "object", (-1,)),)
# Of tasks whose requests never run together.
_ANSWER = (TensorSpec("", "object", ()),)
SIDE = 32
# What a pipeline may need: the attribute that says so, its class, and its parameter's name.
_PARTS = (
    ("_load_tokenizer", transformers.AutoTokenizer, "tokenizer"),
    ("_load_image_processor", transformers.AutoImageProcessor, "image_processor"),
    ("_load_feature_extractor", transformers.AutoFeatureExtractor, "feature_extractor"),
    ("_load_processor", transformers.AutoProcessor, "processor"),
)


def build(made: TransformersModel, **options: Any) -> Any:
    """The pipeline of a model's task, with the tokenizer and processors in its directory.

    Args:
        made: the model.
        **options: parameters of the pipeline, besides those of generation.

    Raises:
        InvalidModel: a file is missing or damaged, or the pipeline does not take an option.
    """
    kind = getattr(transformers, made.task.pipeline)
    parts = {}
    for needed, loads, name in _PARTS:
        if getattr(kind, needed) is not False:
            part = _part(made, loads, required=bool(getattr(kind, needed)))
            if part is not None:
                parts[name] = part
    given = {**options, **(made.options.generation if made.task.generates else {})}
    try:
        return kind(model=made.model, task=made.task.name, device=made.device, **parts, **given)
    except (ValueError, TypeError, KeyError, ImportError, PipelineException) as problem:
        raise InvalidModel(
            f"{made.directory} cannot be run for {made.task.name}: {error_text(problem)}"
        ) from None


def _part(made: TransformersModel, kind: Any, *, required: bool) -> Any:
    try:
        return load_beside(kind, made)
    except InvalidModel:
        if required:
            raise
        return None


class PipelineTask(Task):
    """Runs a pipeline on each text, picture or recording of a request.

    Rows that are not known to be independent of each other run one by one, whatever ``rows`` says.
    """

    def __init__(self, made: TransformersModel) -> None:
        self._task = made.task
        self._options = made.options.of_task(made.task.options - {"rows"})
        self._pipe = build(made, **self._pipeline_options(self._options))
        taken = TEXTS if made.task.takes == "texts" else ITEMS
        alone = made.task.one_by_one or made.options.quantized
        self.signature = Signature((taken,), _ANSWER if alone else _ANSWERS)
        self._rows = 1 if alone else made.options.rows
        self._precision = next(made.model.parameters()).element_size()
        if self._rows > 1 and not self._proven():
            self._rows = 1

    def run(self, data: Any) -> Any:
        """The pipeline's answer to each item, object[items]."""
        items = self._items(data)
        with _InputErrors():
            if self._rows > 1 and len(items) > 1:
                answers = self._pipe(items, batch_size=self._rows)
            else:
                answers = [self._run_one(item) for item in items]
        pairs = zip(items, answers, strict=True)
        return object_array(self._finished(item, plain_answer(answer)) for item, answer in pairs)

    def sample(self) -> Any:
        """One word, or a small black picture."""
        if self._task.takes == "texts":
            return self._trial()[0]
        return np.zeros((SIDE, SIDE, 3), np.uint8)

    def _pipeline_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options that the pipeline is made with, by those of the task."""
        return given

    def _items(self, data: Any) -> list[Any]:
        return texts_in(data) if self._task.takes == "texts" else pictures_in(data)

    def _run_one(self, item: Any) -> Any:
        return self._pipe(item)

    def _finished(self, item: Any, answer: Any) -> Any:  # noqa: ARG002 (some need the item)
        """The answer in the form that the task's table states."""
        return answer

    def _trial(self) -> list[Any]:
        """Texts of different lengths."""
        return list(TRIAL)

    def _proven(self) -> bool:
        """Whether padded rows have the answers in one pass that they have alone."""
        texts = self._trial()
        try:
            alone = [self._pipe(text) for text in texts]
            together = self._pipe(texts, batch_size=len(texts))
        except Exception as problem:
            if is_out_of_memory(problem):
                raise
            return False
        return alike(plain_answer(together), plain_answer(alone), self._precision)


class _InputErrors:
    """Reports what a pipeline rejects in its input as an invalid input."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, PipelineException):
            raise InvalidInput(f"The model cannot take the input: {problem}") from None


class FillMask(PipelineTask):
    """Fills the masks of texts."""

    def _trial(self) -> list[Any]:
        return [f"{text} {self._pipe.tokenizer.mask_token}" for text in TRIAL]

    def _run_one(self, item: Any) -> Any:
        mask = self._pipe.tokenizer.mask_token
        if mask not in item:
            raise InvalidInput(
                "The text has no mask.", hint=f"Write {mask} in place of the missing word."
            )
        return super()._run_one(item)


class TokenClassification(PipelineTask):
    """Labels the tokens of texts, such as named entities."""

    def _finished(self, item: Any, answer: Any) -> Any:
        """A list of objects with ``entity``, ``score``, ``text``, ``start`` and ``end``."""
        return [
            {
                "entity": one.get("entity_group", one.get("entity")),
                "score": one["score"],
                "text": item[one["start"] : one["end"]] if one["end"] else one["word"],
                "start": one["start"],
                "end": one["end"],
            }
            for one in answer
        ]


class Features(PipelineTask):
    """The last hidden states of each item, or one vector of a picture."""

    def _pipeline_options(self, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "return_tensors": True}

    def _finished(self, item: Any, answer: Any) -> Any:  # noqa: ARG002
        return answer[0]


class SoundTask(PipelineTask):
    """Runs a pipeline on one recording at a time."""

    def __init__(self, made: TransformersModel) -> None:
        super().__init__(made)
        self._recordings = Recordings(int(self._pipe.feature_extractor.sampling_rate))
        self.signature = Signature(SOUND, _ANSWER)

    def run(self, data: Any) -> Any:
        """The answer to ``samples``, float32[samples] in -1..1, at ``sampling_rate`` in Hz."""
        samples = self._recordings.samples_of(data)
        with _InputErrors():
            return self._finished(data, plain_answer(self._run_one(samples)))

    def sample(self) -> Any:
        """One second of silence."""
        return self._recordings.silence()


class SpeechRecognition(SoundTask):
    """Transcribes recordings; long ones by windows or chunks."""

    def __init__(self, made: TransformersModel) -> None:
        super().__init__(made)
        self._timestamps = made.options.of_task({"return_timestamps"}).get("return_timestamps")
        extractor = self._pipe.feature_extractor
        windows = made.config.model_type == "whisper" and "chunk_length_s" not in self._options
        self._window = int(extractor.n_samples) if windows else None
        text = TensorSpec("", "string", ())
        self.signature = Signature(SOUND, _ANSWER if self._timestamps else (text,))
        if made.config.model_type == "whisper":
            self._have_decoded(made)

    def _have_decoded(self, made: TransformersModel) -> None:
        """Let a tokenizer that is not Whisper's own decode tokens for the pipeline.

        Raises:
            InvalidModel: timestamps or chunks are wanted, which only Whisper's own knows of.
        """
        tokenizer = self._pipe.tokenizer
        if hasattr(tokenizer, "_decode_asr"):
            return
        if self._timestamps or "chunk_length_s" in self._options:
            raise InvalidModel(
                f"{made.directory} has no WhisperTokenizer, which timestamps and chunks require."
            )

        def decode(outputs: list[dict[str, Any]], **_: Any) -> tuple[str, dict[str, Any]]:
            rows = [row for one in outputs for row in one["tokens"]]
            return "".join(tokenizer.decode(row, skip_special_tokens=True) for row in rows), {}

        tokenizer._decode_asr = decode  # noqa: SLF001 (the pipeline calls it)

    def _run_one(self, item: Any) -> Any:
        if self._window is None or len(item) <= self._window or self._timestamps:
            return self._pipe(item)
        # Whisper finds the end of what it has transcribed of a window by timestamps.
        config = self._pipe.model.generation_config
        if getattr(config, "no_timestamps_token_id", None) is None:
            rate = self._recordings.rate
            raise InvalidInput(
                f"The recording has {len(item) / rate:.1f} s; this model, which has no timestamps, "
                f"takes up to {self._window / rate:g} s.",
                hint="Have it processed in chunks: --arg chunk_length_s=30",
            )
        return self._pipe(item, return_timestamps=True)

    def _finished(self, item: Any, answer: Any) -> Any:  # noqa: ARG002
        return answer if self._timestamps else answer["text"]


class TextToAudio(PipelineTask):
    """Speaks texts, or plays what they describe."""

    def run(self, data: Any) -> Any:
        """One recording, or an object array of several."""
        answers = super().run(data)
        return answers[0] if len(answers) == 1 else answers

    def _finished(self, item: Any, answer: Any) -> Any:  # noqa: ARG002
        samples = np.asarray(answer["audio"], np.float32)
        if samples.ndim > 1:  # [channels, samples]
            samples = np.ascontiguousarray(samples.T)
        return {"samples": samples, "sampling_rate": int(answer["sampling_rate"])}


def plain_answer(value: Any) -> Any:
    """An answer of a pipeline with arrays in place of tensors and pictures."""
    if isinstance(value, Image.Image):
        return np.asarray(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    if isinstance(value, dict):
        return {name: plain_answer(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_answer(item) for item in value]
    if isinstance(value, float):
        # Most are float32, which has fewer digits in JSON.
        short = np.float32(value)
        return short if float(short) == value else value
    return value


PIPELINES = {
    "fill-mask": FillMask,
    "token-classification": TokenClassification,
    "image-feature-extraction": Features,
    "feature-extraction": Features,
    "audio-classification": SoundTask,
    "automatic-speech-recognition": SpeechRecognition,
    "text-to-audio": TextToAudio,
}
