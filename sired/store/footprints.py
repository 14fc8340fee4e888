"""What models were measured to need, kept from one daemon to the next."""

from pathlib import Path

import msgspec

from sired.spec import ModelSpec
from sired.store.atomic import write_atomically

MOST_ENTRIES = 10_000
# A change smaller than this is noise and not worth a write.
WORTH_SAVING = 0.01


class Footprints:
    """Bytes by model content, runtime and device kind; the model's name plays no part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes: dict[str, int] = {}
        try:
            self._bytes = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError):
            # What was learned can be learned again; the damaged file is kept to be looked at.
            path.replace(path.with_suffix(".damaged"))

    def get(self, spec: ModelSpec, kind: str) -> int | None:
        """Bytes a model was measured to need on devices of this kind, if it ever was."""
        return self._bytes.get(_key(spec, kind))

    def learn(self, spec: ModelSpec, kind: str, memory: int) -> bool:
        """Remember what was measured; True when it is news worth saving."""
        key = _key(spec, kind)
        old = self._bytes.pop(key, 0)
        self._bytes[key] = memory
        while len(self._bytes) > MOST_ENTRIES:
            del self._bytes[next(iter(self._bytes))]
        return abs(memory - old) > WORTH_SAVING * memory

    def save(self) -> None:
        """Write everything to disk."""
        write_atomically(self._path, msgspec.json.encode(self._bytes))


def _key(spec: ModelSpec, kind: str) -> str:
    return f"{spec.fingerprint or spec.path} {spec.runtime} {kind}"
