"""The end of one WebSocket connection: its life, the close frames of both sides, and the reason.

Every method is called with the transport's lock held. Not the business of this module: reading and writing, which
report to it.
"""

from __future__ import annotations

import ssl
from dataclasses import replace

from meshsync.errors import ConnectionLost, MeshsyncError, ProtocolError
from meshsync.protocol import frames
from meshsync.protocol.send_buffer import SendBuffer
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.lifecycle import move
from meshsync.transport.endings import (
    CLOSED_HERE,
    MOVES,
    Ending,
    Life,
    broke,
    closed_by_peer,
    closed_here,
    protocol_broken,
)
from meshsync.transport.shared_socket import SharedSocket, SocketState

__all__ = ["Closing"]

_LINGER = 1.0
"""Seconds to get an answering close frame out, or to read the rest of a broken connection."""

_PEER_IS_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""Failures of a write after which data may still be read."""


class Closing:
    """The life of one connection, and the closing handshake that leads to its end."""

    __slots__ = ("_buffer", "_runtime", "_socket", "ending", "fault", "life", "linger")

    def __init__(self, runtime: Runtime, socket: SharedSocket, buffer: SendBuffer) -> None:
        self._runtime = runtime
        self._socket = socket
        self._buffer = buffer
        self.life: Life = Life.OPEN
        self.ending: Ending | None = None
        """How it ended, or will end, once it left OPEN."""
        self.fault: ProtocolError | None = None
        """How the peer broke the protocol, if it did."""
        self.linger: Deadline | None = None
        """When a connection that is ANSWERING or BROKEN is given up; None in any other life."""

    # --- causes of the end --------------------------------------------------------------------------------------------

    def begin(self, close_frame: bytes) -> None:
        """If the connection is open, close it from this side: the frame goes behind the accepted data."""
        if self.life is Life.OPEN:
            self._move(Life.CLOSING, CLOSED_HERE)
            self._buffer.put_bye(close_frame)

    def close_frame_came(self, close: frames.CloseFrame) -> None:
        """Apply the peer's close frame: the answer to ours, or one to be answered."""
        if self.life is Life.CLOSING and self._buffer.bye_sent:
            self.finish(closed_here(close), is_answered=True)
        elif self.life is Life.BROKEN:
            self.finish(closed_by_peer(close))
        else:
            self._send_and_end(close.code, close.reason, closed_by_peer(close))

    def peer_broke_protocol(self, fault: ProtocolError) -> None:
        """Send the peer the fault, and end."""
        self.fault = fault
        self._send_and_end(fault.code, str(fault), protocol_broken(fault))

    def answer_went(self) -> None:
        """Note a write while ANSWERING: the end comes behind our close frame."""
        if self.life is Life.ANSWERING and self._buffer.bye_sent:
            self.finish(is_answered=True)

    def writing_failed(self, error: OSError) -> None:
        """Stop writing; data that the peer sent before can still be read."""
        if self.life is Life.ANSWERING:
            self.finish()
        elif self.life in (Life.OPEN, Life.CLOSING):
            if isinstance(error, _PEER_IS_GONE):
                self._move(Life.BROKEN, broke(error))
                self.linger = Deadline(self._runtime, _LINGER)
                self._socket.ring()
            else:
                self.finish(broke(error))

    def _send_and_end(self, code: int | None, reason: str, ending: Ending) -> None:
        """Send a close frame as soon as the frame on its way is through, and end after it."""
        if self._buffer.bye_sent or self.life is Life.BROKEN:
            self.finish(ending)
        elif self.life in (Life.OPEN, Life.CLOSING):
            self._move(Life.ANSWERING, ending)
            self._buffer.drop_data()
            self._buffer.put_bye(frames.encode_close(code, reason, self._runtime.entropy(4)))
            self.linger = Deadline(self._runtime, _LINGER)

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self, ending: Ending | None = None, *, is_answered: bool = False) -> None:
        """End, the one way to it. Without ``ending``, as foreseen when the connection left OPEN."""
        if self.life is not Life.ENDED:
            ending = ending or self.ending or CLOSED_HERE
            if is_answered and self.fault is None:
                ending = replace(ending, clean=True)
            self._move(Life.ENDED, ending)
        if self._socket.state is SocketState.OPEN:  # It is so in a connection that has ended if Ctrl-C struck above.
            self._socket.shut_down()

    def loss(self) -> ConnectionLost:
        """Return a new error with the reason of the end."""
        return (self.ending or CLOSED_HERE).loss()

    def error(self) -> MeshsyncError:
        """Return a new error for the reader: the peer's fault, if there was one, or the loss."""
        return self.loss() if self.fault is None else ProtocolError(str(self.fault), code=self.fault.code)

    def check_open(self) -> None:
        """Check that the connection is open.

        Raises:
            ConnectionLost: If it is not.
        """
        if self.life is not Life.OPEN:
            raise self.loss()

    def _move(self, life: Life, ending: Ending) -> None:
        self.life = move(MOVES, self.life, life, "a connection")
        self.ending = ending
        self._socket.lock.notify_all()
