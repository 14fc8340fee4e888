"""The arguments of the runtime ``huggingface``.

transformers takes seconds to import, so the fields of its ``GenerationConfig`` are declared here;
a test compares them with the installed version.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from sire.errors import InvalidModel, shown
from sire.nearest import did_you_mean
from sired.runtimes.arguments import own_arguments, read_arguments
from sired.runtimes.huggingface.table import COMMON, TaskTraits, task_named

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Bool = bool | None | UnsetType
_Int = int | None | UnsetType
_Positive = Positive | None | UnsetType
_Float = float | None | UnsetType
_Text = str | None | UnsetType
_List = list[Any] | None | UnsetType
_Object = dict[str, Any] | None | UnsetType

PoolingName = Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


class GenerationOptions(msgspec.Struct, frozen=True):
    """How text is generated: the fields of transformers' ``GenerationConfig``, by their names.

    Fields that are not given keep the values of the model's own ``generation_config.json``.
    """

    max_length: _Positive = UNSET
    max_new_tokens: _Positive = UNSET
    min_length: _Int = UNSET
    min_new_tokens: _Int = UNSET
    early_stopping: bool | str | UnsetType | None = UNSET
    max_time: _Float = UNSET
    stop_strings: str | list[str] | UnsetType | None = UNSET
    do_sample: _Bool = UNSET
    num_beams: _Positive = UNSET
    use_mtp: _Bool = UNSET
    use_cache: _Bool = UNSET
    cache_implementation: _Text = UNSET
    cache_config: _Object = UNSET
    max_cache_len: _Positive = UNSET
    temperature: _Float = UNSET
    top_p: _Float = UNSET
    min_p: _Float = UNSET
    top_h: _Float = UNSET
    typical_p: _Float = UNSET
    epsilon_cutoff: _Float = UNSET
    eta_cutoff: _Float = UNSET
    repetition_penalty: _Float = UNSET
    encoder_repetition_penalty: _Float = UNSET
    length_penalty: _Float = UNSET
    no_repeat_ngram_size: _Int = UNSET
    bad_words_ids: _List = UNSET
    renormalize_logits: _Bool = UNSET
    forced_bos_token_id: _Int = UNSET
    forced_eos_token_id: int | list[int] | UnsetType | None = UNSET
    remove_invalid_values: _Bool = UNSET
    exponential_decay_length_penalty: _List = UNSET
    suppress_tokens: _List = UNSET
    begin_suppress_tokens: _List = UNSET
    sequence_bias: _List = UNSET
    token_healing: _Bool = UNSET
    guidance_scale: _Float = UNSET
    watermarking_config: _Object = UNSET
    num_return_sequences: _Positive = UNSET
    output_attentions: _Bool = UNSET
    output_hidden_states: _Bool = UNSET
    output_scores: _Bool = UNSET
    output_logits: _Bool = UNSET
    return_dict_in_generate: _Bool = UNSET
    pad_token_id: _Int = UNSET
    bos_token_id: _Int = UNSET
    eos_token_id: int | list[int] | UnsetType | None = UNSET
    encoder_no_repeat_ngram_size: _Int = UNSET
    decoder_start_token_id: int | list[int] | UnsetType | None = UNSET
    is_assistant: _Bool = UNSET
    num_assistant_tokens: _Int = UNSET
    num_assistant_tokens_schedule: _Text = UNSET
    assistant_confidence_threshold: _Float = UNSET
    prompt_lookup_num_tokens: _Int = UNSET
    max_matching_ngram_size: _Int = UNSET
    assistant_early_exit: _Int = UNSET
    assistant_lookbehind: _Int = UNSET
    target_lookbehind: _Int = UNSET
    assistant_ensemble_weight: _Float = UNSET
    speculation_type: _Text = UNSET
    compile_config: _Object = UNSET
    disable_compile: _Bool = UNSET
    continuous_batching_config: _Object = UNSET
    low_memory: _Bool = UNSET
    penalty_alpha: _Float = UNSET
    dola_layers: str | list[int] | UnsetType | None = UNSET
    diversity_penalty: _Float = UNSET
    num_beam_groups: _Int = UNSET
    constraints: _List = UNSET
    force_words_ids: _List = UNSET
    prefill_chunk_size: _Int = UNSET


class TaskOptions(GenerationOptions, frozen=True):
    """How tasks are run: parameters of transformers' pipelines, by their names.

    A field that is not given has the pipeline's own default. Which task takes which of them is in
    ``table``.

    Attributes:
        top_k: number of labels or answers, the most likely first.
        function_to_apply: what turns logits into scores: softmax, sigmoid or none.
        aggregation_strategy: how tokens are merged into entities.
        stride: tokens that parts of a long text overlap by; None to truncate it.
        targets: the only words that a mask is filled with.
        candidate_labels: the labels to choose from, for requests that contain none.
        hypothesis_template: a sentence with ``{}``, in which labels are compared with the input.
        multi_label: whether labels are rated independently of each other.
        max_answer_len: maximum number of tokens of an answer.
        doc_stride: tokens that parts of a long context overlap by.
        handle_impossible_answer: whether "" is a possible answer.
        threshold: minimum score of what is detected.
        mask_threshold: minimum score of a pixel.
        overlap_mask_area_threshold: minimum share of a segment that others do not cover.
        subtask: panoptic, instance or semantic segmentation.
        pool: answer one vector for an image, by the model's pooler.
        chunk_length_s: seconds of the chunks that a long recording is processed in; 0 for one pass.
        stride_length_s: seconds that chunks overlap by, on each side.
        return_timestamps: answer the times of segments (true), words (word) or letters (char).
        negative_prompt: what a picture should not show.
        num_inference_steps: passes of the denoising model for each picture.
        height: of a picture, in pixels.
        width: of a picture, in pixels.
        seed: of the random numbers of a picture, which otherwise differs each time.
        src_lang: the language of the input, as the tokenizer calls it.
        tgt_lang: the language of the translation.
    """

    top_k: Positive | UnsetType = UNSET
    function_to_apply: Literal["softmax", "sigmoid", "none"] | UnsetType = UNSET
    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] = "simple"
    stride: Positive | UnsetType = UNSET
    targets: list[str] | UnsetType = UNSET
    candidate_labels: list[str] | UnsetType = UNSET
    hypothesis_template: str | UnsetType = UNSET
    multi_label: bool | UnsetType = UNSET
    max_answer_len: Positive | UnsetType = UNSET
    doc_stride: Positive | UnsetType = UNSET
    handle_impossible_answer: bool | UnsetType = UNSET
    threshold: Share | UnsetType = UNSET
    mask_threshold: Share | UnsetType = UNSET
    overlap_mask_area_threshold: Share | UnsetType = UNSET
    subtask: Literal["panoptic", "instance", "semantic"] | UnsetType = UNSET
    pool: bool = False
    chunk_length_s: NotNegative | UnsetType = UNSET
    stride_length_s: NotNegative | UnsetType = UNSET
    return_timestamps: Literal["word", "char"] | bool | UnsetType = UNSET
    negative_prompt: str | UnsetType = UNSET
    num_inference_steps: Positive | UnsetType = UNSET
    height: Positive | UnsetType = UNSET
    width: Positive | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    src_lang: str = ""
    tgt_lang: str = ""


# Of a task that generates text, ``top_k`` is the number of tokens to draw from.
GENERATION = (*GenerationOptions.__struct_fields__, "top_k")


class TransformersOptions(TaskOptions, frozen=True):
    """How a model is loaded and run; each field can be left out.

    Attributes:
        task: what the model is run for; by default as its config states.
        base: the directory of the model that an adapter adapts; by default as the adapter states.
        dtype: of its weights: auto (as they are stored), fp32, fp16, bf16, or int8 for the linear
            layers on a CPU.
        force_cpu: run on the CPU, whatever devices there are.
        force_gpu: refuse to run on the CPU.
        rows: maximum number of rows in one forward pass.
        max_input_tokens: maximum number of tokens of an input; longer inputs are truncated.
        pooling: how token vectors are combined into one embedding.
        normalize: whether embeddings are scaled to length 1.
        chat: apply the model's chat template to a prompt, as a message of the user.
    """

    task: str = ""
    base: str = ""
    dtype: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    force_cpu: bool = False
    force_gpu: bool = False
    rows: Positive = 32
    max_input_tokens: Positive | None = None
    pooling: PoolingName | None = None
    normalize: bool | None = None
    chat: bool = False

    def __post_init__(self) -> None:
        if self.task:
            task_named(self.task)
        if self.force_cpu and self.force_gpu:
            raise InvalidModel("force_cpu and force_gpu cannot both be true.")
        template = self.hypothesis_template
        if template is not UNSET and "{}" not in template:
            raise InvalidModel(
                f"hypothesis_template={shown(template)} has no {{}} for the label.",
                hint="Write it like 'This text is about {}.'",
            )

    @property
    def quantized(self) -> bool:
        """Whether linear layers are to have weights of eight bits."""
        return self.dtype == "int8"

    @property
    def generation(self) -> dict[str, Any]:
        """The fields of ``GenerationConfig`` that were given."""
        return self._given(GENERATION)

    def of_task(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the named parameters that were given, or that have a default here."""
        return self._given(names)

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        values = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in values if value is not UNSET}


def check_options(task: TaskTraits, given: Iterable[str]) -> None:
    """Reject arguments that do not apply to a task.

    Raises:
        InvalidModel: one does not; the hint lists those that do.
    """
    accepted = sorted(COMMON | task.options)
    generation = GENERATION if task.generates else ()
    unknown = next((name for name in given if name not in {*accepted, *generation}), None)
    if unknown is not None:
        more = ", and those of generation" if task.generates else ""
        raise InvalidModel(
            f"The task {task.name} takes no argument {shown(unknown)}.",
            hint=f"{did_you_mean(unknown, [*accepted, *generation])}Accepted are: "
            f"{', '.join(accepted)}{more}.",
        )


def read_options(keywords: Mapping[str, Any]) -> TransformersOptions:
    """Read the keywords that ``load`` was called with.

    Raises:
        InvalidModel: an argument is unknown or has a value of the wrong type.
    """
    return read_arguments(TransformersOptions, own_arguments(keywords), "The runtime huggingface")
