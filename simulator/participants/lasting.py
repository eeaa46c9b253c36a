"""The streams of a participant without a thread that outlive losses, of its connection or of its peer's.

What is held, confirmed and sent again is decided in ``meshsync.protocol.resuming``, as for a client. Here is what a
client has in ``meshsync.streams``, without tasks and their waits: chunks go as soon as their reader has room.

Who claims the peer's instance and its name may be the peer that is back, and is met; the stream's proof shows whether
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from meshsync.confirming.bodies import Identity, read_identity, resumes
from meshsync.errors import ProtocolError
from meshsync.protocol.envelopes import JsonObject, decode_object, encode_object
from meshsync.protocol.pacing import CONFIRM_EVERY, flight_of
from meshsync.protocol.resuming import Ending, Link, Outcome, Progress, ResumableStream, ResumeEvent, TakenIn
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Open,
    Resume,
    StreamChunk,
    StreamMessage,
    decode_stream_message,
    encode_stream_message,
)
from simulator.participants.peers import Chunk, Peer
from simulator.participants.stream import Stream, size_of

__all__ = ["LastingRoom", "LastingStreams", "LastingWire"]

RESUME_FOR = 60.0
"""Seconds that a stream outlives a loss, as by default those of clients."""

_SECRET_SIZE = 32
"""Bytes of a stream's secret, as clients draw it."""

_UNTOLD = {Outcome.CLOSED_BY_PEER, Outcome.CANCELLED_HERE, Outcome.REJECTED_HERE}
"""Ends of which a peer may not know, and may ask."""


class LastingRoom(Protocol):
    """The room as the streams of a participant in it need it."""

    @property
    def is_here(self) -> bool: ...
    @property
    def is_paused(self) -> bool: ...
    @property
    def own_id(self) -> str: ...
    @property
    def present(self) -> Mapping[str, Peer]: ...
    def now(self) -> float: ...
    def attributes_of(self, id: str) -> Mapping[str, Any]: ...
    def post(self, to: str, type: str, body: JsonObject, data: bytes) -> None: ...
    def ring_at(self, when: float, ring: Callable[[], None]) -> None: ...
    def draw(self, size: int) -> bytes: ...


class LastingWire:
    """How the messages of one stream go to its peer, over one connection after another; see `StreamWire`.

    Args:
        changed: Called after each change of ``core``: there may be something to send.
        claim: Who the peer claims to be, and will claim to be again.
    """

    outlives_losses = True

    def __init__(
        self,
        core: ResumableStream,
        changed: Callable[[LastingWire], None],
        now: Callable[[], float],
        claim: Identity | None,
    ) -> None:
        self.core = core
        self.claim = claim
        self.stream: Stream | None = None
        """None as long as it was offered to this participant, which has not accepted it."""
        self.deadline: float | None = None
        """The last one of ``core`` for which there is a timer."""
        self._changed = changed
        self._now = now
        self._parts: list[tuple[StreamChunk, int]] = []
        self._unconfirmed = 0
        """Bytes taken in since the last confirmation."""

    def offer(self, header: Mapping[str, Any], window: int | None) -> None:
        """Offer it to the peer of now; header and window are those of ``core``."""
        self.core.meet(self.core.own_id, self.core.peer_id, self._now())
        self._changed(self)

    def accept(self, window: int | None) -> None:
        """Accept it."""
        self.core.grant(window or 0)  # It was offered before the window was known.
        self.core.accept()
        self._changed(self)

    def reject(self, reason: str) -> None:
        """Reject it, unless that comes too late."""
        if self.core.progress is Progress.OFFERED:
            self.core.reject(reason, self._now())
            self._changed(self)

    def chunk(self, header: JsonObject, data: bytes, size: int) -> None:
        """Hold a chunk, and send it."""
        # Its program may change what it nests before the chunk is sent for the last time.
        self.core.write(StreamChunk(self.core.stream_id, _copy(header), data), size)
        self._changed(self)

    def credit(self, size: int) -> None:
        """Give a credit."""
        self.core.grant(size)
        self._changed(self)

    def close(self) -> bool:
        """End it regularly, or withdraw the offer."""
        is_over = False
        if self.core.progress is Progress.OPEN:
            self.core.close()
        elif self.core.progress is Progress.OFFERED:
            self.core.cancel("", self._now())
            is_over = True
        self._changed(self)
        return is_over

    def cancel(self, reason: str, *, has_left: bool = False) -> None:
        """End it irregularly, perhaps because this participant leaves for good."""
        self.core.cancel(reason, self._now(), has_left=has_left)
        self._changed(self)

    def receive(self, sender: str, message: StreamMessage) -> Sequence[ResumeEvent]:
        """Apply a message of the peer, and confirm chunks now and then, so that it holds them no longer and sends more.

        Raises:
            ProtocolError: As `ResumableStream.receive`.
        """
        events = self.core.receive(sender, message, self._now())
        self._unconfirmed += sum(flight_of(event.chunk) for event in events if isinstance(event, TakenIn))
        if self._unconfirmed >= CONFIRM_EVERY:
            self._unconfirmed = 0
            self.core.confirm()
        self._changed(self)
        return events

    def lose(self) -> None:
        """Note that this participant's connection, or its peer, is gone."""
        self._unconfirmed = 0
        self.core.lose(self._now())
        self._changed(self)

    def meet(self, own_id: str, peer_id: str) -> None:
        """Note that both sides are there, with these ids."""
        self.core.meet(own_id, peer_id, self._now())
        self._changed(self)

    def join(self, part: StreamChunk) -> Chunk | None:
        """Return the chunk that is whole with this part; None if there are more."""
        data = bytes(part.data)
        self._parts.append((part, len(data) if self._parts else size_of(part.header, data)))
        if part.is_partial:
            return None
        parts, self._parts = self._parts, []
        size = sum(size for _, size in parts)
        return Chunk(parts[0][0].header, b"".join(part.data for part, _ in parts), size)


