"""One stream at this client: its handshake, its two directions, and its end.

A stream carries chunks both ways between two participants. What the two sides tell each other, flow control included,
is described in ``meshsync.protocol.stream_messages``. Programs use it through its endpoints
(``meshsync.streams.endpoints``), which know it; it does not know them.

The channel and the deliveries (``meshsync.streams.outgoing``) belong to one connection; the life, the account and what
is unread (``meshsync.streams.incoming``) belong to the stream.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    ProtocolError,
    SendTimeout,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.messages import Buffer, as_buffer
from meshsync.protocol.flow_control import LEAST_WINDOW, Account, size_of
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Credit, Reject, StreamChunk, StreamMessage
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.channels import Channel
from meshsync.streams.incoming import Incoming
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase, StreamEnd, StreamHost, StreamIdentity, StreamLife
from meshsync.streams.outgoing import Outgoing

__all__ = ["ClientStream"]

ABORT_TIMEOUT = 5.0
"""Longest wait for room in the connection's buffer when a stream is given up, in seconds."""


class ClientStream:
    """One stream at this client: what its writer and its reader share.

    The client's reader task calls the methods of the last part, which never wait; programs call the others, through
    the endpoints.

    Args:
        channel: What carries its messages; another one takes its place if the peer accepts by that.
        peer_window: Bytes that the peer is ready to hold unread, from its offer; None if it knows no flow control.
    """

    def __init__(
        self, host: StreamHost, channel: Channel, identity: StreamIdentity, *, peer_window: int | None = None
    ) -> None:
        self.identity = identity
        self.channel = channel
        self.life = StreamLife(identity, host.runtime.condition())
        # Most openers read nothing: they get a window of full size when they do.
        self.account = Account(LEAST_WINDOW if identity.is_opener else host.window())
        self.incoming = Incoming(self.life, self.account, host)
        self.outgoing = Outgoing(self.life, self.account, host)
        self._host = host
        self._peer_window = peer_window

    @property
    def runtime(self) -> Runtime:
        """The runtime of its client."""
        return self._host.runtime

    @property
    def peer_is_meshsync(self) -> bool:
        """Whether the peer has shown that it knows flow control and cancelling."""
        return self._peer_window is not None or self.account.is_agreed

    @property
    def is_opening(self) -> bool:
        """Whether this client offered it and has no answer yet."""
        return self.identity.is_opener and self.life.phase is Phase.OFFERED

    def __repr__(self) -> str:
        return repr(self.identity)

    # --- the handshake ------------------------------------------------------------------------------------------------

    def wait_answer(self, timeout: float | None) -> bool:
        """Wait until the peer has answered or the stream has ended; return whether either came.

        Args:
            timeout: The longest wait, in seconds.
        Raises:
            StreamRejected: If the peer declined.
            MeshsyncError: If the stream has ended otherwise.
        """
        life = self.life
        with life.condition:
            is_answered = life.condition.wait_for(lambda: life.phase is not Phase.OFFERED, timeout)
        failure = None if life.end is None else life.end.for_reader()
        if failure is not None:
            raise failure
        return is_answered

    def accept(self) -> None:
        """Accept it, unless that has happened already.

        Raises:
            UsageError: If this program rejected it, or opened it.
            StreamInterrupted: If its peer is gone.
        """
        life = self.life
        with life.condition:
            if life.phase.is_over:
                raise life.refusal("accepted")
            if life.phase is not Phase.OFFERED:
                return
            if self.identity.is_opener:
                raise UsageError(f"{self!r} was opened by this program: its other side accepts it")
            life.move(Phase.ACCEPTING)
            self.account.open(self._peer_window)
            self._host.opened(life)
        consent = Accept(self.identity.stream_id, None if self._peer_window is None else self.account.window)
        try:
            self.channel.send(consent, f"accepting {self!r}", self._host.limit("default"))
        except MeshsyncError as error:
            self._fail(error)
            raise self._interruption(error) from error
        finally:
            with life.condition:
                life.consent_is_sent()

    def reject(self, reason: str) -> None:
        """Reject it.

        Raises:
            UsageError: If it was accepted or rejected before.
        """
        life = self.life
        with life.condition:
            if self.identity.is_opener or life.phase is not Phase.OFFERED:
                if life.end is not None and not life.end.is_here:
                    return  # Its peer is gone, and needs no answer.
                was_rejected = life.end is not None and life.end.kind is EndKind.REJECTED_HERE
                how = "was rejected before" if was_rejected else "was accepted before"
                raise UsageError(f"{self!r} cannot be rejected: it {how}")
            self._finish(StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason)))
        self._tell(Reject(self.identity.stream_id, reason), f"rejected: {reason}")

    # --- writing and reading ------------------------------------------------------------------------------------------

    def write(self, chunk: MessageStreamChunk | Buffer, timeout: Timeout) -> None:
        """Send a chunk; see `MessageStreamWriter.write`."""
        if not isinstance(chunk, MessageStreamChunk):
            chunk = MessageStreamChunk({}, chunk)
        header, data = chunk.header, as_buffer(chunk.data, "chunk")
        if not isinstance(header, Mapping):
            raise InvalidMessage(f"header: {type(header).__qualname__} is not a JSON object; give a dict")
        size = size_of(header, data)
        deadline = self._deadline(timeout)
        while (failure := self.outgoing.reserve(size, deadline)) is not None:
            self._fail(failure)
        message = StreamChunk(self.identity.stream_id, dict(header), data)
        try:
            self.outgoing.send(self.channel, message, size, deadline)
        except (StreamTimeout, UsageError):
            raise
        except MeshsyncError as error:
            self._fail(error)
        else:
            return
        raise self.life.refusal("written to")

    def flush(self, timeout: Timeout) -> None:
        """Wait for what is unacknowledged; see `MessageStreamWriter.flush`."""
        self._host.refuse_to_block("flushing a stream")
        deadline = self._deadline(timeout)
        with self.life.condition:
            self.outgoing.check_writable()
        self._drain(deadline)
        self._raise_failure()

    def close_writer(self, timeout: Timeout) -> None:
        """End it regularly; see `MessageStreamWriter.close`."""
        life = self.life
        self._host.refuse_to_block("closing a stream")
        deadline = self._deadline(timeout)
        with life.condition:
            if life.end is not None and life.end.is_here:
                return
            if life.phase is Phase.OFFERED:
                raise UsageError(f"{self!r} is not accepted yet: accept it, or reject it")
        self._drain(deadline)
        with life.condition:
            if life.phase.is_over:
                self._raise_failure()
                return
            self._finish(StreamEnd(EndKind.CLOSED_HERE))
        self._host.ended(life, "")
        close = Close(self.identity.stream_id)
        try:
            self.channel.send(close, f"closing {self!r}", deadline.left()).wait(deadline.left())
        except SendTimeout as error:
            raise StreamTimeout(str(error)) from error
        except MeshsyncError as error:
            raise self._interruption(error) from error

    def _drain(self, deadline: Deadline) -> None:
        while (failure := self.outgoing.drain(deadline)) is not None:
            self._fail(failure)

    def read(self, timeout: float | None) -> MessageStreamChunk | None:
        """Take the next chunk; see `MessageStreamReader.read`."""
        incoming, token = self.incoming, object()
        try:
            incoming.begin(token)
            if self.life.phase is Phase.OFFERED:
                self.accept()
            # For what was read before: a chunk is done with when the next is asked for.
            credit = incoming.take_credit()
            if credit:
                self._give(credit)
            return incoming.take(timeout)
        finally:
            # Without a call: Ctrl-C strikes between calls, and one that it strikes must not keep others from reading.
            if incoming.reading is token:
                incoming.reading = None

    def _give(self, credit: int) -> None:
        message = Credit(self.identity.stream_id, credit)
        try:
            self.channel.send(message, f"a credit of {self!r}", self._host.limit("default"))
        except SendTimeout:
            self.incoming.return_credit(credit)
        except MeshsyncError:
            pass  # The connection has ended, and the stream with it: its reader will be told.

    # --- ends that this side makes ------------------------------------------------------------------------------------

    def abandon(self, reason: str, failure: MeshsyncError | None = None, timeout: float = ABORT_TIMEOUT) -> None:
        """End it irregularly: neither side is to take it for complete. Never raises; once it has ended, does nothing.

        Args:
            failure: What its reader and its writer raise then, if their program did not end it.
            timeout: The longest wait for room in the connection's buffer, in seconds.
        """
        with self.life.condition:
            if self.life.phase.is_over:
                return
            message = self._give_up(reason, failure)
        self._tell(message, reason, timeout)

    def close_reader(self, reason: str) -> None:
        """Read no more; see `MessageStreamReader.close`."""
        with self.life.condition:
            if self.life.phase.is_over:
                self.life.leave()
                self.incoming.clear()
                return
            message = self._give_up(reason, None)
        self._tell(message, reason)

    def _give_up(self, reason: str, failure: MeshsyncError | None) -> StreamMessage:
        """End it, and return what its peer is to be told. With the condition held."""
        was_offered, is_opener = self.life.phase is Phase.OFFERED, self.identity.is_opener
        if failure is not None:
            self._finish(StreamEnd(EndKind.FAILED, failure))
        elif was_offered and not is_opener:
            self._finish(StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason)))
        else:
            self._finish(StreamEnd(EndKind.ABORTED_HERE))
        if not was_offered:
            return self._cancellation(reason)
        if is_opener:
            return Close(self.identity.stream_id, is_complete=False)
        return Reject(self.identity.stream_id, reason)

    def _fail(self, cause: MeshsyncError) -> None:
        """End it because of an error of this side: of the room, the connection, or the peer's manners."""
        failure = cause if isinstance(cause, StreamError) else self._interruption(cause)
        with self.life.condition:
            if self.life.phase.is_over:
                return
            self._finish(StreamEnd(EndKind.FAILED, failure))
        if failure.connection_alive:
            self._tell(self._cancellation(str(failure)), str(failure))
        else:
            self._host.ended(self.life, str(failure))

    def _cancellation(self, reason: str) -> StreamMessage:
        if self.account.is_agreed or self.channel.can_cancel:
            return Cancel(self.identity.stream_id, reason)
        return Close(self.identity.stream_id)

    def _interruption(self, cause: MeshsyncError) -> StreamInterrupted:
        failure = StreamInterrupted(f"{self!r} is cut off: {cause}", connection_alive=cause.connection_alive)
        failure.__cause__ = cause
        return failure

    def _finish(self, end: StreamEnd) -> None:
        # With the condition held.
        self.life.finish(end)
        if end.is_left:
            self.incoming.clear()

    def _tell(self, message: StreamMessage, reason: str, timeout: float = ABORT_TIMEOUT) -> None:
        """Send the last message of this side, as far as it can be sent."""
        self._host.ended(self.life, reason)
        self._host.tell(self.channel, message, f"ending {self!r}", timeout)

    def _raise_failure(self) -> None:
        """Raise, after an irregular end, what its writer is to be told."""
        failure = None if self.life.end is None else self.life.end.for_writer()
        if failure is not None:
            raise failure

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._host.runtime, self._host.limit(timeout))

    # --- what the client's reader task reports ------------------------------------------------------------------------

    def accepted(self, peer_window: int | None, channel: Channel | None = None) -> bool:
        """Take the peer's consent; return whether it was waited for.

        Args:
            channel: The channel by which it came, if that may not be the one of the offer.
        """
        with self.life.condition:
            if not self.is_opening:
                return False
            self.channel = channel or self.channel
            self.life.move(Phase.OPEN)
            self.account.open(peer_window)
            self._host.opened(self.life)
            self.life.condition.notify_all()
        return True

    def refused(self, failure: MeshsyncError) -> None:
        """Take the refusal of the offer, by the peer or the room; once it was accepted, this does nothing."""
        if self.is_opening:
            self.end(failure, str(failure))

    def end(self, failure: MeshsyncError | None, reason: str = "") -> None:
        """Take the end: regular without a failure. What came before can still be read."""
        self._end(StreamEnd(EndKind.CLOSED_BY_PEER if failure is None else EndKind.FAILED, failure), reason)

    def cancelled(self, reason: str) -> None:
        """Take the peer's message that it gives up."""
        text = f"{self.identity.peer_name} ended the stream early" + (f": {reason}" if reason else "")
        self._end(StreamEnd(EndKind.CANCELLED_BY_PEER, StreamInterrupted(text)), reason)

    def _end(self, end: StreamEnd, reason: str) -> None:
        with self.life.condition:
            if self.life.phase.is_over:
                return
            self._finish(end)
        self._host.ended(self.life, reason)

    def chunk(self, chunk: StreamChunk) -> None:
        """Take a chunk."""
        try:
            self.incoming.arrive(chunk)
        except ProtocolError as error:
            self._fail(StreamInterrupted(f"{self!r} is given up: {error}"))

    def credited(self, size: int) -> None:
        """Take the peer's message that it has read so many bytes."""
        self.outgoing.make_room(size)
