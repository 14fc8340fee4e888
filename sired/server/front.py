"""The front socket: a ZeroMQ ROUTER that plain REQ clients can talk to.

It is drained by hand from the event loop rather than through ``zmq.asyncio``, which takes a
quarter of an echo's throughput. ZeroMQ's descriptor is edge-triggered: whoever has been woken
reads until there is nothing more, and looks again after every send.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from sire.errors import DaemonUnavailable, InvalidInput, ProtocolError, SireError
from sire.protocol.content import Buffer
from sire.protocol.framing import (
    LARGEST_HEADER,
    decode_request,
    encode,
    failure,
    preamble,
    too_large,
)
from sire.protocol.replies import Done
from sire.protocol.requests import Message, Request

log = logging.getLogger(__name__)

# More than a header of the largest size tells of; each costs memory of its own.
MOST_FRAMES = 1 << 16
# Requests read before other events of the loop get their turn.
READ_AT_ONCE = 16
# Smaller frames are copied: keeping account of a borrowed one takes longer.
WORTH_BORROWING = 16 * 1024

# Plain numbers: every use of zmq's enumerations costs as much as the call it is for.
_EVENTS, _RCVMORE = int(zmq.EVENTS), int(zmq.RCVMORE)
_POLLIN, _NOBLOCK, _SNDMORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE)
# Why a frame cannot be borrowed that can be copied.
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Client(msgspec.Struct, frozen=True):
    """Whom to answer: the connection, and the id the client gave its request."""

    connection: bytes
    request_id: str | int


Handler = Callable[[Client, Request, tuple[Buffer, ...]], None]


class Front:
    """Receives requests of one user, hands them to a handler, and sends replies.

    Args:
        path: of the socket.
        largest_message: bytes; whoever sends more loses the connection.
        listening: a descriptor that listens at ``path`` already, which is taken over; None to
            make one. The path of one that was given stays when it is closed.
        owner: the user who is served; all others are refused, whatever the socket's modes say.
    """

    def __init__(
        self,
        path: Path,
        largest_message: int,
        listening: int | None = None,
        owner: int | None = None,
    ) -> None:
        self._path, self._aside = path, path.with_suffix(".away")
        self._largest_message = largest_message
        self._listening = listening
        self._owner = os.getuid() if owner is None else owner
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.set(zmq.LINGER, 1000)
        # It counts each frame, and hangs up on who sends a larger one.
        self._socket.set(zmq.MAXMSGSIZE, max(largest_message, LARGEST_HEADER))
        # A client that does not read its replies loses them; it must not hold up the others.
        self._socket.set(zmq.SNDHWM, 1000)
        self._descriptor = int(self._socket.get(zmq.FD))
        # What keeps account of borrowed frames is made now, while there are descriptors for it.
        zmq.Frame(bytes(WORTH_BORROWING), copy=False)
        self._accepting = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler
        self._looking = False
        self._header: zmq.Frame | None = None

    def open(self, loop: asyncio.AbstractEventLoop, handler: Handler) -> None:
        """Bind the socket and hand every request to ``handler`` from now on."""
        self._loop = loop
        self._handler = handler
        if self._listening is not None:
            self._socket.set(zmq.USE_FD, self._listening)
        try:
            self._socket.bind(f"ipc://{self._path}")
        except zmq.ZMQError as problem:
            raise DaemonUnavailable(
                f"Cannot listen on {self._path}: {problem.strerror}.",
                hint="Is there something in its place, or is the disk full?",
            ) from None
        loop.add_reader(self._descriptor, self._drain)
        self._look_again()

    def accept(self, wanted: bool) -> None:
        """Let new clients in, or have them wait outside; those that are in stay.

        ZeroMQ accepts whoever knocks, and stopping to listen would end every connection. So the
        door is taken away: clients try again and again, and find it when it is back.

        Raises:
            OSError: somebody has moved the socket.
        """
        if wanted != self._accepting:
            here, away = (self._path, self._aside) if self._accepting else (self._aside, self._path)
            here.rename(away)
            self._accepting = wanted

    def close(self) -> None:
        """Send what is on its way out and close the socket."""
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
        self._socket.close()
        self._context.term()
        if self._listening is not None:
            self.accept(wanted=True)
            return
        for place in (self._path, self._aside):
            place.unlink(missing_ok=True)

    def reply(self, client: Client, message: Message, payload: tuple[Buffer, ...] = ()) -> None:
        """Send a reply; a client that has gone away is passed over."""
        frames = [b"", encode(message), *payload]
        more = _NOBLOCK | _SNDMORE
        try:
            self._socket.send(client.connection, more)
            last = frames.pop()
            for frame in frames:
                self._send(frame, more)
            self._send(last, _NOBLOCK)
        except zmq.Again:
            log.warning("a client does not read its replies; one was dropped")
        self._look_again()

    def _send(self, frame: Buffer, flags: int) -> None:
        """Send one frame; a message that is begun must be ended."""
        try:
            self._socket.send(frame, flags, copy=len(frame) < WORTH_BORROWING)
        except zmq.ZMQError as problem:
            if problem.errno not in _NO_ROOM:
                raise
            self._socket.send(frame, flags)

    def peer_pid(self) -> int | None:
        """The process that sent the message being handled; None where nobody can tell.

        Only of use while the handler has not returned.
        """
        _, pid = _credentials(self._header)
        return pid or None

    def done(self, client: Client) -> None:
        """Reply that it is done, where there is no more to say."""
        self.reply(client, Done(id=client.request_id))

    def fail(self, client: Client, error: SireError) -> None:
        """Reply with an error."""
        self.reply(client, failure(error, client.request_id))

    def begun(self, client: Client) -> None:
        """A worker has begun a prediction: clients are not told."""

    def _look_again(self) -> None:
        # Sending may have swallowed the edge that announced a message. Once is enough: if every
        # reply had it looked for, one client's flood would keep all else from the loop.
        if self._loop is not None and not self._looking and self._readable():
            self._looking = True
            self._loop.call_soon(self._drain)

    def _readable(self) -> bool:
        return bool(int(self._socket.getsockopt(_EVENTS)) & _POLLIN)

    def _drain(self) -> None:
        self._looking = True  # until we are through, nobody else need do so
        try:
            for _ in range(READ_AT_ONCE):
                if not self._readable():
                    break
                self._take(self._receive())
        finally:
            self._looking = False
        self._look_again()

    def _receive(self) -> list[Buffer]:
        """One message's frames; payloads stay where ZeroMQ put them.

        Of more frames than a message may have, there is one too many.
        """
        frames: list[Buffer] = [self._socket.recv(_NOBLOCK), self._socket.recv(_NOBLOCK)]
        more = bool(self._socket.getsockopt(_RCVMORE))
        while more:
            frame = self._socket.recv(_NOBLOCK, copy=False)
            if len(frames) == 2:
                self._header = frame
            if len(frames) <= MOST_FRAMES:
                frames.append(frame.buffer)
            more = frame.more
        return frames

    def _take(self, frames: list[Buffer]) -> None:
        """Read one message's envelope and header, and hand it on."""
        connection = bytes(frames[0])
        if len(frames) < 3 or frames[1]:
            error = ProtocolError(
                f"A message of {len(frames) - 1} frames came without a header.",
                hint="Send it from a REQ socket: the header, then the payload.",
            )
            self.fail(Client(connection, ""), error)
            return
        if (uid := _credentials(self._header)[0]) != self._owner:
            log.warning("a request of uid %s was refused", uid)
            refusal = DaemonUnavailable(f"This daemon serves uid {self._owner} only.")
            self.fail(Client(connection, ""), refusal)
            return
        try:
            request = decode_request(memoryview(frames[2]))
        except ProtocolError as error:
            header = memoryview(frames[2])[:LARGEST_HEADER]
            self.fail(Client(connection, preamble(header).id), error)
            return
        client = Client(connection, request.id)
        try:
            self._check_size(frames[3:], len(frames))
            self._handler(client, request, tuple(frames[3:]))
        except SireError as error:
            self.fail(client, error)
        except Exception as problem:
            log.exception("a %s request failed unexpectedly", type(request).__name__)
            self.fail(client, SireError(f"Unexpected {type(problem).__name__}: {problem}"))

    def _check_size(self, payload: list[Buffer], count: int) -> None:
        if count > MOST_FRAMES:
            raise InvalidInput(
                f"A message may have {MOST_FRAMES} frames; more came.",
                hint="Send less at a time.",
            )
        if (size := sum(map(len, payload))) > self._largest_message:
            raise too_large(size, self._largest_message)


def _credentials(frame: zmq.Frame | None) -> tuple[int | None, int | None]:
    """Uid and pid of the process that sent a frame, as the kernel tells them: ``…:uid:gid:pid``."""
    try:
        said = str(frame.get("Peer-Address")) if frame is not None else ""
    except zmq.ZMQError:
        return None, None
    words = said.rsplit(":", 3)[1:]
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        return None, None
    return int(words[0]), int(words[2])
