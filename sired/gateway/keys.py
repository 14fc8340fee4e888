"""Which API key a request has, and whether that allows it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sire.errors import InvalidConfiguration
from sire.keys import ApiKey, KeyFile, find_key
from sired.gateway.errors import HttpError

Headers = Iterable[tuple[bytes, bytes]]

# How clients send a key: OpenAI's, Anthropic's and Azure's header.
_BEARER = b"bearer "
_KEY_HEADERS = frozenset({b"x-api-key", b"api-key"})
# Headers that have a key, which programs must not see.
SECRET_HEADERS = _KEY_HEADERS | {b"authorization"}
# A key with a rate may be used this many seconds ahead at once.
_BURST_SECONDS = 1.0
# Requests that a key may have in progress, unless it says otherwise.
MOST_STREAMS = 512


@dataclass(slots=True)
class _Allowance:
    """Requests that a key has left, at a time of the monotonic clock."""

    left: float
    at: float


class Keys:
    """The keys that the gateway demands. The file is read anew whenever it has changed.

    Args:
        file: where they are.

    Raises:
        InvalidConfiguration: it has none, or cannot be read.
    """

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._version: tuple[int, int, int] | None = None
        self._keys: tuple[ApiKey, ...] = ()
        self._allowances: dict[str, _Allowance] = {}
        self._in_progress: dict[str, int] = {}
        self._read()
        if not self._keys:
            raise InvalidConfiguration(
                f"There are no keys in {file.path}.", hint="Make one: sire key add NAME"
            )

    def check(self, headers: Headers) -> ApiKey:
        """The key of a request with these headers, whose names are in lower case.

        Raises:
            HttpError: it has none, an unknown or expired one, or used it too often.
        """
        key = _key_in(headers)
        if not key:
            raise _unauthorized("The request has no API key.")
        found = find_key(self._current(), key)
        if found is None:
            raise _unauthorized("The API key is not valid.")
        if found.expired:
            raise _unauthorized(f"The API key of {found.name} has expired.")
        if found.rate is not None:
            self._count(found, found.rate)
        return found

    def _current(self) -> tuple[ApiKey, ...]:
        """The keys that are in the file now.

        Raises:
            HttpError: it has been damaged; every request is refused until it is mended.
        """
        try:
            self._read()
        except InvalidConfiguration as problem:
            raise HttpError(503, problem.message, hint=problem.hint) from None
        return self._keys

    def _read(self) -> None:
        try:
            status = self._file.path.stat()
            version = status.st_ino, status.st_mtime_ns, status.st_size
        except FileNotFoundError:
            version = None
        if version is None or version != self._version:
            self._keys, self._version = self._file.read(), version

    def _count(self, key: ApiKey, rate: float) -> None:
        """Count a request against the rate of its key."""
        now, most = time.monotonic(), max(1.0, rate * _BURST_SECONDS)
        allowance = self._allowances.setdefault(key.sha256, _Allowance(most, now))
        left = min(most, allowance.left + (now - allowance.at) * rate)
        if left < 1:
            wait = (1 - left) / rate
            raise HttpError(
                429,
                f"The API key of {key.name} allows {rate:.3g} requests per second.",
                headers={"retry-after": str(max(1, round(wait)))},
            )
        allowance.left, allowance.at = left - 1, now

    @contextmanager
    def in_progress(self, key: ApiKey) -> Iterator[None]:
        """Count a request of a key until its response has been sent.

        Raises:
            HttpError: the key has as many in progress as it may have.
        """
        count = self._in_progress.get(key.sha256, 0)
        if count >= (most := key.streams or MOST_STREAMS):
            raise HttpError(
                429,
                f"The API key of {key.name} has {count} requests in progress; the limit is {most}.",
                hint="Wait until one of them has ended.",
            )
        self._in_progress[key.sha256] = count + 1
        try:
            yield
        finally:
            self._in_progress[key.sha256] -= 1
            if not self._in_progress[key.sha256]:
                del self._in_progress[key.sha256]


def require_manage(key: ApiKey | None) -> None:
    """Refuse a request whose key may only predict.

    Raises:
        HttpError: its key has not the scope ``manage``.
    """
    if key is not None and key.scope != "manage":
        raise HttpError(
            403,
            f"The API key of {key.name} may not load or unload models.",
            hint="That takes a key of the scope manage: sire key add NAME --scope manage",
        )


def require_all_models(key: ApiKey | None) -> None:
    """Refuse a request whose key is for some models only.

    Raises:
        HttpError: it is.
    """
    if key is not None and key.models:
        raise HttpError(403, f"The API key of {key.name} is for some models only.")


def _key_in(headers: Headers) -> str:
    """The key in the headers of a request; "" if there is none."""
    for name, value in headers:
        if name in _KEY_HEADERS:
            return value.decode("latin-1")
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].decode("latin-1").strip()
    return ""


def _unauthorized(message: str) -> HttpError:
    return HttpError(
        401,
        message,
        hint="Send it as Authorization: Bearer KEY.",
        headers={"www-authenticate": "Bearer"},
    )
