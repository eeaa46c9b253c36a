"""The life of one stream at this client: its phases, the moves between them, and how it ended.

The life is shared by the handshake and by the two directions of a stream, and belongs to no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Receipt
from meshsync.connection.failures import another
from meshsync.errors import MeshsyncError, StreamCancelled, UsageError, WouldDeadlock
from meshsync.participants import RemoteParticipant
from meshsync.protocol.operations import Broadcast, Request, Send
from meshsync.protocol.session import Encoded
from meshsync.protocol.stream_messages import StreamMessage
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Condition, Runtime
from meshsync.runtime.lifecycle import move
from meshsync.streams.channels import Channel

__all__ = ["EndKind", "Phase", "StreamEnd", "StreamHost", "StreamIdentity", "StreamKey", "StreamLife"]


class Phase(Enum):
    """Where a stream is in its life, as this client sees it."""

    OFFERED = "offered"
    """Opened by one side, not yet answered by the other."""
    ACCEPTING = "accepted"
    """Accepted here; the consent is not on its way yet, and no other message may go out before it."""
    OPEN = "open"
    ENDED = "ended"
    UNOPENED = "ended before it was open"

    @property
    def is_over(self) -> bool:
        """Whether it is a last phase."""
        return self is Phase.ENDED or self is Phase.UNOPENED


_MOVES = {
    Phase.OFFERED: {Phase.ACCEPTING, Phase.OPEN, Phase.UNOPENED},
    Phase.ACCEPTING: {Phase.OPEN, Phase.ENDED},
    Phase.OPEN: {Phase.ENDED},
    Phase.ENDED: set[Phase](),
    Phase.UNOPENED: set[Phase](),
}


class EndKind(Enum):
    """Which side ended a stream, and how."""

    CLOSED_HERE = "this program closed its writer: the regular end"
    ABORTED_HERE = "this program gave it up, unread chunks included"
    REJECTED_HERE = "this program rejected the offer"
    CLOSED_BY_PEER = "the peer closed it: the regular end"
    CANCELLED_BY_PEER = "the peer gave it up"
    FAILED = "it was refused, cut off by the room or the connection, or ended by this client"


_HERE = frozenset({EndKind.CLOSED_HERE, EndKind.ABORTED_HERE, EndKind.REJECTED_HERE})
_LEFT = frozenset({EndKind.ABORTED_HERE, EndKind.REJECTED_HERE})


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended."""

    kind: EndKind
    error: MeshsyncError | None = None
    """The cause; None for a regular end, and where this program gave it up."""

    @property
    def is_here(self) -> bool:
        """Whether this program ended it, which makes every further use of that end an error of the program's."""
        return self.kind in _HERE

    @property
    def is_left(self) -> bool:
        """Whether this program gave it up, unread chunks included."""
        return self.kind in _LEFT

    def for_reader(self) -> MeshsyncError | None:
        """Return a new error for a reader that has read all chunks; None at the regular end."""
        return None if self.error is None else another(self.error)

    def for_writer(self) -> MeshsyncError | None:
        """Return a new error for a writer that waits or closes; None at the regular end."""
        if self.kind is EndKind.CANCELLED_BY_PEER:
            return StreamCancelled(str(self.error))
        return self.for_reader()

    def refusal(self, identity: StreamIdentity, what: str) -> MeshsyncError:
        """Return a new error for a call that this end does not allow.

        Args:
            what: The use attempted: ``"read"``, ``"written to"``, ``"accepted"``.
        """
        if self.kind is EndKind.REJECTED_HERE:
            why = f": {self.error}" if str(self.error) else ""
            if what == "read":
                return WouldDeadlock(f"{identity!r} has nothing that could be read: this program rejected it{why}")
            return UsageError(f"{identity!r} cannot be {what}: this program rejected it{why}")
        if self.is_here:
            hint = "; create_stream opens another" if identity.is_opener else ""
            return UsageError(f"{identity!r} cannot be {what}: this program closed it{hint}")
        return self.for_writer() or StreamCancelled(f"{identity!r} cannot be {what}: {identity.peer_name} closed it")


StreamKey = tuple[str, str]
"""The id of the peer, and that of the stream: no participant can end or write to a stream of another one."""


