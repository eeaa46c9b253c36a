"""The closing handshake, without anything being read or written: what each event leads to."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from meshsync.errors import ConnectionLost, ProtocolError
from meshsync.protocol.frames import CloseFrame, encode_close
from meshsync.protocol.send_buffer import SendBuffer
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.closing import Closing
from meshsync.transport.endings import Life
from meshsync.transport.shared_socket import SharedSocket, SocketState


class Connection:
    """A closing over one of two sockets, with the lock held."""

    def __init__(self, ours: socket.socket) -> None:
        runtime = ThreadRuntime()
        self.socket = SharedSocket(ours, runtime)
        self.buffer = SendBuffer()
        self.closing = Closing(runtime, self.socket, self.buffer)

    def write(self) -> None:
        """Write all that waits."""
        while data := self.buffer.take():
            self.buffer.advance(len(data))
        self.closing.answer_went()

    @property
    def outcome(self) -> tuple[int | None, str, bool]:
        loss = self.closing.loss()
        return loss.code, loss.reason, loss.clean


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Return one that is open, its lock held."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    with connection.socket.lock:
        yield connection
    ours.close()
    theirs.close()


def test_our_close_frame_is_answered(connection: Connection) -> None:
    """Closing is clean once the peer answers a close frame that went out, and the socket is gone then."""
    connection.closing.begin(encode_close(1000, "", bytes(4)))
    assert connection.closing.life is Life.CLOSING
    connection.write()
    connection.closing.close_frame_came(CloseFrame(1000, "bye"))
    assert connection.closing.life is Life.ENDED
    assert connection.outcome == (1000, "bye", True)
    assert connection.socket.state is SocketState.CLOSED


def test_the_peers_close_frame_is_answered_before_the_end(connection: Connection) -> None:
    """What was accepted is dropped, the answer goes out, and then it ends, cleanly, for the peer's reason."""
    connection.buffer.accept([(bytes(10), 1)], 10)
    connection.closing.close_frame_came(CloseFrame(1001, "restarting"))
    assert connection.closing.life is Life.ANSWERING
    assert connection.buffer.bytes_buffered == 0
    connection.write()
    assert connection.closing.life is Life.ENDED
    assert connection.outcome == (1001, "restarting", True)


def test_a_fault_of_the_peer_is_no_clean_end(connection: Connection) -> None:
    """The reader gets the fault itself, a sender a loss with its code; neither is clean."""
    connection.closing.peer_broke_protocol(ProtocolError("a reserved bit", code=1002))
    connection.write()
    assert connection.outcome == (1002, "a reserved bit", False)
    assert isinstance(connection.closing.error(), ProtocolError)


@pytest.mark.parametrize(
    ("error", "life"), [(BrokenPipeError(32, "Broken pipe"), Life.BROKEN), (OSError(5, "I/O error"), Life.ENDED)]
)
def test_a_failed_write_leaves_reading_if_the_peer_has_gone(connection: Connection, error: OSError, life: Life) -> None:
    """What a peer sent before it went may still be read, for a while; another failure is the end."""
    connection.closing.writing_failed(error)
    assert connection.closing.life is life
    assert (connection.closing.linger is not None) is (life is Life.BROKEN)
    with pytest.raises(ConnectionLost, match=error.strerror or ""):
        connection.closing.check_open()


def test_the_first_end_counts(connection: Connection) -> None:
    """Later news of the end changes nothing."""
    connection.closing.finish()
    connection.closing.finish(is_answered=True)
    connection.closing.begin(encode_close(1000, "", bytes(4)))
    connection.closing.writing_failed(BrokenPipeError())
    assert connection.outcome == (None, "closed on this side", False)


def test_an_end_that_was_cut_short_is_completed(connection: Connection) -> None:
    """Ctrl-C between the state and the socket leaves an ended connection with an open socket: the next call ends it."""
    connection.closing.life = Life.ENDED
    connection.closing.finish()
    assert connection.socket.state is SocketState.CLOSED
