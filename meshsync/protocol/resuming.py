"""One side of a stream that outlives losses: what it holds, what the other side has, and what to send again. Sans-I/O.

A side feeds this with the calls of its program, the messages of its peer and what becomes of connections, and sends
what is in `ResumableStream.out`, in order, to ``peer_id``. The messages are described in ``stream_messages``.

**Positions.** Both sides count chunks. A chunk is *taken in* when the client of its reader has it, whether or not the
program has read it. A writer holds each chunk until it knows that it was taken in: by a credit, which has the reader's
position, or when the stream resumes. So it holds no more than the window that the reader has granted.

**Meeting.** After a loss both sides, each as soon as it knows the other's id, send a `Resume` with a new number, their
position, and the latest number of the other side. From then on a side takes in nothing, so that its position holds,
until it gets a `Resume` that has seen its number: its peer sent that when it knew this position, and behind all that it
had sent before. Then the side sends what was not taken in. Messages between two participants keep their order; one of
an earlier connection has another sender, or an earlier number.

**The offer.** When a connection is lost before the answer, the opener offers the stream again under the same id, with a
new number, and the acceptor answers it, when its program has decided, or once more if it had.

**The end.** A side that closes is done when its peer confirms that it took in all. A stream that has ended is kept for
a while, since its last message may be lost: it answers a `Resume` with the end.

**Proofs.** Which participant the peer is after a loss is at first a guess of the caller of ``meet``. Nobody but the
peer has the secret, so what ends an open stream counts if its sender has proven itself, or with a proof of its own.

Not the business of this module: windows (``flow_control``), and which participant is the peer after a loss.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Closed,
    Credit,
    Open,
    Reject,
    Resume,
    ResumeConsent,
    ResumeOffer,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    proof_of,
)
from meshsync.runtime.lifecycle import move

__all__ = ["Accepted", "Credited", "Ending", "Link", "Outcome", "Progress", "ResumableStream", "ResumeEvent", "TakenIn"]


class Progress(Enum):
    """Where the stream is in its life, as this side knows."""

    OFFERED = "offered"
    OPEN = "open"
    CLOSING = "closed here, and not confirmed yet"
    ENDED = "ended"


_MOVES = {
    Progress.OFFERED: {Progress.OPEN, Progress.ENDED},
    Progress.OPEN: {Progress.CLOSING, Progress.ENDED},
    Progress.CLOSING: {Progress.ENDED},
}


class Link(Enum):
    """Whether this side can reach its peer."""

    DOWN = "down"
    MEETING = "meeting"
    """This side has sent its position, and does not know yet that its peer has it."""
    UP = "up"


_LINK_MOVES = {
    Link.DOWN: {Link.MEETING, Link.UP},
    Link.MEETING: {Link.MEETING, Link.UP, Link.DOWN},
    Link.UP: {Link.MEETING, Link.UP, Link.DOWN},
}
"""An offer needs no meeting: nothing was taken in before it is answered."""


class Outcome(Enum):
    """How the stream ended, as this side knows."""

    CLOSED_HERE = "this side closed it, and its peer took in all"
    CLOSED_BY_PEER = "the peer closed it, and this side took in all"
    CANCELLED_HERE = "this side gave it up"
    CANCELLED_BY_PEER = "the peer gave it up"
    REJECTED_HERE = "this side rejected it"
    REJECTED_BY_PEER = "the peer rejected it"
    EXPIRED = "a loss lasted too long"
    UNCONFIRMED = "this side closed it, a loss lasted too long, and the peer may have all of it"


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of the stream at this side."""

    outcome: Outcome
    reason: str = ""
    """From whoever gave it up or rejected it."""
    has_left: bool = False
    """Whether the peer gave it up because it leaves for good."""
    is_final: bool = False
    """As in `Reject`."""


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The peer consents."""

    window: int
    """Bytes that may be sent at first."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The next chunk came."""

    chunk: StreamChunk


@dataclass(frozen=True, slots=True)
class Credited:
    """``size`` more bytes may be sent; their credit may have been lost before."""

    size: int


ResumeEvent = Accepted | TakenIn | Credited | Ending


# --- the stream -------------------------------------------------------------------------------------------------------