@dataclass(frozen=True, slots=True, repr=False)
class StreamIdentity:
    """Identifies a stream; both participants know this from the offer."""

    stream_id: str
    """Chosen by its opener."""
    peer: RemoteParticipant
    header: Mapping[str, object]
    """A JSON object from its opener's program."""
    is_opener: bool
    """Whether this client opened it."""

    @property
    def key(self) -> StreamKey:
        """Its key among the streams of this client."""
        return self.peer.id, self.stream_id

    @property
    def peer_name(self) -> str:
        """The name of the peer, or else its id, for errors."""
        return self.peer.name or self.peer.id

    def __repr__(self) -> str:
        return f"stream {self.stream_id} {'to' if self.is_opener else 'from'} {self.peer_name}"


class StreamLife:
    """The phase of one stream and its end. Moves are made with ``condition`` held; reading needs nothing.

    Args:
        condition: Notified at each change of the stream: of its phase, its unread chunks, or what may be sent.
    """

    __slots__ = ("condition", "end", "identity", "phase")

    def __init__(self, identity: StreamIdentity, condition: Condition) -> None:
        self.identity: StreamIdentity = identity
        self.condition: Condition = condition
        self.phase: Phase = Phase.OFFERED
        self.end: StreamEnd | None = None
        """How it ended; None while it goes on."""

    @property
    def was_open(self) -> bool:
        """Whether it is open or was, so that the program was notified."""
        return self.phase is not Phase.OFFERED and self.phase is not Phase.UNOPENED

    def move(self, phase: Phase) -> None:
        """Change the phase; waiting tasks are to be notified.

        Raises:
            RuntimeError: If there is no way from the present one; nothing has changed.
        """
        self.phase = move(_MOVES, self.phase, phase, "a stream")

    def consent_is_sent(self) -> None:
        """Be open, unless it ended while the consent went out, and notify waiting tasks."""
        if self.phase is Phase.ACCEPTING:
            self.move(Phase.OPEN)
        self.condition.notify_all()

    def finish(self, end: StreamEnd) -> None:
        """End it, and notify waiting tasks; raises as ``move``."""
        last = Phase.UNOPENED if self.phase is Phase.OFFERED else Phase.ENDED
        self.end, self.phase = end, move(_MOVES, self.phase, last, "a stream")
        self.condition.notify_all()

    def leave(self) -> None:
        """Note, after the end, that this program gave it up. A rejection stays one."""
        if self.end is not None and not self.end.is_left:
            self.end = StreamEnd(EndKind.ABORTED_HERE)

    def refusal(self, what: str) -> MeshsyncError:
        """Return the error for a call that the end does not allow; see `StreamEnd.refusal`."""
        assert self.end is not None, "the stream has not ended"
        return self.end.refusal(self.identity, what)


class StreamHost(Protocol):
    """The part of its client that a stream uses."""

    @property
    def runtime(self) -> Runtime: ...
    @property
    def budget(self) -> ByteBudget:
        """Bounds the unread bytes of streams without flow control, among others."""
        ...

    def limit(self, timeout: Timeout, default: float | None, /) -> float | None:
        """Return a call's time limit in seconds: its own, else the client's for all calls, else ``default``."""
        ...

    def refuse_to_block(self, what: str) -> None:
        """Raise if the calling task would wait for ever."""
        ...

    def encode(self, request: Request) -> Encoded:
        """Return a request's form on the wire; raises `InvalidMessage` if it cannot be carried."""
        ...

    def check(self, request: Send | Broadcast) -> None:
        """Raise `InvalidMessage` if a request cannot be carried, which takes no copy of its attachment."""
        ...

    def window(self) -> int:
        """Return the window of one more stream, in bytes."""
        ...

    def opened(self, life: StreamLife) -> None:
        """Note that a stream was accepted, here or by its peer. Called with its condition held: it cannot end now."""
        ...

    def ended(self, life: StreamLife, reason: str) -> None:
        """Note that a stream has ended, in any way."""
        ...

    def refused(self) -> None:
        """Note that a stream was rejected or failed because too much of it was unread."""
        ...

    def send_unawaited(
        self, channel: Channel, message: StreamMessage, what: str, receipt: Receipt | None = None
    ) -> None:
        """Send a message for which no task waits, as far as it can be sent at once; never raises and never waits.

        Args:
            receipt: As for `Channel.send`.
        """
        ...
