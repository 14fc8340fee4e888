"""Tiny models that generate text, and what transformers itself answers with them."""

from pathlib import Path

import torch

from tests.contract import tiny_models
from tests.home import Home

TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
# The tiny model would stop at once otherwise.
WITHOUT = [0, 1, 2, 3]


def write(folder: Path) -> None:
    """A model that generates text, and one that embeds it."""
    tiny_models.writer(folder / "writer", chat_template=TEMPLATE)
    tiny_models.embedder(folder / "embedder")


def register(home: Home, folder: Path) -> None:
    home.register("writer", folder / "writer", "--arg", f"suppress_tokens={WITHOUT}")
    home.register("embedder", folder / "embedder")


def own_answer(folder: Path, text: str, *, special: bool, most: int) -> tuple[str, int]:
    """What transformers writes after a text, and how many tokens the text has."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "writer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "writer")
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=special)["input_ids"]
    with torch.inference_mode():
        rows = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most,
            suppress_tokens=WITHOUT,
            do_sample=False,
        )
    length = ids.shape[1]
    return tokenizer.decode(rows[0, length:], skip_special_tokens=True), length
