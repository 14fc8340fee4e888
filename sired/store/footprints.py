"""Stores the measured memory of models across restarts."""

import contextlib
import hashlib
import logging
from pathlib import Path

import msgspec

from sire.atomic import write_atomically
from sire.spec import ModelSpec

MOST_ENTRIES = 10_000
# Relative changes below this are noise.
SIGNIFICANT_CHANGE = 0.01

log = logging.getLogger(__name__)


class Footprints:
    """Bytes by all that determines them, independent of the model's name.

    That is the content, the class and its arguments, the runtime, how many rows and requests it
    runs at once, and the kind of device. What was declared for a model counts, too: what was
    learned under another declaration does not replace it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes: dict[str, int] = {}
        try:
            self._bytes = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            # The measurements can be repeated; the damaged file is kept for inspection.
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))

    def get(self, spec: ModelSpec, kind: str) -> int | None:
        """Measured bytes of a model on devices of this kind; None if it was never measured."""
        return self._bytes.get(_key(spec, kind))

    def learn(self, spec: ModelSpec, kind: str, memory: int) -> bool:
        """Record a measurement; returns whether it differs enough to be saved.

        A value within 1 % of the recorded one is ignored, so that memory and disk agree, and many
        small changes in one direction are eventually recorded.
        """
        key = _key(spec, kind)
        old = self._bytes.pop(key, None)
        changed = old is None or abs(memory - old) > SIGNIFICANT_CHANGE * old
        self._bytes[key] = memory if changed or old is None else old
        while len(self._bytes) > MOST_ENTRIES:
            del self._bytes[next(iter(self._bytes))]
        return changed

    def forget(self, spec: ModelSpec) -> None:
        """Forget what was measured for a model on devices of any kind."""
        prefix = f"{_subject(spec)} "
        forgotten = [key for key in self._bytes if key.startswith(prefix)]
        for key in forgotten:
            del self._bytes[key]
        if forgotten:
            self.save()

    def save(self) -> None:
        """Write everything to disk; an error is logged as a warning."""
        try:
            write_atomically(self._path, msgspec.json.encode(self._bytes))
        except OSError as problem:
            log.warning("cannot write %s: %s", self._path, problem.strerror)


def _key(spec: ModelSpec, kind: str) -> str:
    return f"{_subject(spec)} {kind}"


def _subject(spec: ModelSpec) -> str:
    """A digest of all that determines what a model needs on a device."""
    what = (
        spec.fingerprint or spec.path,
        spec.runtime,
        spec.model_class,
        sorted(spec.args.items()),
        spec.batch_size,
        spec.concurrency,
        spec.max_memory,
    )
    return hashlib.sha256(repr(what).encode(errors="replace")).hexdigest()[:32]
