"""What every client of a daemon can do, whatever the way to it."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Self, TypeVar

from sire.client.link import Answer
from sire.errors import ProtocolError
from sire.protocol.content import Buffer
from sire.protocol.replies import Reply
from sire.protocol.requests import Predict, Request

_Kind = TypeVar("_Kind")


class DaemonClient(ABC):
    """Sends requests to a daemon, one after the other; for one thread at a time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the next request opens another one."""

    @abstractmethod
    def ask(
        self, request: Request, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> Answer:
        """Send one request and wait for its reply.

        A ``KeyboardInterrupt`` while waiting cancels the request.

        Args:
            request: any request; its ``id`` is set here.
            payload: the frames that follow the header; must not change until the reply arrives.
            timeout: seconds to wait for the connection and then for the reply; None waits as
                long as the daemon lives and answers.

        Returns:
            The reply and the frames that came with it.

        Raises:
            SireError: the typed error the daemon replied with.
            DaemonUnavailable: there is no daemon, it went away before it replied, or it does not
                respond.
            DeadlineExceeded: no reply within ``timeout``; the request is cancelled.
        """

    @abstractmethod
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

    @abstractmethod
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
