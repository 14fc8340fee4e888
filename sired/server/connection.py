"""One client's connection: a Unix stream socket that never blocks."""

import asyncio
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from sire.errors import ProtocolError
from sire.protocol.content import Buffer
from sired.server.unfinished import UnfinishedMessages
from sired.server.unread import UnreadReplies
from sired.server.zmtp import GREETING, Decoder, encode

# More than a step of the protocol that arrives in pieces.
SCRATCH_BYTES = 64 * 1024
# Messages read before the loop's other events get their turn.
MESSAGES_PER_TURN = 16
# Of a large frame, each of which takes what the kernel holds.
_READS_PER_TURN = 16
# Replies that a client leaves unread; further ones are dropped.
_MOST_UNREAD = 1000
# The same for what the protocol demands: a client may send PING for ever.
_MOST_UNREAD_ANSWERS = 16
# Buffers that the kernel takes at a time.
_BUFFERS_PER_CALL = 512
# How often a connection asks again for room.
_ROOM_SECONDS = 0.02
_CREDENTIALS = struct.Struct("3i")


class ClientConnection:
    """Receives the messages of a client, and sends replies.

    Args:
        loop: the event loop.
        line: the connected socket.
        decoder: cuts what arrives into messages.
        scratch: where to receive; shared by all connections.
        unfinished: bounds the messages that have begun, over all connections.
        unread: bounds the replies that clients leave unread, over all connections.
        take: called with each message's frames.
        ended: called once the client has disconnected, or has been.

    Attributes:
        uid: user id of the process that connected, as reported by the kernel.
        pid: its process id; 0 if it cannot be known here, as from another container.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        line: socket.socket,
        decoder: Decoder,
        scratch: memoryview,
        unfinished: UnfinishedMessages,
        unread: UnreadReplies,
        take: Callable[[list[Buffer]], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop, self._line = loop, line
        self._decoder, self._scratch = decoder, scratch
        self._unfinished, self._unread = unfinished, unread
        self._unsent_bytes = 0
        self._take, self._ended = take, ended
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, self.uid, _ = _CREDENTIALS.unpack(credentials)
        # What is left of each message.
        self._unsent: deque[deque[memoryview]] = deque()
        self._waits = self._held_off = False
        line.setblocking(False)
        loop.add_reader(line, self._readable)
        self._send((memoryview(GREETING),))

    @property
    def open(self) -> bool:
        """Whether neither side has closed the connection."""
        return self._line.fileno() >= 0

    def close(self) -> None:
        """Close the connection; what has not been sent is lost."""
        if self.open:
            self._loop.remove_reader(self._line)
            self._loop.remove_writer(self._line)
            self._line.close()
            self._drop_unsent()
            self._unfinished.forget(self)
            self._ended()

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send a message, now or as soon as the client has read others.

        Returns:
            False if the client has left too many unread: the message is dropped.
        """
        if len(self._unsent) >= _MOST_UNREAD:
            return False
        if self.open:
            self._send(encode(frames))
        return True

    def _send(self, buffers: Iterable[memoryview]) -> None:
        message = deque(buffers)
        self._unsent.append(message)
        self._unsent_bytes += sum(map(len, message))
        if not self._waits:
            self._write()
        elif self._unsent_bytes:
            self._unread.note(self, self._unsent_bytes, self._loop)

    def _write(self) -> None:
        """Send what the kernel takes, and wait for it to take the rest."""
        try:
            while self._unsent:
                message = self._unsent[0]
                sent = self._line.sendmsg(islice(message, _BUFFERS_PER_CALL))
                self._unsent_bytes -= sent
                while message and len(message[0]) <= sent:
                    sent -= len(message.popleft())
                if not message:
                    self._unsent.popleft()
                elif sent:
                    message[0] = message[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            # The client has gone. What it sent before is read first, then the end.
            self._drop_unsent()
        if self._waits or self._unsent:
            self._unread.note(self, self._unsent_bytes, self._loop)
        if self._waits != bool(self._unsent):
            self._waits = not self._waits
            if self._waits:
                self._loop.add_writer(self._line, self._write)
            else:
                self._loop.remove_writer(self._line)

    def _drop_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        self._unread.note(self, 0, self._loop)

    def flush(self, deadline: float) -> None:
        """Send what waits until ``deadline``, on the monotonic clock; this blocks."""
        while self.open and self._unsent and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._line], [], left)
            self._write()

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                count = self._line.recv_into(self._decoder.target(self._scratch))
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if not count:
                self.close()
                return
            self._read(count)
            # A small message is followed by nothing as a rule, which would take a call to find out.
            if not self._decoder.in_place or self._held_off:
                return

    def _read(self, count: int) -> None:
        """Take the messages that are complete with ``count`` more bytes."""
        taken = 0
        try:
            for message in self._decoder.messages(self._scratch, count, MESSAGES_PER_TURN):
                taken += 1
                self._take(message)
        except ProtocolError:
            self.close()
            return
        if answer := self._decoder.answer:
            self._decoder.answer = b""
            if len(self._unsent) < _MOST_UNREAD_ANSWERS:
                self._send((memoryview(answer),))
        if taken == MESSAGES_PER_TURN:
            # The rest is not read before these have been taken.
            self._loop.remove_reader(self._line)
            self._loop.call_soon(self._resume)
        elif self.open and not self._unfinished.may_read(self, self._decoder.unfinished):
            self._held_off = True
            self._loop.remove_reader(self._line)
            self._loop.call_later(_ROOM_SECONDS, self._ask_for_room)

    def _resume(self) -> None:
        if self.open:
            self._loop.add_reader(self._line, self._readable)
            self._read(0)

    def _ask_for_room(self) -> None:
        """Go on reading a message for which there was no room, or ask again."""
        if not self.open:
            return
        if self._unfinished.may_read(self, self._decoder.unfinished):
            self._held_off = False
            self._loop.add_reader(self._line, self._readable)
        else:
            self._loop.call_later(_ROOM_SECONDS, self._ask_for_room)
