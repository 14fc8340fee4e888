"""Tiny models of Hugging Face's kinds with random weights, saved by their own libraries."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = "some text more words in Paris and London a picture of speech".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer(
    *, pair: bool = False, extra_words: Any = (), **kwargs: Any
) -> "transformers.PreTrainedTokenizerFast":
    words = [*SPECIAL, *WORDS, *extra_words]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1" if pair else None,
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "eos_token": "[SEP]"}
    if pair:
        names["sep_token"] = "[SEP]"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=32, **{**names, **kwargs}
    )


def bert(**kwargs: Any) -> "transformers.BertConfig":
    return transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        intermediate_size=32,
        max_position_embeddings=32,
        **SIZE,
        **kwargs,
    )


def save(directory: Path, model: Any, *beside: Any) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.eval().save_pretrained(directory)
    for one in beside:
        one.save_pretrained(directory)
    return model


def text_classifier(directory: Path, **kwargs: Any) -> "transformers.BertForSequenceClassification":
    names = {0: "good", 1: "bad", 2: "neither"}
    config = bert(id2label=names, label2id={v: k for k, v in names.items()}, **kwargs)
    return save(directory, transformers.BertForSequenceClassification(config), tokenizer())


def token_classifier(directory: Path) -> "transformers.BertForTokenClassification":
    names = {0: "O", 1: "B-LOC", 2: "I-LOC"}
    config = bert(id2label=names, label2id={v: k for k, v in names.items()})
    return save(directory, transformers.BertForTokenClassification(config), tokenizer())


def embedder(directory: Path) -> "transformers.BertModel":
    return save(directory, transformers.BertModel(bert()), tokenizer())


def embed(directory: Path) -> NDArray[Any]:
    """The mean of the last states, by transformers itself, one text after the other."""
    model = transformers.AutoModel.from_pretrained(directory)
    vectors = []
    for text in ("some text", "more words in Paris"):
        tokens = tokenizer()(text, return_tensors="pt")
        with torch.inference_mode():
            vectors.append(model(**tokens).last_hidden_state[0].mean(0).numpy())
    return np.stack(vectors)


def writer(directory: Path, **kwargs: Any) -> "transformers.GPT2LMHeadModel":
    config = transformers.GPT2Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=32,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    return save(directory, transformers.GPT2LMHeadModel(config), tokenizer(**kwargs))


def summariser(directory: Path) -> "transformers.T5ForConditionalGeneration":
    config = transformers.T5Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
        task_specific_params={"summarization": {"prefix": "some ", "max_length": 8}},
    )
    return save(directory, transformers.T5ForConditionalGeneration(config), tokenizer())


def picture_classifier(directory: Path) -> "transformers.ViTForImageClassification":
    names = {0: "cat", 1: "dog"}
    config = transformers.ViTConfig(
        image_size=16,
        patch_size=8,
        intermediate_size=32,
        id2label=names,
        label2id={v: k for k, v in names.items()},
        **SIZE,
    )
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    return save(directory, transformers.ViTForImageClassification(config), processor)


def listener(directory: Path) -> "transformers.WhisperForConditionalGeneration":
    config = transformers.WhisperConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        max_source_positions=100,
        max_target_positions=16,
        decoder_start_token_id=2,
        pad_token_id=0,
        eos_token_id=3,
        bos_token_id=2,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    features = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    model = transformers.WhisperForConditionalGeneration(config)
    # Without times only what fits in one window could be written.
    model.generation_config = transformers.GenerationConfig(
        **model.generation_config.to_diff_dict() | {"_from_model_config": False},
        no_timestamps_token_id=len(SPECIAL) + len(WORDS) - 4,
    )
    return save(directory, model, features, tokenizer())
