"""One stream at this client: its handshake and its end, and the state that its two directions share.

A stream carries chunks both ways between two participants. Its messages, flow control included, are described in
``meshsync.protocol.stream_messages``. The chunks are the business of ``outgoing`` and ``incoming``, and programs use
the ``endpoints``; all of these know the stream, which knows none of them.

A reason of this program is made safe where it gets here, since no peer may miss a stream's last message.

Its life, its account and its unread chunks belong to the stream. Its channel, and the deliveries in ``outgoing``,
belong to one connection.
"""

from __future__ import annotations

from collections import deque

from meshsync.errors import MeshsyncError, SendTimeout, StreamError, StreamInterrupted, StreamRejected, UsageError
from meshsync.protocol.flow_control import LEAST_WINDOW, Account
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Reject, StreamMessage
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.channels import Channel
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase, StreamEnd, StreamHost, StreamIdentity, StreamLife

__all__ = ["ClientStream"]

ACCEPT_TIMEOUT = 30.0
"""Seconds, by default, for room in the connection's buffer; rarely waited for, since the consent may use the reserve.
"""


class ClientStream:
    """One stream at this client: the state that its writer and its reader share.

    The client's reader task calls the methods of the last part, which never wait; programs call the others, through
    the endpoints.

    Args:
        channel: Carries its messages; replaced by another one if the peer accepts by that.
        peer_window: Bytes that the peer is ready to hold unread, from its offer; None if it knows no flow control.
    """

    def __init__(
        self, host: StreamHost, channel: Channel, identity: StreamIdentity, *, peer_window: int | None = None
    ) -> None:
        self.identity = identity
        self.channel = channel
        self.life = StreamLife(identity, host.runtime.condition())
        # Most openers never read: they get a window of full size when they do.
        self.account = Account(LEAST_WINDOW if identity.is_opener else host.window())
        self.unread: deque[tuple[MessageStreamChunk, int]] = deque()
        """Chunks received, each with the bytes that it still counts."""
        self.host = host
        self._peer_window = peer_window

    @property
    def runtime(self) -> Runtime:
        """The runtime of its client."""
        return self.host.runtime

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

    def accept(self, deadline: Deadline | None = None) -> None:
        """Accept it, unless that has happened already.

        Args:
            deadline: That of the call which needs it; by default that of a call without a time limit.
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
                raise UsageError(f"{self!r} was opened by this program: its peer accepts it")
            life.move(Phase.ACCEPTING)
            self.account.open(self._peer_window)
            self.host.opened(life)
        deadline = deadline or Deadline(self.runtime, self.host.limit("default", ACCEPT_TIMEOUT))
        try:
            self._consent(deadline)
        except MeshsyncError as error:
            self.fail(error)
            raise self.interruption(error) from error
        finally:
            with life.condition:
                life.consent_is_sent()

    def _consent(self, deadline: Deadline) -> None:
        consent = Accept(self.identity.stream_id, None if self._peer_window is None else self.account.window)
        what = f"accepting {self!r}"
        try:
            # A program that only looks whether a chunk is there would lose the stream in a network that is slow.
            self.channel.send(consent, what, 0, is_reserved=True)
        except SendTimeout:
            self.channel.send(consent, what, deadline.left())

    def reject(self, reason: str) -> None:
        """Reject it.

        Raises:
            UsageError: If it was accepted or rejected before.
        """
        life, reason = self.life, safe_text(reason)
        with life.condition:
            if self.identity.is_opener or life.phase is not Phase.OFFERED:
                if life.end is not None and not life.end.is_here:
                    return  # Its peer is gone, and needs no answer.
                was_rejected = life.end is not None and life.end.kind is EndKind.REJECTED_HERE
                how = "was rejected before" if was_rejected else "was accepted before"
                raise UsageError(f"{self!r} cannot be rejected: it {how}")
            self.finish(StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason)))
        self._send_last(Reject(self.identity.stream_id, reason), f"rejected: {reason}")

    # --- ends that this client makes ----------------------------------------------------------------------------------

    def abandon(self, reason: str, failure: MeshsyncError | None = None) -> None:
        """End it irregularly: neither program gets it as complete. Once it has ended, this does nothing.

        Never raises and never waits.

        Args:
            failure: Raised by its reader and its writer then, if their program did not end it.
        """
        reason = safe_text(reason)
        with self.life.condition:
            if self.life.phase.is_over:
                return
            message = self._give_up(reason, failure)
        self._send_last(message, reason)

    def leave(self, reason: str) -> None:
        """End it as ``abandon`` does, and drop unread chunks also if it has ended; see `MessageStreamReader.close`."""
        reason = safe_text(reason)
        with self.life.condition:
            if self.life.phase.is_over:
                self.life.leave()
                self.unread.clear()
                return
            message = self._give_up(reason, None)
        self._send_last(message, reason)

    def _give_up(self, reason: str, failure: MeshsyncError | None) -> StreamMessage:
        """End it, and return the message for its peer. With the condition held."""
        was_offered, is_opener = self.life.phase is Phase.OFFERED, self.identity.is_opener
        if failure is not None:
            self.finish(StreamEnd(EndKind.FAILED, failure))
        elif was_offered and not is_opener:
            self.finish(StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason)))
        else:
            self.finish(StreamEnd(EndKind.ABORTED_HERE))
        if not was_offered:
            return self._cancellation(reason)
        if is_opener:
            return Close(self.identity.stream_id, is_complete=False)
        return Reject(self.identity.stream_id, reason)

    def fail(self, cause: MeshsyncError) -> None:
        """End it because of an error found here: of the room, the connection, or the peer."""
        failure = cause if isinstance(cause, StreamError) else self.interruption(cause)
        with self.life.condition:
            if self.life.phase.is_over:
                return
            self.finish(StreamEnd(EndKind.FAILED, failure))
        reason = safe_text(failure)
        if failure.connection_alive:
            self._send_last(self._cancellation(reason), reason)
        else:
            self.host.ended(self.life, reason)

    def _cancellation(self, reason: str) -> StreamMessage:
        if self.account.is_agreed or self.channel.can_cancel:
            return Cancel(self.identity.stream_id, reason)
        return Close(self.identity.stream_id)

    def interruption(self, cause: MeshsyncError) -> StreamInterrupted:
        """Return an error for the stream that another error cut off."""
        failure = StreamInterrupted(f"{self!r} is cut off: {safe_text(cause)}", connection_alive=cause.connection_alive)
        failure.__cause__ = cause
        return failure

    def finish(self, end: StreamEnd) -> None:
        """End it, without notifying its peer or its host. With the condition held."""
        self.life.finish(end)
        if end.is_left:
            self.unread.clear()

    def _send_last(self, message: StreamMessage, reason: str) -> None:
        """Send this client's last message, as far as it can be sent."""
        self.host.ended(self.life, reason)
        self.host.send_unawaited(self.channel, message, f"ending {self!r}")

    # --- reports of the client's reader task --------------------------------------------------------------------------

    def accepted(self, peer_window: int | None, channel: Channel | None = None) -> bool:
        """Apply the peer's consent; return whether it was waited for.

        Args:
            channel: The channel by which it came, if that may not be the one of the offer.
        """
        with self.life.condition:
            if not self.is_opening:
                return False
            self.channel = channel or self.channel
            self.life.move(Phase.OPEN)
            self.account.open(peer_window)
            self.host.opened(self.life)
            self.life.condition.notify_all()
        return True

    def refused(self, failure: MeshsyncError) -> None:
        """Apply the refusal of the offer, by the peer or the room; once it was accepted, this does nothing."""
        if self.is_opening:
            self.end(failure, str(failure))

    def end(self, failure: MeshsyncError | None, reason: str = "") -> None:
        """Apply the end: regular without a failure. Chunks received can still be read."""
        self._end(StreamEnd(EndKind.CLOSED_BY_PEER if failure is None else EndKind.FAILED, failure), reason)

    def cancelled(self, reason: str) -> None:
        """Apply the peer's cancellation."""
        text = f"{self.identity.peer_name} ended the stream early" + (f": {reason}" if reason else "")
        self._end(StreamEnd(EndKind.CANCELLED_BY_PEER, StreamInterrupted(text)), reason)

    def _end(self, end: StreamEnd, reason: str) -> None:
        with self.life.condition:
            if self.life.phase.is_over:
                return
            self.finish(end)
        self.host.ended(self.life, reason)
