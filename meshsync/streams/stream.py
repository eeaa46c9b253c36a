"""One stream at this client: its handshake and its end, and the state that its two directions share.

A stream carries chunks both ways between two participants. Its messages, flow control included, are described in
``meshsync.protocol.stream_messages``. The chunks are the business of ``outgoing`` and ``incoming``, and programs use
the ``endpoints``; all of these know the stream, which knows none of them.

A reason of this program is made safe where it gets here, since no peer may miss a stream's last message.

Its life, its account and its unread chunks belong to the stream. Its channel, and the deliveries in ``outgoing``,
belong to one connection, unless it has a `Resumption`, which all its messages go through then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from meshsync.connection.budget import Share
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.connection.forks import Home
from meshsync.errors import MeshsyncError, SendTimeout, StreamError, StreamInterrupted, StreamRejected, UsageError
from meshsync.participants import RemoteParticipant
from meshsync.protocol.flow_control import LEAST_WINDOW, Account
from meshsync.protocol.resuming import Progress
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Reject, StreamMessage
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.channels import Channel
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.streams.life import EndKind, Phase, StreamEnd, StreamHost, StreamIdentity, StreamLife
from meshsync.streams.resuming import Resumption

__all__ = ["ClientStream", "Ending"]

ACCEPT_TIMEOUT = 30.0
"""Seconds, by default, for room in the connection's buffer; rarely waited for, since the consent may use the reserve.
"""


class Ending:
    """An end of a stream that this client makes or notes, and what has to follow it, so that Ctrl-C cannot part them.

    Args:
        reason: For the report of the end.
        message: This client's last message, if its peer gets one.
    """

    __slots__ = ("end", "is_made", "is_reported", "message", "reason", "receipt")

    def __init__(self, end: StreamEnd | None = None, reason: str = "", message: StreamMessage | None = None) -> None:
        self.end: StreamEnd | None = end
        self.reason: str = reason
        self.message: StreamMessage | None = message
        self.receipt: Receipt = Receipt()
        """Of the message."""
        self.is_made: bool = False
        """Whether the stream has ended so."""
        self.is_reported: bool = False


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
        self.channel: Channel = channel
        self.life: StreamLife = StreamLife(identity, host.runtime.condition())
        # Most openers never read: they get a window of full size when they do.
        self.account: Account = Account(LEAST_WINDOW if identity.is_opener else host.window())
        self.unread: deque[tuple[MessageStreamChunk, int]] = deque()
        """Chunks received, each with the bytes that it still counts."""
        self.share: Share = host.budget.share()
        """The bytes that its client holds for it: until it is accepted, the offer; without flow control, the chunks."""
        self.host = host
        self.home: Home = Home()
        """Its process: in a child of that each call has to ask before it takes the condition."""
        self.resumption: Resumption | None = None
        """What makes it outlive losses; None if one ends it."""
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
    def peer(self) -> RemoteParticipant:
        """The peer as it is now."""
        resumption = self.resumption
        return self.identity.peer if resumption is None or resumption.peer is None else resumption.peer

    @property
    def is_opening(self) -> bool:
        """Whether this client offered it and has no answer yet."""
        return self.identity.is_opener and self.life.phase is Phase.OFFERED

    def __repr__(self) -> str:
        return repr(self.identity)

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, is_over: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until ``is_over()``, called with the condition held; return whether it was in time.

        A loss that lasts too long ends the stream meanwhile, also if no reader is there to notice.
        """
        condition, resumption = self.life.condition, self.resumption
        if resumption is None:
            with condition:
                return condition.wait_for(is_over, timeout)
        deadline = Deadline(self.runtime, timeout)
        while True:
            resumption.expire()
            with condition:
                news, left, rest = resumption.news, deadline.left(), resumption.left()
                soonest = rest if left is None else left if rest is None else min(left, rest)
                condition.wait_for(partial(_is_over_or_new, is_over, resumption, news), soonest)
                if is_over():
                    return True
            if deadline.is_over:
                return False

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
        is_answered = self.wait(lambda: life.phase is not Phase.OFFERED, timeout)
        # What ended it since it was accepted is told by the next call.
        failure = None if life.end is None or life.was_open else life.end.for_reader()
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
            ForkedClientError: In a child process.
        """
        self.home.check()
        life, receipt = self.life, Receipt()
        is_accepting = False
        try:
            with life.condition:
                if life.phase.is_over:
                    raise life.refusal("accepted")
                if life.phase is not Phase.OFFERED:
                    return
                if self.identity.is_opener:
                    raise UsageError(f"{self!r} was opened by this program: its peer accepts it")
                is_accepting = True
                life.move(Phase.ACCEPTING)
                self.account.open(self._peer_window)
                self.share.clear()  # Its header, and what a hasty peer has written.
                if not self.account.is_agreed:
                    self.share.take(self.account.unread)
                self.host.opened(life)
            limit = deadline or Deadline(self.runtime, self.host.limit("default", ACCEPT_TIMEOUT))
            self._consent(limit, receipt)
        except MeshsyncError:
            raise
        except BaseException:  # Ctrl-C: its opener would wait for an answer.
            if is_accepting and life.phase is Phase.ACCEPTING and not receipt.is_sent:
                reason = "the recipient's program was interrupted"
                self._make_end(
                    lambda: (StreamEnd(EndKind.ABORTED_HERE), Reject(self.identity.stream_id, reason)), reason
                )
            raise
        finally:
            if is_accepting:
                try:
                    self._go_on()
                except BaseException:  # Ctrl-C struck in there.
                    self._go_on()
                    raise

    def _consent(self, deadline: Deadline, receipt: Receipt) -> None:
        if self.resumption is not None:
            with self.life.condition:
                if self.resumption.core.progress is Progress.OFFERED:  # Else its end is about to be noted.
                    self.resumption.core.accept()
                    self.resumption.collect()
            self.resumption.pump()
            return
        consent = Accept(self.identity.stream_id, None if self._peer_window is None else self.account.window)
        what = f"accepting {self!r}"
        try:
            try:
                # A program that only looks whether a chunk is there would lose the stream in a network that is slow.
                self.channel.send(consent, what, 0, receipt, is_reserved=True)
            except SendTimeout:
                self.channel.send(consent, what, deadline.left(), receipt)
        except MeshsyncError as error:
            self.fail(error)
            raise self.interruption(error) from error

    def _go_on(self) -> None:
        with self.life.condition:
            self.life.consent_is_sent()

    def reject(self, reason: str) -> None:
        """Reject it.

        Raises:
            UsageError: If it was accepted or rejected before.
            ForkedClientError: In a child process.
        """
        self.home.check()
        life, reason = self.life, safe_text(reason)

        def decide() -> tuple[StreamEnd, StreamMessage] | None:
            if self.identity.is_opener or life.phase is not Phase.OFFERED:
                if life.end is not None and not life.end.is_here:
                    return None  # Its peer is gone, and needs no answer.
                was_rejected = life.end is not None and life.end.kind is EndKind.REJECTED_HERE
                how = "was rejected before" if was_rejected else "was accepted before"
                raise UsageError(f"{self!r} cannot be rejected: it {how}")
            end = StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason))
            return end, Reject(self.identity.stream_id, reason)

        self._make_end(decide, f"rejected: {reason}")

    # --- ends that this client makes ----------------------------------------------------------------------------------

    def abandon(self, reason: str, failure: MeshsyncError | None = None, *, has_left: bool = False) -> None:
        """End it irregularly: neither program gets it as complete. Never raises and never waits.

        Once it has ended, and in a child process, this does nothing.

        Args:
            failure: Raised by its reader and its writer then, if their program did not end it.
            has_left: Whether this client leaves for good, which its peer is told if the stream would outlive that.
        """
        if not self.home.is_here:
            return
        reason = safe_text(reason)

        def decide() -> tuple[StreamEnd, StreamMessage] | None:
            if self.life.phase.is_over:
                return None
            end, message = self._giving_up(reason, failure)
            if has_left and self.resumption is not None and not self.is_opening:
                message = Cancel(self.identity.stream_id, reason, has_left=True)
            return end, message

        self._make_end(decide, reason)

    def leave(self, reason: str) -> None:
        """End it as ``abandon`` does, and drop unread chunks also if it has ended; see `MessageStreamReader.close`."""
        if not self.home.is_here:
            return
        reason = safe_text(reason)

        def decide() -> tuple[StreamEnd, StreamMessage] | None:
            if not self.life.phase.is_over:
                return self._giving_up(reason, None)
            self.life.leave()
            self.unread.clear()
            self.share.clear()
            return None

        self._make_end(decide, reason)

    def _giving_up(self, reason: str, failure: MeshsyncError | None) -> tuple[StreamEnd, StreamMessage]:
        """Return the irregular end for a stream that goes on, and the message for its peer. With the condition held."""
        was_offered, is_opener = self.life.phase is Phase.OFFERED, self.identity.is_opener
        if failure is not None:
            end = StreamEnd(EndKind.FAILED, failure)
        elif was_offered and not is_opener:
            end = StreamEnd(EndKind.REJECTED_HERE, StreamRejected(reason))
        else:
            end = StreamEnd(EndKind.ABORTED_HERE)
        if not was_offered:
            return end, self._cancellation(reason)
        if is_opener:
            return end, Close(self.identity.stream_id, is_complete=False)
        return end, Reject(self.identity.stream_id, reason)

    def fail(self, cause: MeshsyncError) -> None:
        """End it because of an error found here: of the room, the connection, or the peer."""
        failure = cause if isinstance(cause, StreamError) else self.interruption(cause)
        reason = safe_text(failure)

        def decide() -> tuple[StreamEnd, StreamMessage | None] | None:
            if self.life.phase.is_over:
                return None
            return StreamEnd(EndKind.FAILED, failure), self._cancellation(reason) if failure.connection_alive else None

        self._make_end(decide, reason)

    def _cancellation(self, reason: str) -> StreamMessage:
        if self.account.is_agreed or self.channel.can_cancel:
            return Cancel(self.identity.stream_id, reason)
        return Close(self.identity.stream_id)

    def interruption(self, cause: MeshsyncError) -> StreamInterrupted:
        """Return an error for the stream that another error cut off."""
        failure = StreamInterrupted(f"{self!r} is cut off: {safe_text(cause)}", connection_alive=cause.connection_alive)
        failure.__cause__ = cause
        return failure

    # --- making an end ------------------------------------------------------------------------------------------------

    def _make_end(
        self,
        decide: Callable[[], tuple[StreamEnd, StreamMessage | None] | None],
        reason: str,
    ) -> None:
        """End it as ``decide`` says, called with the condition held, and do what has to follow.

        Args:
            decide: Returns the end and this client's last message; None for no end.
        """
        ending = Ending(reason=reason)
        try:
            with self.life.condition:
                decided = decide()
                if decided is None:
                    return
                ending.end, ending.message = decided
                self.finish(ending)
            self.conclude(ending)
        finally:
            self.conclude(ending)  # What is left, if Ctrl-C struck.

    def finish(self, ending: Ending) -> None:
        """End it; ``conclude`` has to follow. With the condition held."""
        assert ending.end is not None, "it is decided"
        self.life.finish(ending.end)
        ending.is_made = True
        self._end_resumption(ending)
        if ending.end.is_left:
            self.unread.clear()
            self.share.clear()

    def conclude(self, ending: Ending) -> None:
        """Do what has to follow an end, as far as that is possible, and was not done. Without an end, do nothing."""
        if not ending.is_made:
            if ending.end is None or ending.end is not self.life.end:
                return
            with self.life.condition:  # Ctrl-C struck in `finish`.
                self._end_resumption(ending)
                self.life.condition.notify_all()
            ending.is_made = True
        self.report(ending)
        if self.resumption is not None:
            self.resumption.pump()
        message = ending.message
        if message is not None and not ending.receipt.is_sent:
            self.host.send_unawaited(self.channel, message, f"ending {self!r}", ending.receipt)
        ending.message = None

    def _end_resumption(self, ending: Ending) -> None:
        if self.resumption is not None:
            self.resumption.end(ending.message, ending.reason)
            ending.message = None

    def report(self, ending: Ending) -> None:
        """Report an end to the host, unless that has been done."""
        if not ending.is_reported:
            self.host.ended(self.life, ending.reason)
            ending.is_reported = True

    def send_last(self, ending: Ending, what: str, timeout: float | None) -> Delivery:
        """Send the last message; raises as `Channel.send`, and then ``conclude`` sends it."""
        assert ending.message is not None, "it has a last message"
        delivery = self.channel.send(ending.message, what, timeout, ending.receipt)
        ending.message = None
        return delivery

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
        end = StreamEnd(EndKind.FAILED, failure)
        self._make_end(lambda: (end, None) if self.is_opening else None, str(failure))

    def end(self, failure: MeshsyncError | None, reason: str = "") -> None:
        """Apply the end: regular without a failure. Chunks received can still be read."""
        self._end(StreamEnd(EndKind.CLOSED_BY_PEER if failure is None else EndKind.FAILED, failure), reason)

    def closed(self) -> None:
        """Apply the peer's confirmation that it has all of what this program closed."""
        self._end(StreamEnd(EndKind.CLOSED_HERE), "")

    def cancelled(self, reason: str) -> None:
        """Apply the peer's cancellation."""
        text = f"{self.identity.peer_name} ended the stream early" + (f": {reason}" if reason else "")
        self._end(StreamEnd(EndKind.CANCELLED_BY_PEER, StreamInterrupted(text)), reason)

    def _end(self, end: StreamEnd, reason: str) -> None:
        self._make_end(lambda: None if self.life.phase.is_over else (end, None), reason)


def _is_over_or_new(is_over: Callable[[], bool], resumption: Resumption, news: object) -> bool:
    """Return whether a wait is over, or its time limit may be another one."""
    return is_over() or resumption.news != news
