"""Tiny models with random weights for the tasks that pipelines of transformers run."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.contract.tiny_models import SIZE, SPECIAL, WORDS, bert, save, tokenizer

NAMES = {0: "cat", 1: "dog", 2: "neither"}
LABELS = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
VOCABULARY = len(SPECIAL) + len(WORDS)
SIDE = {"height": 16, "width": 16}
VISION = {"image_size": 16, "patch_size": 8, "intermediate_size": 32, **SIZE}


def answerer(directory: Any) -> Any:
    return save(directory, transformers.BertForQuestionAnswering(bert()), tokenizer(pair=True))


def masked(directory: Path) -> "transformers.BertForMaskedLM":
    return save(directory, transformers.BertForMaskedLM(bert()), tokenizer(mask_token="[UNK]"))


def inferrer(directory: Path) -> "transformers.BertForSequenceClassification":
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    config = bert(id2label=names, label2id={name: number for number, name in names.items()})
    model = transformers.BertForSequenceClassification(config)
    return save(directory, model, tokenizer(pair=True))


def reranker(directory: Path, **kwargs: Any) -> "transformers.BertForSequenceClassification":
    config = bert(num_labels=1, **kwargs)
    model = transformers.BertForSequenceClassification(config)
    return save(directory, model, tokenizer(pair=True))


def tokens_labeller(directory: Path) -> "transformers.BertForTokenClassification":
    names = {0: "O", 1: "B-LOC", 2: "I-LOC"}
    config = bert(id2label=names, label2id={name: number for number, name in names.items()})
    return save(directory, transformers.BertForTokenClassification(config), tokenizer())


def unpadded_classifier(directory: Path) -> "transformers.GPT2ForSequenceClassification":
    """Like GPT-2: it finds the last token of a row by a padding token, which it lacks."""
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, **LABELS
    )
    model = transformers.GPT2ForSequenceClassification(config)
    return save(directory, model, tokenizer(pad_token=None))


def image_processor(**kwargs: Any) -> "transformers.ViTImageProcessor":
    return transformers.ViTImageProcessorPil(size=SIDE, **kwargs)


def vision_model(directory: Path) -> "transformers.ViTModel":
    return save(
        directory, transformers.ViTModel(transformers.ViTConfig(**VISION)), image_processor()
    )


def clip(directory: Path) -> "transformers.CLIPModel":
    config = transformers.CLIPConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "intermediate_size": 32,
            "max_position_embeddings": 32,
            "projection_dim": 8,
            "eos_token_id": 3,
            "bos_token_id": 2,
            "pad_token_id": 0,
            **SIZE,
        },
        vision_config={**VISION, "projection_dim": 8},
        projection_dim=8,
    )
    processor = transformers.CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
    return save(directory, transformers.CLIPModel(config), processor, tokenizer())


def detector(directory: Path) -> "transformers.YolosForObjectDetection":
    config = transformers.YolosConfig(
        num_detection_tokens=5, **{**VISION, "image_size": [16, 16]}, **LABELS
    )
    processor = transformers.YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64})
    return save(directory, transformers.YolosForObjectDetection(config), processor)


def segmenter(directory: Path) -> "transformers.SegformerForSemanticSegmentation":
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
        **LABELS,
    )
    processor = transformers.SegformerImageProcessorPil(size={"height": 32, "width": 32})
    return save(directory, transformers.SegformerForSemanticSegmentation(config), processor)


def depth_estimator(directory: Path) -> "transformers.GLPNForDepthEstimation":
    config = transformers.GLPNConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        sr_ratios=[2, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=8,
    )
    processor = transformers.GLPNImageProcessorPil(size_divisor=32)
    return save(directory, transformers.GLPNForDepthEstimation(config), processor)


def reader(directory: Path) -> "transformers.VisionEncoderDecoderModel":
    """A picture's encoder with a text's decoder, as TrOCR."""
    encoder = transformers.ViTConfig(**VISION)
    decoder = bert(is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 0, 3
    model = transformers.VisionEncoderDecoderModel(config=config)
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=2, pad_token_id=0, eos_token_id=3, max_new_tokens=6
    )
    return save(directory, model, image_processor(), tokenizer())


def chatter(directory: Path, **kwargs: Any) -> "transformers.LlavaForConditionalGeneration":
    """A language model that sees pictures, as LLaVA."""
    extra = {"image_token": "<image>", **kwargs}
    made = tokenizer(additional_special_tokens=["<image>"], extra_words=["<image>"])
    vision = transformers.CLIPVisionConfig(**VISION)
    text = transformers.LlamaConfig(
        vocab_size=len(made),
        intermediate_size=32,
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        **SIZE,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=made.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(size=SIDE, crop_size=SIDE),
        made,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        **extra,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    return save(directory, model, processor)


def sound_classifier(directory: Path) -> "transformers.Wav2Vec2ForSequenceClassification":
    model = transformers.Wav2Vec2ForSequenceClassification(_wav2vec2(**LABELS))
    return save(directory, model, transformers.Wav2Vec2FeatureExtractor())


def ctc_listener(directory: Path) -> "transformers.Wav2Vec2ForCTC":
    config = _wav2vec2(vocab_size=VOCABULARY, pad_token_id=0)
    model = transformers.Wav2Vec2ForCTC(config)
    return save(directory, model, transformers.Wav2Vec2FeatureExtractor(), tokenizer())


def _wav2vec2(**kwargs: Any) -> "transformers.Wav2Vec2Config":
    return transformers.Wav2Vec2Config(
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        **SIZE,
        **kwargs,
    )


def speaker(directory: Path) -> "transformers.VitsModel":
    config = transformers.VitsConfig(
        vocab_size=VOCABULARY,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        prior_encoder_num_flows=1,
        posterior_encoder_num_wavenet_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16,
        use_stochastic_duration_prediction=False,
        noise_scale=0.0,
        noise_scale_duration=0.0,
        sampling_rate=8000,
        **SIZE,
    )
    return save(directory, transformers.VitsModel(config), tokenizer())


def document_reader(directory: Path) -> "transformers.LayoutLMForQuestionAnswering":
    config = transformers.LayoutLMConfig(
        vocab_size=VOCABULARY, intermediate_size=32, max_position_embeddings=32, **SIZE
    )
    return save(directory, transformers.LayoutLMForQuestionAnswering(config), tokenizer(pair=True))


def open_detector(directory: Path) -> "transformers.OwlViTForObjectDetection":
    config = transformers.OwlViTConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "intermediate_size": 32,
            "max_position_embeddings": 32,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
            **SIZE,
        },
        vision_config=VISION,
        projection_dim=16,
    )
    processor = transformers.OwlViTImageProcessorPil(size=SIDE, crop_size=SIDE)
    return save(directory, transformers.OwlViTForObjectDetection(config), processor, tokenizer())


def translator(directory: Path, **kwargs: Any) -> "transformers.T5ForConditionalGeneration":
    languages = {
        "translation_en_to_de": {"prefix": "some text ", "max_length": 8},
        "translation_en_to_fr": {"prefix": "more words ", "max_length": 8},
    }
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
        **{"task_specific_params": languages, **kwargs},
    )
    return save(directory, transformers.T5ForConditionalGeneration(config), tokenizer())


def transcriber(directory: Path) -> "transformers.WhisperForConditionalGeneration":
    """A Whisper with its own tokenizer, which knows of times; it answers in printable letters."""
    letters = list(bytes_to_unicode().values())
    end = "<|endoftext|>"
    vocabulary = {letter: number for number, letter in enumerate([*letters, end])}
    words = transformers.WhisperTokenizer(vocab=vocabulary, merges=[])
    begin, language, task = "<|startoftranscript|>", "<|en|>", "<|transcribe|>"
    special = [begin, language, "<|translate|>", task, "<|startoflm|>", "<|startofprev|>"]
    special += ["<|nospeech|>", "<|notimestamps|>"]
    words.add_tokens([transformers.AddedToken(name, special=True) for name in special])
    words.add_tokens([transformers.AddedToken(f"<|{n * 0.02:.2f}|>") for n in range(1501)])
    ids = {name: words.convert_tokens_to_ids(name) for name in (end, *special)}
    config = transformers.WhisperConfig(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        max_source_positions=100,
        max_target_positions=32,
        decoder_start_token_id=ids[begin],
        pad_token_id=ids[end],
        eos_token_id=ids[end],
        bos_token_id=ids[end],
    )
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():  # so that what is heard decides
        model.model.decoder.embed_tokens.weight.mul_(30)
    model.generation_config = transformers.GenerationConfig(
        **model.generation_config.to_diff_dict() | {"_from_model_config": False},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        lang_to_id={language: ids[language]},
        task_to_id={"transcribe": ids[task], "translate": ids["<|translate|>"]},
        is_multilingual=True,
        return_timestamps=False,
        max_length=20,
        suppress_tokens=list(range(ord("~") - ord("!") + 1, len(letters))),
        max_initial_timestamp_index=50,
        alignment_heads=[[0, 0], [0, 1]],
    )
    features = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    return save(directory, model, features, words)


def masks_of_anything(directory: Path) -> "transformers.SamModel":
    side = {"image_size": 32, "patch_size": 8}
    config = transformers.SamConfig(
        vision_config={
            **side,
            **SIZE,
            "output_channels": 8,
            "mlp_dim": 16,
            "global_attn_indexes": [0],
            "window_size": 2,
            "num_pos_feats": 4,
        },
        prompt_encoder_config={**side, "hidden_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 8,
            "mlp_dim": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 8,
        },
    )
    square = {"height": 32, "width": 32}
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 32}, pad_size=square)
    return save(directory, transformers.SamModel(config), processor)


def answerer_about_pictures(directory: Path) -> "transformers.ViltForQuestionAnswering":
    config = transformers.ViltConfig(
        vocab_size=VOCABULARY, max_position_embeddings=32, **{**VISION, "image_size": 32}, **LABELS
    )
    processor = transformers.ViltImageProcessorPil(size={"shortest_edge": 32})
    return save(directory, transformers.ViltForQuestionAnswering(config), processor, tokenizer())


def speaker_by_spectrograms(directory: Path) -> "transformers.SpeechT5ForTextToSpeech":
    config = transformers.SpeechT5Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        speech_decoder_prenet_units=8,
        speech_decoder_postnet_units=8,
        speaker_embedding_dim=8,
    )
    return save(directory, transformers.SpeechT5ForTextToSpeech(config), tokenizer())
