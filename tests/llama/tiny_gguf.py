"""Writes a language model that knows the alphabet; run by the Python that has llama.cpp.

Its only layer adds nothing, so that an output row meets the embedding it was made for: each letter
is followed by the next one, whatever the sampler's settings.
"""

import sys

import gguf
import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["<unk>", "<s>", "</s>", "<0x0A>", *LETTERS, "\u2581", "<pad>"]
KINDS = [2, 3, 3, 6, *[1] * len(LETTERS), 1, 3]
WIDTH = len(TOKENS)
CONTEXT = 256


def write(path: str) -> None:
    """Write it as a GGUF file."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * WIDTH)
    writer.add_token_types(KINDS)
    writer.add_bos_token_id(TOKENS.index("<s>"))
    writer.add_eos_token_id(TOKENS.index("</s>"))
    writer.add_unk_token_id(TOKENS.index("<unk>"))
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    for name, tensor in tensors().items():
        writer.add_tensor(name, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors() -> dict[str, "np.ndarray"]:
    """Its weights, by the names llama.cpp knows them by."""
    nothing, ones = np.zeros((WIDTH, WIDTH)), np.ones(WIDTH)
    layer = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
    return {
        "token_embd.weight": np.eye(WIDTH),
        "output.weight": 10 * np.roll(np.eye(WIDTH), 1, axis=0),
        "output_norm.weight": ones,
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.{name}.weight": nothing for name in sorted(layer)},
    }


if __name__ == "__main__":
    write(sys.argv[1])
