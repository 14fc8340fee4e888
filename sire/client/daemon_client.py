"""What every client of a daemon can do, whatever the way to it."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Self, TypeVar

import msgspec

from sire.client.link import Answer
from sire.errors import DaemonUnavailable, ProtocolError
from sire.protocol.content import Buffer
from sire.protocol.jobs import Submit
from sire.protocol.replies import Reply
from sire.protocol.requests import READING, Predict, Request

_Kind = TypeVar("_Kind")


class DaemonClient(ABC):
    """Sends requests to a daemon, one after the other; for one thread at a time."""

    # Whether the last request failed because the other end died.
    _died = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the next request opens another one."""

    @abstractmethod
    def _replies(
        self, request: Request, payload: Sequence[Buffer], timeout: float | None
    ) -> Generator[Answer, None, None]:
        """Send a request and yield its replies; all but the last are parts.

        It sets ``_died`` anew.
        """

    def ask(
        self, request: Request, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> Answer:
        """Send one request and wait for its reply.

        A ``KeyboardInterrupt`` while waiting cancels the request. If the other end dies, a request
        that changes nothing is sent to the next daemon. So is a submission, whose key lets the next
        daemon detect that the first one has stored the jobs.

        Args:
            request: any request; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply arrives.
            timeout: seconds to wait for the connection and then for the reply; None waits as
                long as the daemon lives and answers.

        Returns:
            The reply and the frames that came with it.

        Raises:
            SireError: the typed error the daemon replied with.
            InvalidInput: the header of the request exceeds the limit.
            DaemonUnavailable: no daemon runs and none was started, it went away before it replied,
                or it does not respond.
            DeadlineExceeded: no reply within ``timeout``; the request is cancelled.
        """
        if isinstance(request, Submit) and not request.key:
            request = msgspec.structs.replace(request, key=uuid.uuid4().hex)
        try:
            return next(self._replies(request, payload, timeout))
        except DaemonUnavailable:
            if not (self._died and isinstance(request, (*READING, Submit))):
                raise
        return next(self._replies(request, payload, timeout))

    def predict(
        self, request: Predict, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> Answer:
        """Send a prediction by the fastest way there is.

        Args:
            request: the prediction; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply arrives.
            timeout: seconds to wait for the reply.

        Raises:
            SireError: the errors of ``ask``.
        """
        return self.ask(request, payload, timeout=timeout)

    def stream(
        self, request: Predict, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> Generator[Answer, None, None]:
        """Send a prediction whose answer arrives in parts, as the model produces them.

        Leaving the loop, or closing the generator, cancels the request.

        Args:
            request: the prediction; its ``id`` and ``stream`` are set here.
            payload: the frames that follow the header; must not change until the last reply.
            timeout: seconds to wait for each part.

        Returns:
            A generator of ``Part`` messages and then the ``Prediction``, which has the whole answer
            if there was no part.

        Raises:
            SireError: the errors of ``ask``, perhaps after some parts.
        """
        return self._replies(msgspec.structs.replace(request, stream=True), payload, timeout)

    def expect(
        self,
        kind: type[_Kind],
        request: Request,
        payload: Sequence[Buffer] = (),
        *,
        timeout: float | None = None,
    ) -> _Kind:
        """Send one request whose reply is of one kind, without payload, and return that.

        Args:
            kind: the class of the reply.
            request: any request; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply arrives.
            timeout: seconds to wait for the reply; None waits as long as the daemon lives.

        Raises:
            ProtocolError: the reply is of another kind.
            SireError: the errors of ``ask``.
        """
        reply, _ = self.ask(request, payload, timeout=timeout)
        return of_kind(kind, request, reply)


def of_kind(kind: type[_Kind], request: Request, reply: Reply) -> _Kind:
    """The reply to a request, which is of one kind.

    Raises:
        ProtocolError: it is of another kind.
    """
    if not isinstance(reply, kind):
        raise ProtocolError(
            f"The daemon answered {type(request).__name__} with {type(reply).__name__}.",
            hint="Are sire and sired of the same version? Try: sire daemon restart",
        )
    return reply


def own_timeout(request: Request) -> float | None:
    """Seconds after which the daemon itself fails the request; None if it has no such limit."""
    if isinstance(request, Submit):  # that of the job
        return None
    timeout: float | None = getattr(request, "timeout", None)
    return timeout
