"""API keys: who may use models from other machines, and for what.

A key is shown once, when it is made; the file has its SHA-256. A key has 256 random bits, so that a
slow hash, which guards passwords against guessing, would protect nothing.
"""

import fcntl
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from sire.atomic import write_atomically
from sire.errors import InvalidConfiguration, shown
from sire.nearest import did_you_mean

Scope = Literal["predict", "manage"]
SCOPES: tuple[Scope, ...] = ("predict", "manage")
_PREFIX = "sire_"
_RANDOM_BYTES = 32
_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a key.

    Attributes:
        name: of the person or program that has it.
        sha256: of the key itself, in hexadecimal.
        scope: "manage" may load and unload models as well.
        models: the only models that it may use; empty for all.
        rate: requests per second, on average; None for no limit.
        streams: requests in progress at once; None for the gateway's limit.
        created: when it was made, and ``expires`` when it ends, in seconds since the epoch; None
            for never.
    """

    name: str
    sha256: str
    scope: Scope = "predict"
    models: tuple[str, ...] = ()
    rate: float | None = None
    streams: int | None = None
    created: float = 0.0
    expires: float | None = None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= time.time()


class KeyFile:
    """The file of all keys, which only its owner can read.

    Args:
        path: of the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[ApiKey, ...]:
        """All keys, in the order in which they were made.

        Raises:
            InvalidConfiguration: the file is damaged or cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[ApiKey, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise InvalidConfiguration(
                f"The keys in {self.path} cannot be read: {problem}",
                hint="Restore the file, or delete it and make the keys anew.",
            ) from None

    def add(
        self,
        name: str,
        *,
        scope: Scope = "predict",
        models: tuple[str, ...] = (),
        rate: float | None = None,
        streams: int | None = None,
        seconds: float | None = None,
    ) -> str:
        """Make a key, and store what is needed to recognise it.

        Args:
            name: of the person or program that gets it.
            scope: what it may do.
            models: the only models that it may use; empty for all.
            rate: requests per second, on average; None for no limit.
            streams: requests in progress at once; None for the gateway's limit.
            seconds: how long it is valid; None for ever.

        Returns:
            The key, which cannot be had a second time.

        Raises:
            InvalidConfiguration: the name is taken or not valid, or the file cannot be read or
                written.
        """
        if not _NAME.fullmatch(name):
            raise InvalidConfiguration(
                f"{shown(name)} is not a name for a key.",
                hint="Names have up to 64 letters, digits and the characters . _ @ -",
            )
        key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        now = time.time()
        made = ApiKey(
            name=name,
            sha256=hashed(key),
            scope=scope,
            models=models,
            rate=rate,
            streams=streams,
            created=now,
            expires=None if seconds is None else now + seconds,
        )
        with self._changing():
            known = self.read()
            if any(one.name == name for one in known):
                raise InvalidConfiguration(
                    f"There is a key {name} already.",
                    hint=f"Take another name, or revoke it first: sire key rm {name}",
                )
            self._write((*known, made))
        return key

    def remove(self, name: str) -> None:
        """Revoke a key.

        Raises:
            InvalidConfiguration: there is no key of that name, or the file cannot be read or
                written.
        """
        with self._changing():
            known = self.read()
            left = tuple(one for one in known if one.name != name)
            if left == known:
                names = [one.name for one in known]
                raise InvalidConfiguration(
                    f"There is no key {shown(name)}.",
                    hint=f"{did_you_mean(name, names)}List them: sire key ls",
                )
            self._write(left)

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        content = msgspec.json.format(msgspec.json.encode(keys), indent=1)
        write_atomically(self.path, content + b"\n")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other processes from changing the file at the same time."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as problem:
            raise InvalidConfiguration(
                f"The keys in {self.path} cannot be changed: {problem.strerror}."
            ) from None


def hashed(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def find_key(keys: tuple[ApiKey, ...], key: str) -> ApiKey | None:
    """The record of a key; None if there is none. Takes the same time for each key of a file."""
    wanted, found = hashed(key), None
    for one in keys:
        if hmac.compare_digest(one.sha256, wanted):
            found = one
    return found
