"""Resemblyzer's class, for the file that it ships."""

from collections.abc import Mapping
from typing import Any

from resemblyzer import VoiceEncoder as Shipped


class VoiceEncoder(Shipped):  # type: ignore[misc]  # the package has no types
    """Resemblyzer's encoder, which ignores two weights in its file that only training uses."""

    def load_state_dict(self, weights: Mapping[str, Any], **options: Any) -> Any:
        """Load all other weights."""
        used = {name: value for name, value in weights.items() if "similarity_" not in name}
        return super().load_state_dict(used, **options)
