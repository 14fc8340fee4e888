"""The arguments of the runtime ``huggingface``.

transformers takes seconds to import, so the fields of its ``GenerationConfig`` are declared here;
a test compares them with the installed version.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from sire.errors import InvalidModel
from sired.runtimes.arguments import own_arguments, read_arguments

Positive = Annotated[int, msgspec.Meta(ge=1)]
_Bool = bool | None | UnsetType
_Int = int | None | UnsetType
_Positive = Positive | None | UnsetType
_Float = float | None | UnsetType
_Text = str | None | UnsetType
_List = list[Any] | None | UnsetType
_Object = dict[str, Any] | None | UnsetType

TaskName = Literal[
    "embeddings",
    "text-classification",
    "token-classification",
    "text-generation",
    "summarization",
    "text2text-generation",
    "image-classification",
    "automatic-speech-recognition",
    "automatic-speech-recognition-ctc",
]
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


class TransformersOptions(GenerationOptions, frozen=True):
    """How a model is loaded and run; each field can be left out.

    Attributes:
        task: what the model is run for; by default as its config states.
        dtype: of its weights: auto (as they are stored), fp32, fp16, bf16, or int8 for the linear
            layers on a CPU.
        force_cpu: run on the CPU, whatever devices there are.
        force_gpu: refuse to run on the CPU.
        rows: maximum number of rows in one forward pass.
        max_input_tokens: maximum number of tokens of an input; longer inputs are truncated.
        pooling: how token vectors are combined into one embedding.
        normalize: whether embeddings are scaled to length 1.
        top_k: number of labels to return, most likely first.
        chat: apply the model's chat template to a prompt, as a message of the user.
    """

    task: Literal[TaskName, ""] = ""
    dtype: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    force_cpu: bool = False
    force_gpu: bool = False
    rows: Positive = 32
    max_input_tokens: Positive | None = None
    pooling: PoolingName | None = None
    normalize: bool | None = None
    top_k: Positive = 1
    chat: bool = False

    def __post_init__(self) -> None:
        if self.force_cpu and self.force_gpu:
            raise InvalidModel("force_cpu and force_gpu cannot both be true.")

    @property
    def quantized(self) -> bool:
        """Whether linear layers are to have weights of eight bits."""
        return self.dtype == "int8"

    @property
    def generation(self) -> dict[str, Any]:
        """The fields of ``GenerationConfig`` that were given."""
        values = ((name, getattr(self, name)) for name in GenerationOptions.__struct_fields__)
        return {name: value for name, value in values if value is not UNSET}


def read_options(keywords: Mapping[str, Any]) -> TransformersOptions:
    """Read the keywords that ``load`` was called with.

    Raises:
        InvalidModel: an argument is unknown or has a value of the wrong type.
    """
    return read_arguments(TransformersOptions, own_arguments(keywords), "The runtime huggingface")
