"""A colour for each loaded model, used in its row and in the memory bars."""

import zlib
from collections.abc import Iterable

# 8-bit colours of similar lightness, legible on dark and light; red is reserved for errors.
PALETTE = tuple(f"color({number})" for number in (74, 179, 140, 72, 173, 168, 109, 137, 104, 65))


def colours_of(models: Iterable[str]) -> dict[str, str]:
    """Assign each model its own colour, as long as there are enough.

    The preferred colour depends only on the name, so it seldom changes as models come and go.
    """
    chosen: dict[str, str] = {}
    for model in sorted(set(models)):
        first = zlib.crc32(model.encode()) % len(PALETTE)
        candidates = PALETTE[first:] + PALETTE[:first]
        chosen[model] = next(
            (one for one in candidates if one not in chosen.values()), candidates[0]
        )
    return chosen