class LastingStreams:
    """All streams of one participant that outlive losses, those that have ended included while a peer may ask for it.

    Args:
        apply: Called with what becomes of a stream.
        renounce: Called where the peer of an offered stream accepts it without resuming it: its wire and the message.
    """

    def __init__(
        self,
        room: LastingRoom,
        apply: Callable[[LastingWire, Sequence[ResumeEvent]], None],
        renounce: Callable[[LastingWire, JsonObject], None],
    ) -> None:
        self._room = room
        self._apply = apply
        self._renounce = renounce
        self._all: dict[str, tuple[LastingWire, ...]] = {}
        """By the ids of their streams, of which each opener has its own."""
        self._alarm: float | None = None
        """When the next timer is due, in seconds."""

    # --- beginning ----------------------------------------------------------------------------------------------------

    def propose(self, stream_id: str, peer_id: str, header: Mapping[str, Any], window: int) -> LastingWire | None:
        """Return the wire of a stream that is about to be offered; None if the peer knows nothing of resuming."""
        if not resumes(self._room.attributes_of(peer_id)):
            return None
        secret = self._room.draw(_SECRET_SIZE).hex()
        core = ResumableStream(stream_id, seconds=RESUME_FOR, secret=secret, window=window, header=_copy(header))
        return self._add(core, peer_id)

    def offered(self, sender: str, body: JsonObject) -> LastingWire | None:
        """Return the wire of a stream that a peer offers; None if it wants nothing of resuming."""
        if not resumes(self._room.attributes_of(sender)):
            return None
        try:
            offer = decode_stream_message("stream.open", body, b"")
        except ProtocolError:
            return None
        if not isinstance(offer, Open) or offer.resume is None:
            return None
        secret = offer.resume.secret
        core = ResumableStream(offer.stream_id, seconds=RESUME_FOR, secret=secret, window=0, header=None)
        wire = self._add(core, sender)
        wire.receive(sender, offer)
        return wire

    def _add(self, core: ResumableStream, peer_id: str) -> LastingWire:
        room = self._room
        core.own_id, core.peer_id = room.own_id, peer_id
        wire = LastingWire(core, self._changed, room.now, read_identity(room.attributes_of(peer_id)))
        self._all[core.stream_id] = (*self._all.get(core.stream_id, ()), wire)
        return wire

    def forget(self, wire: LastingWire) -> None:
        """Know no more of a stream: it has ended, or does not outlive losses."""
        id = wire.core.stream_id
        rest = tuple(one for one in self._all.get(id, ()) if one is not wire)
        if rest:
            self._all[id] = rest
        else:
            self._all.pop(id, None)

    # --- who is there -------------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Note that this participant's connection is lost."""
        for wire in self._each():
            wire.lose()
            self._arm(wire.core.deadline)  # A pause may have swallowed its timer.

    def restored(self) -> None:
        """Note that this participant is in the room, perhaps again, with those that are present."""
        self.ring()
        for wire in self._each():
            wire.core.own_id = self._room.own_id
            self._seek(wire)

    def peer_came(self, peer: Peer) -> None:
        """Note a peer that has come: it may be one that is back."""
        for wire in self._each():
            is_sought = wire.core.link is Link.DOWN or not wire.core.is_proven
            if is_sought and self._may_be(wire, peer):
                wire.meet(self._room.own_id, peer.id)

    def peer_left(self, id: str) -> None:
        """Note that a peer is gone: for good, or to come back, as streams do not end before they are told to."""
        for wire in self._each():
            if wire.core.peer_id == id:
                wire.lose()
                self._seek(wire)

    def leave(self) -> None:
        """End all, since this participant leaves for good."""
        for wire in self._each():
            if wire.core.ending is None:
                if wire.stream is not None:
                    wire.stream.over()
                wire.cancel("left the room", has_left=True)

    def forget_all(self) -> None:
        """Know no more of all: this participant is in another room."""
        self.leave()
        self._all.clear()

    def _seek(self, wire: LastingWire) -> None:
        """Meet the peer if it is there, or may be."""
        core, present = wire.core, self._room.present
        if core.link is not Link.DOWN:
            return
        if core.peer_id in present:
            wire.meet(self._room.own_id, core.peer_id)
            return
        claiming = [peer.id for peer in present.values() if self._may_be(wire, peer)]
        if claiming:
            wire.meet(self._room.own_id, claiming[-1])

    def _may_be(self, wire: LastingWire, peer: Peer) -> bool:
        return wire.claim is not None and read_identity(self._room.attributes_of(peer.id)) == wire.claim

    def _each(self) -> list[LastingWire]:
        return [wire for several in self._all.values() for wire in several]

    # --- what comes ---------------------------------------------------------------------------------------------------

    def take(self, sender: str, type: str, body: JsonObject, data: bytes) -> bool:
        """Apply a message if it is about one of these streams; return whether it is."""
        found = self._all.get(str(body.get("stream_id", "")), ())
        if not found and type != "stream.meshsync.resume":
            return False
        if type not in ("stream.open", "stream.meshsync.resume"):
            found = tuple(wire for wire in found if wire.core.peer_id == sender)
        try:
            message = decode_stream_message(type, body, data) if found or "stream_id" in body else None
        except ProtocolError:
            return bool(found)  # As a client drops it.
        if isinstance(message, Open):
            offer = message.resume
            found = () if offer is None else tuple(wire for wire in found if wire.core.is_offer(offer))
        elif isinstance(message, Resume) and not found:
            self._post(sender, Cancel(message.stream_id, "unknown stream"))
        for wire in found:
            if message is not None:
                self._receive(wire, sender, message, body)
        return bool(found)

    def _receive(self, wire: LastingWire, sender: str, message: StreamMessage, body: JsonObject) -> None:
        core = wire.core
        if isinstance(message, Accept) and message.resume is None:
            if core.progress is Progress.OFFERED and core.is_opener:
                self.forget(wire)
                self._renounce(wire, body)
            return
        try:
            events = wire.receive(sender, message)
        except ProtocolError as error:
            wire.cancel(str(error))
            events = [Ending(Outcome.CANCELLED_HERE, str(error))]
        if wire.stream is not None and core.is_proven and core.link is Link.UP:
            wire.stream.peer = self._room.present.get(core.peer_id) or wire.stream.peer
        self._apply(wire, events)

    # --- what follows -------------------------------------------------------------------------------------------------

    def _changed(self, wire: LastingWire) -> None:
        """Send what is to be sent, forget what need not be answered for, and see to it that time passes for it."""
        core = wire.core
        core.out, out = [], core.out
        for message in out if self._room.is_here else ():
            self._post(core.peer_id, message)
        if core.is_forgotten or (core.ending is not None and core.ending.outcome not in _UNTOLD):
            self.forget(wire)
        elif core.deadline != wire.deadline:
            wire.deadline = core.deadline
            self._arm(core.deadline)

    def _post(self, to: str, message: StreamMessage) -> None:
        type, body = encode_stream_message(message)
        self._room.post(to, type, body, bytes(message.data) if isinstance(message, StreamChunk) else b"")

    def _arm(self, deadline: float | None) -> None:
        if deadline is not None and (self._alarm is None or deadline < self._alarm):
            self._alarm = deadline
            self._room.ring_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.ring()

    def ring(self) -> None:
        """End the streams whose time is over, unless this participant is paused."""
        if self._room.is_paused:
            return
        for wire in self._each():
            events = wire.core.expire(self._room.now())
            self._changed(wire)
            self._apply(wire, events)
        for wire in self._each():
            self._arm(wire.core.deadline)


def _copy(header: Mapping[str, Any]) -> JsonObject:
    return decode_object(encode_object(header, "header"), "header")
