"""The tasks that models can be run for: what each takes and answers, and which options it has.

The daemon reads it when a model is registered, so nothing here imports transformers. The reference
page ``docs/reference/huggingface-tasks.md`` is compared with it.
"""

from dataclasses import dataclass
from typing import Literal

from sire.errors import InvalidModel, shown
from sire.nearest import did_you_mean
from sire.spec import TensorSpec

Taken = Literal["texts", "prompts", "pairs", "pictures", "sound", "objects"]

TEXTS = TensorSpec("text", "string", (-1,))
# Texts, pictures, or objects with named fields.
ITEMS = TensorSpec("", "object", (-1,))
SOUND = (TensorSpec("samples", "float32", (-1,)), TensorSpec("sampling_rate", "int64", ()))
# The inputs of a model, by what its task takes.
INPUTS: dict[Taken, tuple[TensorSpec, ...]] = {
    "texts": (TEXTS,),
    "prompts": (ITEMS,),
    "pairs": (ITEMS,),
    "pictures": (ITEMS,),
    "sound": SOUND,
    "objects": (ITEMS,),
}
# Options that are accepted for every task.
COMMON = frozenset({"task", "base", "dtype", "force_cpu", "force_gpu"})
_TEXT = frozenset({"rows", "max_input_tokens"})
_LABELS = frozenset({"rows", "top_k"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTraits:
    """One task.

    Attributes:
        name: as ``--arg task=`` and Hugging Face's hub call it.
        models: transformers' ``AutoModelFor…`` classes that load its models.
        takes: what a request contains. ``texts`` and ``pictures`` are one or several;
            ``prompts`` are texts, or objects as ``prompts.Prompt`` describes; ``sound`` is
            one recording; ``objects`` are JSON objects with the ``fields``.
        answer: what is answered for each, in words.
        pipeline: the pipeline of transformers that runs it; "" if this package does.
        on_request: classes of models that it runs only if it is asked for.
        fields: of an object, the required ones first. A request that is only a text or a picture
            is the first of them.
        required: number of fields without a default.
        options: the arguments that apply to it, besides ``COMMON`` and those of generation.
        generates: whether the fields of ``GenerationConfig`` are arguments as well.
        one_by_one: whether rows never share a forward pass.
        head: whether its models have weights that models of other tasks lack.
    """

    name: str
    models: tuple[str, ...]
    takes: Taken
    answer: str
    pipeline: str = ""
    on_request: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    required: int = 1
    options: frozenset[str] = frozenset()
    generates: bool = False
    one_by_one: bool = False
    head: bool = True


_LABELLED = "`label` and `score`; with `top_k` above 1, as many of both, the most likely first"
_DRAWN = (
    *("negative_prompt", "num_inference_steps", "guidance_scale"),
    *("height", "width", "seed"),
)
_LISTED = "a list of objects with `score` and `label`, the most likely first"

# In the order in which an architecture that several tasks can run is assigned to them.
_TASKS = (
    TaskTraits(
        name="text-classification",
        models=("AutoModelForSequenceClassification",),
        takes="pairs",
        answer=_LABELLED,
        fields=("text", "text_pair"),
        options=_TEXT | _LABELS | {"function_to_apply"},
    ),
    TaskTraits(
        name="text-ranking",
        models=("AutoModelForSequenceClassification",),
        takes="objects",
        answer="a list of objects with `index` and `score`, the best document first",
        fields=("query", "documents"),
        required=2,
        options=_TEXT | {"top_k"},
    ),
    TaskTraits(
        name="zero-shot-classification",
        models=("AutoModelForSequenceClassification",),
        takes="objects",
        answer="an object with `labels` and `scores`, the most likely first",
        pipeline="ZeroShotClassificationPipeline",
        fields=("text", "candidate_labels", "hypothesis_template", "multi_label"),
        required=2,
        options=frozenset({"candidate_labels", "hypothesis_template", "multi_label"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="token-classification",
        models=("AutoModelForTokenClassification",),
        takes="texts",
        answer="a list of objects with `entity`, `score`, `text`, `start` and `end` (characters)",
        pipeline="TokenClassificationPipeline",
        options=frozenset({"rows", "aggregation_strategy", "stride"}),
    ),
    TaskTraits(
        name="document-question-answering",
        models=("AutoModelForDocumentQuestionAnswering",),
        on_request=("AutoModelForImageTextToText",),
        takes="objects",
        answer="a list of objects with `answer`, and, if the model finds it in the words, `score`, "
        "`start` and `end` (words)",
        pipeline="DocumentQuestionAnsweringPipeline",
        fields=("image", "question", "word_boxes"),
        required=2,
        options=frozenset({"top_k", "max_answer_len", "doc_stride", "handle_impossible_answer"}),
        generates=True,
        one_by_one=True,
    ),
    TaskTraits(
        name="question-answering",
        models=("AutoModelForQuestionAnswering",),
        takes="objects",
        answer="an object with `answer`, `score`, `start` and `end` (characters of the context); "
        "with `top_k` above 1, a list of them",
        fields=(
            *("question", "context"),
            *("top_k", "max_answer_len", "doc_stride", "handle_impossible_answer"),
        ),
        required=2,
        options=frozenset({"top_k", "max_answer_len", "doc_stride", "handle_impossible_answer"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="fill-mask",
        models=("AutoModelForMaskedLM",),
        takes="texts",
        answer="a list of objects with `score`, `token`, `token_str` and `sequence`, the most "
        "likely first; a list of such lists if the text has several masks",
        pipeline="FillMaskPipeline",
        options=frozenset({"rows", "top_k", "targets"}),
        head=False,
    ),
    TaskTraits(
        name="image-to-text",
        models=("AutoModelForImageTextToText",),
        takes="pictures",
        answer="the text",
        generates=True,
        one_by_one=True,
    ),
    TaskTraits(
        name="image-text-to-text",
        models=("AutoModelForImageTextToText",),
        takes="objects",
        answer="the generated text",
        pipeline="ImageTextToTextPipeline",
        fields=("image", "text", "images", "messages"),
        required=0,
        generates=True,
        one_by_one=True,
    ),
    TaskTraits(
        name="text-generation",
        models=("AutoModelForCausalLM",),
        takes="prompts",
        answer="the generated text, without the prompt; to an object, one with `text`, "
        "`finish_reason`, `prompt_tokens` and `completion_tokens`",
        options=_TEXT | {"chat"},
        generates=True,
        head=False,
    ),
    TaskTraits(
        name="summarization",
        models=("AutoModelForSeq2SeqLM",),
        takes="texts",
        answer="the generated text",
        options=_TEXT,
        generates=True,
        head=False,
    ),
    TaskTraits(
        name="translation",
        models=("AutoModelForSeq2SeqLM",),
        takes="texts",
        answer="the generated text",
        options=_TEXT | {"src_lang", "tgt_lang"},
        generates=True,
        head=False,
    ),
    TaskTraits(
        name="text2text-generation",
        models=("AutoModelForSeq2SeqLM",),
        takes="texts",
        answer="the generated text",
        options=_TEXT,
        generates=True,
        head=False,
    ),
    TaskTraits(
        name="image-classification",
        models=("AutoModelForImageClassification",),
        takes="pictures",
        answer=_LABELLED,
        options=_LABELS | {"function_to_apply"},
    ),
    TaskTraits(
        name="zero-shot-image-classification",
        models=("AutoModelForZeroShotImageClassification",),
        takes="objects",
        answer=_LISTED,
        pipeline="ZeroShotImageClassificationPipeline",
        fields=("image", "candidate_labels", "hypothesis_template"),
        required=2,
        options=frozenset({"candidate_labels", "hypothesis_template"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="object-detection",
        models=("AutoModelForObjectDetection",),
        takes="pictures",
        answer="a list of objects with `score`, `label` and `box`: `xmin`, `ymin`, `xmax`, `ymax` "
        "in pixels",
        pipeline="ObjectDetectionPipeline",
        options=frozenset({"threshold"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="zero-shot-object-detection",
        models=("AutoModelForZeroShotObjectDetection",),
        takes="objects",
        answer="as for `object-detection`",
        pipeline="ZeroShotObjectDetectionPipeline",
        fields=("image", "candidate_labels", "threshold", "top_k"),
        required=2,
        options=frozenset({"candidate_labels", "threshold", "top_k"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="image-segmentation",
        models=(
            "AutoModelForImageSegmentation",
            "AutoModelForSemanticSegmentation",
            "AutoModelForInstanceSegmentation",
            "AutoModelForUniversalSegmentation",
        ),
        takes="pictures",
        answer="a list of objects with `score` (null if the model has none), `label` and `mask`: "
        "uint8[height, width], 255 where the label is",
        pipeline="ImageSegmentationPipeline",
        options=frozenset(
            {"subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"}
        ),
        one_by_one=True,
    ),
    TaskTraits(
        name="depth-estimation",
        models=("AutoModelForDepthEstimation",),
        takes="pictures",
        answer="an object with `predicted_depth`, float32[height, width], and `depth`, the same "
        "scaled to uint8",
        pipeline="DepthEstimationPipeline",
        one_by_one=True,
    ),
    TaskTraits(
        name="audio-classification",
        models=("AutoModelForAudioClassification",),
        takes="sound",
        answer=_LISTED,
        pipeline="AudioClassificationPipeline",
        options=frozenset({"top_k", "function_to_apply"}),
        one_by_one=True,
    ),
    TaskTraits(
        name="automatic-speech-recognition",
        models=("AutoModelForSpeechSeq2Seq", "AutoModelForCTC"),
        takes="sound",
        answer="the text; with `return_timestamps`, an object with `text` and `chunks`",
        pipeline="AutomaticSpeechRecognitionPipeline",
        options=frozenset({"chunk_length_s", "stride_length_s", "return_timestamps"}),
        generates=True,
        one_by_one=True,
    ),
    TaskTraits(
        name="text-to-audio",
        models=("AutoModelForTextToWaveform",),
        takes="texts",
        answer="an object with `samples`, float32[samples], and `sampling_rate` in Hz",
        pipeline="TextToAudioPipeline",
        generates=True,
        one_by_one=True,
    ),
    TaskTraits(
        name="text-to-image",
        models=(),
        takes="objects",
        answer="a picture: uint8[height, width, 3]",
        fields=("prompt", *_DRAWN),
        options=frozenset(_DRAWN),
        one_by_one=True,
    ),
    TaskTraits(
        name="image-feature-extraction",
        models=("AutoModel",),
        takes="pictures",
        answer="float32[tokens, width], or float32[width] with `pool`",
        pipeline="ImageFeatureExtractionPipeline",
        options=frozenset({"pool"}),
        one_by_one=True,
        head=False,
    ),
    TaskTraits(
        name="embeddings",
        models=("AutoModel",),
        takes="texts",
        answer="float32[width], pooled and normalised as the files of sentence-transformers "
        "specify",
        options=_TEXT | {"pooling", "normalize"},
        head=False,
    ),
    TaskTraits(
        name="feature-extraction",
        models=("AutoModel",),
        takes="texts",
        answer="float32[tokens, width]: a vector for every token",
        pipeline="FeatureExtractionPipeline",
        one_by_one=True,
        head=False,
    ),
)
TASKS = {task.name: task for task in _TASKS}
# Other names of these tasks.
ALIASES = {
    "ner": "token-classification",
    "sentiment-analysis": "text-classification",
    "text-to-speech": "text-to-audio",
    "sentence-similarity": "embeddings",
    "automatic-speech-recognition-ctc": "automatic-speech-recognition",
}
# The beginning of names that state two languages.
TRANSLATION = "translation_"


def task_named(name: str) -> TaskTraits:
    """The task of that name.

    Raises:
        InvalidModel: no task has it; the hint lists all of them.
    """
    known = "translation" if name.startswith(TRANSLATION) else ALIASES.get(name, name)
    if known not in TASKS:
        near = did_you_mean(name, [*TASKS, *ALIASES])
        raise InvalidModel(f"{shown(name)} is not a task.", hint=f"{near}{supported_tasks()}")
    return TASKS[known]


def supported_tasks() -> str:
    """All tasks, as a hint lists them."""
    return f"Tasks are: {', '.join(TASKS)}."