class ResumableStream:
    """One side of a stream that outlives losses. Not safe to use from two tasks at once.

    Methods that may change the deadline take ``now``, in seconds on any clock that never goes back.

    Args:
        seconds: How long this side keeps the stream after a loss, and after its end; positive.
        secret: Drawn by the opener; for the acceptor that of the offer.
        window: Bytes that this side is ready to hold unread at first.
        header: For the opener: that of its offer. None for the acceptor.
    """

    def __init__(self, stream_id: str, *, seconds: float, secret: str, window: int, header: JsonObject | None) -> None:
        self.stream_id = stream_id
        self.seconds: float = seconds
        """The smaller of both sides' once the stream is open; 0 if the peer does not agree."""
        self.own_id: str = ""
        """The id of this side, or its last one."""
        self.peer_id: str = ""
        """The id of the peer, or its last one; messages go there."""
        self.progress: Progress = Progress.OFFERED
        self.link: Link = Link.DOWN
        self.ending: Ending | None = None
        self.is_forgotten: bool = False
        """Whether nothing remains to be done, or to be answered."""
        self.deadline: float | None = None
        """When ``expire`` is to be called; None for never."""
        self.held: int = 0
        """Bytes of chunks that the peer may not have taken in; they count as in ``write``."""
        self.position: int = 0
        """Chunks that were written here."""
        self.taken: int = 0
        """Chunks that this side has taken in."""
        self.joins: bool = False
        """Whether this side reads several chunks in one message, to be set before ``meet`` and before an offer comes;
        once the stream is open, whether both sides do."""
        self._secret = secret
        self._header = header
        self._granted = window
        self._granted_told = window
        """Bytes granted by messages that the peer will have got when the link is up."""
        self._peer_granted = 0
        self.chunks: deque[tuple[StreamChunk, int]] = deque()
        """Those held, each with its size. Who takes ``out`` may make one of parts of a chunk that were never sent."""
        self._confirmed = 0
        """Chunks that the peer is known to have taken in: those before the ones held."""
        self._proven_id = ""
        """The id under which the peer has shown that it has the secret, or to which the first offer went."""
        self._number = 0
        """Of this side's latest `Resume`, or offer."""
        self._offer_number = 0
        """Of the offer that the acceptor knows."""
        self._peer_number = 0
        """Of the peer's latest `Resume`."""
        self._told = 0
        """The number of the peer's that this side's latest `Resume` has seen."""
        self._is_told = True
        """Whether the peer needs no message from here to learn of the end."""
        self.out: list[StreamMessage] = []
        """The messages to send to ``peer_id``, in order; who takes them removes them. See ``losses``."""
        self.losses: int = 0
        """Counts what made messages taken before pointless: they are not to be sent any more."""

    @property
    def is_proven(self) -> bool:
        """Whether the participant ``peer_id`` is the peer for sure."""
        return self.peer_id == self._proven_id

    @property
    def is_opener(self) -> bool:
        """Whether this side offered it."""
        return self._header is not None

    @property
    def confirmed(self) -> int:
        """Chunks written here that the peer is known to have taken in."""
        return self._confirmed

    def is_offer(self, offer: ResumeOffer) -> bool:
        """Return whether an offer is of this stream, which this side has been offered before."""
        return not self.is_opener and hmac.compare_digest(offer.secret.encode(), self._secret.encode())

    # --- calls of the program -----------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Accept the offer; when there is no link, the consent goes to the next offer of the same stream."""
        self.progress = self._checked(Progress.OPEN)
        if self.link is Link.UP:
            self._consent()

    def reject(self, reason: str, now: float) -> None:
        """Reject the offer, likewise."""
        self._end(Ending(Outcome.REJECTED_HERE, reason), now, Reject(self.stream_id, reason))

    def write(self, chunk: StreamChunk, size: int, rest: Sequence[tuple[StreamChunk, int]] = ()) -> None:
        """Hold a chunk, and send it if there is a link.

        Args:
            size: The bytes that it counts, of which the peer has granted enough.
            rest: The other parts of a partial chunk, with theirs.
        """
        if self.progress is not Progress.OPEN:
            raise RuntimeError(f"stream {self.stream_id} is {self.progress.value}: nothing can be written")
        parts = [(chunk, size), *rest]
        messages = [part for part, _ in parts]
        held = self.held + sum([size for _, size in parts])
        position = self.position + len(parts)
        # No call up to the end: Ctrl-C finds it written, or not. Likewise below.
        self.chunks += parts
        self.position = position
        self.held = held
        if self.link is Link.UP:
            self.out += messages

    def grant(self, size: int) -> None:
        """Allow the peer to send more bytes; without a link, it is told when there is one."""
        self._granted += size
        if self.link is Link.UP:
            self._send_credit()

    def confirm(self) -> None:
        """Have the peer hold no longer what was taken in, also if there is no credit for it yet."""
        if self.link is Link.UP and self.progress is Progress.OPEN:
            self._granted_told, credit = self._granted, self._granted - self._granted_told
            self.out.append(Credit(self.stream_id, credit, self.taken))

    def close(self) -> None:
        """End it regularly; ``ending`` is there when the peer has confirmed that it took in all."""
        message, progress = Close(self.stream_id), self._checked(Progress.CLOSING)
        self.progress = progress
        if self.link is Link.UP:
            self.out += (message,)

    def cancel(self, reason: str, now: float, *, has_left: bool = False) -> None:
        """End it irregularly; withdraw or reject its offer. After its end this does nothing.

        Args:
            has_left: Whether this side leaves for good.
        """
        if self.progress is Progress.ENDED:
            return
        was_offered = self.progress is Progress.OFFERED
        if was_offered and not self.is_opener and not has_left:
            self.reject(reason, now)
            return
        message: StreamMessage = Cancel(self.stream_id, reason, "", has_left)
        if was_offered and self.is_opener:
            message = Close(self.stream_id, is_complete=False)
        # An acceptor that has not answered does not ask for the end of a lost offer, unlike a side of an open stream.
        self._is_told = self.link is Link.UP and not was_offered
        self._end(Ending(Outcome.CANCELLED_HERE, reason), now, message)

    # --- connections --------------------------------------------------------------------------------------------------

    def lose(self, now: float) -> None:
        """Note that this side's connection is lost, or that the peer has left without ending the stream."""
        if self.link is Link.DOWN:
            return
        self._link(Link.DOWN)
        self._clear()
        if self.progress is not Progress.ENDED and self.deadline is None:
            self.deadline = now + self.seconds

    def meet(self, own_id: str, peer_id: str, now: float) -> None:
        """Note that both sides are there, with these ids; also at the beginning, where the opener offers the stream."""
        self.own_id, self.peer_id = own_id, peer_id
        if self.progress is Progress.OFFERED:
            self._reach()
            if self.is_opener:
                self._offer()
        elif self.progress is not Progress.ENDED or not self._is_told:
            self._begin_to_meet(now)

    def expire(self, now: float) -> list[ResumeEvent]:
        """Apply the passing of time; return the end if it comes by that."""
        if self.deadline is None or now < self.deadline:
            return []
        self.is_forgotten, self.deadline = True, None
        if self.progress is Progress.ENDED:
            return []
        outcome = Outcome.UNCONFIRMED if self.progress is Progress.CLOSING else Outcome.EXPIRED
        return [self._end(Ending(outcome), None)]

    # --- messages of the peer -----------------------------------------------------------------------------------------

    def receive(self, sender: str, message: StreamMessage, now: float) -> list[ResumeEvent]:
        """Apply a message with this stream's id; one of an earlier connection, or without a proof, does nothing.

        Raises:
            ProtocolError: If the peer has, or has granted, what cannot be. The stream is as it was: cancel it.
        """
        match message:
            case Open(window=window, resume=ResumeOffer() as offer):
                self._offered_again(sender, offer, window or 0)
                return []
            case Resume():
                return self._resume(sender, message, now)
        if sender != self.peer_id or not self._is_believed(sender, message):
            return []
        match message:
            case Close() if self.progress is Progress.ENDED and self.ending == Ending(Outcome.CLOSED_BY_PEER):
                self.out.append(Closed(self.stream_id))
            case Closed() if self.progress is Progress.CLOSING:
                return [self._end(Ending(Outcome.CLOSED_HERE), now)]
            case Cancel(reason=reason) if self.progress is not Progress.ENDED:
                return [self._end(Ending(Outcome.CANCELLED_BY_PEER, reason, message.has_left), now)]
            case Cancel() | Closed():
                self._is_told = True
            case _ if self.link is Link.UP:
                return self._receive_in_order(message, now)
        return []

    def _is_believed(self, sender: str, message: StreamMessage) -> bool:
        """Return whether what may end the stream is from the peer; the rest needs a link, and so a proof."""
        if sender == self._proven_id or (self.is_opener and self.progress is Progress.OFFERED):
            return True  # Whoever gets an offer may answer it.
        if not isinstance(message, Cancel | Closed):
            return not isinstance(message, Close)
        if self._is_proof(message.proof, sender):
            self._proven_id = sender
        return self.is_proven

    def _is_proof(self, proof: str, sender: str) -> bool:
        right = proof_of(self._secret, self.stream_id, sender, self.own_id)
        return hmac.compare_digest(proof.encode(), right.encode())

    def _receive_in_order(self, message: StreamMessage, now: float) -> list[ResumeEvent]:
        """Apply what has its place in the order of messages."""
        is_open = self.progress is Progress.OPEN or self.progress is Progress.CLOSING
        match message:
            case StreamChunk() | StreamChunks() if is_open:
                self.taken += len(message.chunks)
                return [TakenIn(chunk) for chunk in message.chunks]
            case Credit(size=size, position=position) if is_open:
                self._release(self._confirmed if position is None else position)
                self._peer_granted += size
                return [Credited(size)]
            case Close() if self.progress is Progress.OFFERED and not self.is_opener:
                return [self._end(Ending(Outcome.CANCELLED_BY_PEER), now)]
            case Close(is_complete=False) if is_open:  # A withdrawn offer has crossed the consent.
                return [self._end(Ending(Outcome.CANCELLED_BY_PEER, "the offer was withdrawn"), now)]
            case Close() if is_open:
                self.out.append(Closed(self.stream_id))
                if self.progress is Progress.OPEN:  # Else both sides close, and each waits for its confirmation.
                    return [self._end(Ending(Outcome.CLOSED_BY_PEER), now)]
            case Accept(window=window, resume=consent) if self.progress is Progress.OFFERED and self.is_opener:
                if consent is not None and consent.number != self._number:
                    return []  # It answers an offer before the latest one, and is on its way again.
                self._proven_id = self.peer_id
                self.seconds = 0.0 if consent is None else min(self.seconds, consent.seconds)
                self.joins = self.joins and consent is not None and consent.joins
                self._peer_granted = window or 0
                self.progress = self._checked(Progress.OPEN)
                return [Accepted(self._peer_granted)]
            case Reject(reason=reason) if self.progress is Progress.OFFERED and self.is_opener:
                return [self._end(Ending(Outcome.REJECTED_BY_PEER, reason, is_final=message.is_final), now)]
        return []

    # --- the offer ----------------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        assert self._header is not None, "only an opener offers"
        self._number += 1
        if self._number == 1:
            self._proven_id = self.peer_id
        resume = ResumeOffer(self.seconds, self._secret, self._number, self.joins)
        self.out.append(Open(self.stream_id, self._header, self._granted, resume))

    def _consent(self) -> None:
        """Send the consent, and what was written since."""
        consent = ResumeConsent(self.seconds, self._offer_number, self.joins)
        self._granted_told = self._granted
        self.out.append(Accept(self.stream_id, self._granted, consent))
        self._send_held()

    def _offered_again(self, sender: str, offer: ResumeOffer, window: int) -> None:
        """Answer an offer of this stream, the first one included: the opener has no answer, so it has taken in none."""
        if not self.is_offer(offer) or offer.number <= self._offer_number or self._confirmed:
            return
        self._offer_number = offer.number
        self.peer_id = self._proven_id = sender
        if self.progress is Progress.ENDED:
            if self.ending is not None and self.ending.outcome is Outcome.REJECTED_HERE:
                self.out.append(Reject(self.stream_id, self.ending.reason))
            else:
                self._send_end()
            return
        self.seconds, self.joins = min(self.seconds, offer.seconds), self.joins and offer.joins
        self._peer_granted = window
        self._reach()
        if self.progress is not Progress.OFFERED:
            self._consent()

    # --- meeting ------------------------------------------------------------------------------------------------------

    def _begin_to_meet(self, now: float) -> None:
        self._link(Link.MEETING)
        self._clear()
        if self.deadline is None:
            self.deadline = now + self.seconds
        self._number += 1
        self._state_position()

    def _state_position(self) -> None:
        proof = proof_of(self._secret, self.stream_id, self.own_id, self.peer_id)
        self._told = self._peer_number
        self._granted_told = self._granted
        self.out.append(Resume(self.stream_id, proof, self.taken, self._granted, self._number, self._told))

    def _resume(self, sender: str, message: Resume, now: float) -> list[ResumeEvent]:
        if not self._is_proof(message.proof, sender):
            return []
        is_new = message.number > self._peer_number
        if not is_new and (message.number < self._peer_number or sender != self.peer_id):
            return []
        if self.progress is Progress.OFFERED and not self.is_opener:  # Without a consent, its opener has withdrawn it.
            return [self._end(Ending(Outcome.CANCELLED_BY_PEER), now)]
        self._peer_number, self.peer_id, self._proven_id = message.number, sender, sender
        if self.progress is Progress.ENDED:
            self._send_end()
        elif self.progress is Progress.OFFERED:
            if is_new:  # The consent was lost.
                self._reach()
                self._offer()
        else:
            return self._go_on(message, is_new, now)
        return []

    def _go_on(self, message: Resume, is_new: bool, now: float) -> list[ResumeEvent]:
        """Apply the peer's position if it was stated in this meeting, and state this side's if the peer lacks it."""
        if self.link is not Link.MEETING:
            if is_new:
                self._begin_to_meet(now)
            return []
        if message.seen != self._number:
            if self._told != self._peer_number:
                self._state_position()
            return []
        credit = message.granted - self._peer_granted
        if credit < 0:
            raise ProtocolError(f"{message.granted} bytes are granted, {-credit} fewer than before")
        self._release(message.position)
        self._peer_granted = message.granted
        if self._told != self._peer_number:
            self._state_position()
        self._reach()
        self._send_credit()
        self._send_held()
        return [Credited(credit)] if credit else []

    def _reach(self) -> None:
        self._link(Link.UP)
        self.deadline = None

    def _send_credit(self) -> None:
        credit = self._granted - self._granted_told
        if credit and self.progress is Progress.OPEN:
            message = Credit(self.stream_id, credit, self.taken)
            self._granted_told += credit
            self.out += (message,)

    def _send_held(self) -> None:
        self.out += [chunk for chunk, _ in self.chunks]
        if self.progress is Progress.CLOSING:
            self.out.append(Close(self.stream_id))

    def _send_end(self) -> None:
        """Tell the peer how the stream ended, unless it was the peer that gave it up."""
        assert self.ending is not None, "the stream has not ended"
        proof = proof_of(self._secret, self.stream_id, self.own_id, self.peer_id)
        if self.ending.outcome in (Outcome.CLOSED_BY_PEER, Outcome.CLOSED_HERE):
            self.out.append(Closed(self.stream_id, proof))
        else:
            self.out.append(Cancel(self.stream_id, self.ending.reason, proof))
        self._is_told = True

    # --- what changes -------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Send nothing of what was to be sent."""
        self.out.clear()
        self.losses += 1

    def _release(self, position: int) -> None:
        """Hold the chunks before a position of the peer's no longer."""
        if not position <= self.position:
            raise ProtocolError(f"{position} chunks were taken in of {self.position} that were written")
        if position < self._confirmed:
            raise ProtocolError(f"{position} chunks were taken in, after {self._confirmed}")
        while self._confirmed < position:
            _, size = self.chunks.popleft()
            self.held -= size
            self._confirmed += 1

    def _end(self, ending: Ending, now: float | None, message: StreamMessage | None = None) -> Ending:
        """Apply the end; keep it for a while, from now on, for a peer that does not know it.

        Args:
            message: What tells the peer, if there is a link.
        """
        progress, chunks = self._checked(Progress.ENDED), deque[tuple[StreamChunk, int]]()
        self.progress, self.ending = progress, ending
        self.chunks, self.held = chunks, 0
        self.deadline = None if now is None else now + self.seconds
        if message is not None and self.link is Link.UP:
            self.out += (message,)
        return ending

    def _checked(self, progress: Progress) -> Progress:
        """Return the progress if it may follow, before anything changes."""
        return move(_MOVES, self.progress, progress, f"stream {self.stream_id}")

    def _link(self, link: Link) -> None:
        self.link = move(_LINK_MOVES, self.link, link, f"the link of stream {self.stream_id}")
