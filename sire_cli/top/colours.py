"""A colour for each loaded model, the same in its row and in the bars."""

import zlib
from collections.abc import Iterable

# Eight-bit colours of about equal lightness, legible on dark and light; red is left to errors.
PALETTE = tuple(f"color({number})" for number in (74, 179, 140, 72, 173, 168, 109, 137, 104, 65))


def colours_of(models: Iterable[str]) -> dict[str, str]:
    """Give each model a colour of its own, while there are enough.

    A model's first choice follows from its name alone, so it seldom changes as others come and go.
    """
    chosen: dict[str, str] = {}
    for model in sorted(set(models)):
        first = zlib.crc32(model.encode()) % len(PALETTE)
        actions = PALETTE[first:] + PALETTE[:first]
        chosen[model] = next((one for one in actions if one not in chosen.values()), actions[0])
    return chosen
