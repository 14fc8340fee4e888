"""What models were measured to need, kept from one daemon to the next."""

import contextlib
import logging
from pathlib import Path

import msgspec

from sire.spec import ModelSpec
from sired.store.atomic import write_atomically

MOST_ENTRIES = 10_000
# A change smaller than this is noise and not worth a write.
WORTH_SAVING = 0.01

log = logging.getLogger(__name__)


class Footprints:
    """Bytes by model content, runtime and device kind; the model's name plays no part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes: dict[str, int] = {}
        try:
            self._bytes = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            # What was learned can be learned again; the damaged file is kept to be looked at.
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))

    def get(self, spec: ModelSpec, kind: str) -> int | None:
        """Bytes a model was measured to need on devices of this kind, if it ever was."""
        return self._bytes.get(_key(spec, kind))

    def learn(self, spec: ModelSpec, kind: str, memory: int) -> bool:
        """Remember what was measured; True when it is news worth saving.

        A figure within 1 % of the one kept changes nothing, so that memory and disk agree and
        many small steps in one direction become news in the end.
        """
        key = _key(spec, kind)
        old = self._bytes.pop(key, None)
        news = old is None or abs(memory - old) > WORTH_SAVING * old
        self._bytes[key] = memory if news or old is None else old
        while len(self._bytes) > MOST_ENTRIES:
            del self._bytes[next(iter(self._bytes))]
        return news

    def save(self) -> None:
        """Write everything to disk; a disk that does not take it costs a warning, no more."""
        try:
            write_atomically(self._path, msgspec.json.encode(self._bytes))
        except OSError as problem:
            log.warning("cannot write %s: %s", self._path, problem.strerror)


def _key(spec: ModelSpec, kind: str) -> str:
    return f"{spec.fingerprint or spec.path} {spec.runtime} {kind}"
