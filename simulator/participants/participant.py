"""Participants without a thread, on the simulation's timers: their common class.

Each has a seat in the room and a connection of its own: delays, faults and the room's rules apply to it as to clients.
But it has no client and no thread, so that thousands are affordable, and its messages are never cut into packets: they
are in the transcript, packets are not.

A program's own ones subclass `Participant`. No method of one may block: timers call it. Its arguments are shared with
all recipients of the same message, and must not be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from meshsync.confirming.bodies import ATTRIBUTE
from meshsync.confirming.bodies import Question as Asks
from meshsync.confirming.exchange import Arrival
from meshsync.errors import UsageError
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import Broadcast, Enable, Push, Request, Send, SetAttributes
from simulator.engine.kernel import Timer
from simulator.engine.seeds import entropy
from simulator.latency import Law, as_law
from simulator.network.headless_end import HeadlessEnd
from simulator.network.network import Guest
from simulator.participants.confirming import AskedQuestion, ConfirmedMessages, visible
from simulator.participants.hooks import check_callback, check_participant
from simulator.participants.peers import Chunk, Message, Offer, Peer, Question, copied
from simulator.participants.stays import Stay
from simulator.participants.stream import WINDOW, Stream
from simulator.participants.streams import ParticipantStreams
from simulator.participants.surroundings import Surroundings
from simulator.spellings import HintedParticipant

__all__ = ["Attendance", "Participant", "enter", "retire"]


_PATIENCE = 1.0
"""Seconds between two attempts to connect of a participant that is refused."""

_SHORTEST_ABSENCE = 1_000_000
"""Nanoseconds: the clock has to move between two stays."""


class Participant(HintedParticipant):
    """A participant that does nothing; subclasses override ``on_…``.

    The simulator calls nothing else of a subclass, so any name but the public ones here is free, ``_simulator`` aside.

    Args:
        name: The display name.
        attributes: Further attributes.
        returns_after: How long after leaving, or after the end of its connection, it joins the room again, in seconds
            or as a law, and at least a millisecond; None to stay away.
    """

    confirms = True
    """Whether it confirms messages as clients do that are sent with ``confirm=True``; set it to False before it joins
    for one that takes part as an official client does."""
    resumes = True
    """Whether its streams with flow control outlive losses of either connection for 60 s, as those of clients do; set
    it to False before it joins for streams that end with a connection. Who does not confirm does not resume either:
    its peers could not know it again."""
    returns_after: float | Law | None = None
    """See above. It comes back as a program that was started again: with another id, ``on_start`` is called, and it has
    the attributes that it had, those included that it has set. What this is when it goes counts."""

    def __init__(
        self,
        name: str,
        role: str = "agent",
        attributes: Mapping[str, Any] | None = None,
        *,
        returns_after: float | Law | None = None,
    ) -> None:
        if returns_after is not None:
            self.returns_after = as_law(returns_after)
        self.name = name
        self.role = role
        self.id = ""
        """Given by the room, a new one each time it joins; empty before."""
        self.peers: dict[str, Peer] = {}
        """The other participants, by id, in order of arrival."""
        self._simulator = Attendance(self, attributes or {})

    # --- what subclasses override -------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Called when this participant has the roster; again if it comes back.

        Streams that outlive losses are there then, and timers of ``after`` are not.
        """

    def on_message(self, message: Message) -> None:
        """Called for each message that is not part of a stream."""

    def on_request(self, question: Question) -> None:
        """Called for each question that a client asks: reply to it, or refuse it, now or later.

        By default ``on_message`` gets it, and what is not answered then is refused; but not if an ordinary message may
        answer it, and ``on_message`` is overridden.
        """
        self.on_message(question)

    def on_stream(self, offer: Offer) -> None:
        """Called when a peer offers a stream; by default it is rejected as official clients do."""
        self.reject(offer, "Streams are not allowed by this client")

    def on_stream_answer(self, stream: Stream, error: str | None) -> None:
        """Called when a stream that this participant opened is accepted (None) or rejected (the reason)."""

    def on_arrival(self, stream: Stream, chunk: Chunk) -> None:
        """Called when a chunk has arrived; by default it is read at once. A slow reader calls ``read`` later."""
        self.read(stream, chunk)

    def on_chunk(self, stream: Stream, chunk: Chunk) -> None:
        """Called for each chunk that is read."""

    def on_credit(self, stream: Stream) -> None:
        """Called when the peer has read some chunks and has room for more."""

    def on_stream_end(self, stream: Stream, error: str | None) -> None:
        """Called when the peer has closed a stream (None), cancelled it, or left (the error).

        A stream that outlives losses ends so after 60 s without its peer, or without this participant's own connection.
        """

    def on_peer_joined(self, peer: Peer) -> None:
        """Called when a peer has enabled messaging, after ``on_start``."""

    def on_peer_left(self, peer: Peer) -> None:
        """Called when a peer has left or disabled messaging."""

    def on_end(self) -> None:
        """Called when the connection has ended, unless this participant has left; see ``come_back``.

        The streams that have not ended by then outlive it, if this participant comes back in time.
        """

    # --- what participants do -----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._simulator.here.network.kernel.now / 1e9

    @property
    def is_here(self) -> bool:
        """Whether this participant is in a room, as far as it knows."""
        return self._simulator.is_here

    @property
    def random(self) -> Random:
        """This participant's own random stream; draw by ``random.random()`` alone."""
        return self._simulator.random

    def after(self, delay: float | Law, callback: Callable[[], None]) -> None:
        """Call back after a delay, in seconds or drawn from a law; not if this participant has left by then.

        Raises:
            TypeError: If the callback cannot be called, or is a coroutine or generator function.
        """
        check_callback(callback)
        self._simulator.call_later(as_law(delay), callback)

    def send(self, to: Peer | str, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to a peer, or to the participant with that id.

        Raises:
            InvalidMessage: If the message is no JSON object; nothing is sent.
            UsageError: If this participant is in no room.
        """
        body, size = copied(message, "message")
        recipient = to.id if isinstance(to, Peer) else to
        self._simulator.issue(Send(recipient, type, body, bytes(attachment)), size + len(attachment))

    def broadcast(self, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to all others; raises as ``send``."""
        body, size = copied(message, "message")
        self._simulator.issue(Broadcast(type, body, bytes(attachment)), size + len(attachment))

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute, which all others see; raises as ``send``."""
        self._simulator.set_attributes(copied({name: value}, "attributes")[0])

    def peer(self, name: str) -> Peer | None:
        """Return the peer with that name that joined first, or None."""
        return next((peer for peer in self.peers.values() if peer.name == name), None)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that this participant has opened or accepted and that have not ended, in that order."""
        return self._simulator.streams.open

    def open_stream(
        self, to: Peer | str, header: Mapping[str, Any] | None = None, *, window: int | None = WINDOW
    ) -> Stream:
        """Offer a stream to a peer, or to the participant with that id; ``on_stream_answer`` gets the answer.

        Args:
            window: Bytes that this side holds unread of the peer's chunks; None for a side without flow control, as
                official clients.
        """
        return self._simulator.streams.offer(self._simulator.peer_of(to), header or {}, window)

    def accept(self, offer: Offer, *, window: int | None = WINDOW) -> Stream:
        """Accept a stream.

        Args:
            window: Bytes that this side holds unread; None for a side without flow control.
        """
        return self._simulator.streams.accept(offer, window)

    def reject(self, offer: Offer, reason: str) -> None:
        """Reject a stream; the reason is made safe to send, as clients do (`meshsync.reasons.safe_text`)."""
        self._simulator.streams.reject(offer, reason)

    def read(self, stream: Stream, chunk: Chunk) -> None:
        """Read a chunk that has arrived: the peer may send as much again, and ``on_chunk`` is called."""
        stream.took(chunk.size)
        self.on_chunk(stream, chunk)

    def leave(self) -> None:
        """Leave the room: sent messages still go out, then a close frame; nothing comes in. Again does nothing.

        Streams end at once, those included that outlive losses.
        """
        self._simulator.leave()

    def come_back(self) -> None:
        """Join the same room again, at once or when its server is back. While in the room, it does nothing."""
        self._simulator.come_back()


def enter(participant: Participant, surroundings: Surroundings) -> None:
    """Let a participant take a seat and enable messaging; see `Attendance.enter`.

    Raises:
        UsageError: If it is in a room already.
    """
    check_participant(participant, Participant)
    participant._simulator.enter(surroundings)


def retire(participant: Participant) -> None:
    """Let a participant leave for good, since its room ends: it can only enter another one."""
    participant._simulator.retire()


class Attendance:
    """A participant in its room: its connection, timers, peers and streams. It calls the participant's ``on_…``.

    It is not the participant itself, so that subclasses of that one replace nothing of it.
    """

    __slots__ = (
        "_attributes",
        "_confirmed",
        "_due",
        "_end",
        "_is_retired",
        "_later_attributes",
        "_returning",
        "_stay",
        "_surroundings",
        "_timers",
        "participant",
        "resumes",
        "streams",
    )

    def __init__(self, participant: Participant, attributes: Mapping[str, Any]) -> None:
        self.participant: Participant = participant
        self._attributes = dict(attributes)
        self._later_attributes: JsonObject = {}
        """Those that it has set itself."""
        self._returning: Timer | None = None
        """Brings it back."""
        self._surroundings: Surroundings | None = None
        self._end: HeadlessEnd | None = None
        self._stay: Stay | None = None
        self._timers: dict[Timer, None] = {}
        self._due: list[Callable[[], None]] = []
        """Callbacks that were due during a pause."""
        self.streams: ParticipantStreams = ParticipantStreams(participant, self)
        self.resumes: bool = False
        """Whether streams outlive losses, as its peers can see."""
        self._is_retired = False
        """Whether its last room is no more."""
        self._confirmed: ConfirmedMessages | None = None
        """None before it has joined, and for one that confirms nothing."""

    @property
    def here(self) -> Surroundings:
        """The surroundings of the present stay, or of the last.

        Raises:
            UsageError: If it was in no room so far.
        """
        if self._surroundings is None:
            raise UsageError(f"participant {self.participant.name!r} is in no room: give it to room.add()")
        return self._surroundings

    @property
    def is_here(self) -> bool:
        """Whether the participant is in a room, as far as it knows."""
        return self._end is not None and self._end.is_open

    @property
    def random(self) -> Random:
        """The participant's own random stream."""
        return self.here.seeds.stream(f"participants/{self.participant.name}")

    def enter(self, surroundings: Surroundings) -> None:
        """Take a seat and enable messaging, at once, or when connecting is possible again.

        Raises:
            UsageError: If it is in a room already.
        """
        if self.is_here:
            raise UsageError(f"participant {self.participant.name!r} is in a room already")
        if self._surroundings is not surroundings:
            self.streams.forget()
        self._surroundings = surroundings
        self._is_retired = False
        if self._returning is not None:
            self._returning.cancel()
        if surroundings.network.is_refusing(self.participant.name):
            surroundings.network.kernel.after(_PATIENCE, self.come_back, background=True)
            return
        if self._confirmed is None and self.participant.confirms and ATTRIBUTE not in self._attributes:
            chance = surroundings.seeds.stream("participants/confirming")
            self._confirmed = ConfirmedMessages(self, partial(entropy, chance))
        self.resumes = self._confirmed is not None and self.participant.resumes
        own = {} if self._confirmed is None else {ATTRIBUTE: self._confirmed.attribute(resumes=self.resumes)}
        later = {} if self.participant.returns_after is None else self._later_attributes
        attributes = {**self._attributes, **later, **own}
        opening: list[Request] = [SetAttributes(attributes)] if attributes else []
        guest = Guest(self.participant.name, surroundings.room, self.participant.role)
        self.forget()
        self._stay = stay = Stay(self)
        self._end = end = HeadlessEnd(surroundings.network, guest, stay, [*opening, Enable()])
        self.participant.id = end.member.id
        if self._confirmed is not None:
            self._confirmed.connect(self.participant.id)

    def come_back(self) -> None:
        """Join the same room again; while in the room, or once that is no more, it does nothing."""
        if not self.is_here and not self._is_retired:
            self.enter(self.here)

    def leave(self) -> None:
        """Leave the room, if it is in one, and end the streams."""
        self.streams.leave()
        if self._end is not None and self._stay is not None:
            self._stay = None
            self.forget()
            self._end.leave()
            self._return_later()

    def retire(self) -> None:
        """Leave the room, which is no more once that is done."""
        self._is_retired = True
        self.leave()

    def ended(self, stay: Stay) -> None:
        """Note that the connection of a stay has ended."""
        if self._stay is stay:
            self._stay = None
            self.forget()
            self.participant.on_end()
            if not self.is_here:
                self._return_later()

    def _return_later(self) -> None:
        """Plan to come back, if the participant does so by itself."""
        if self.participant.returns_after is None:
            return
        kernel = self.here.network.kernel
        when = self._when(as_law(self.participant.returns_after), _SHORTEST_ABSENCE)
        self._returning = kernel.at(when, self.come_back)

    def forget(self) -> None:
        """Drop the timers, the peers and what else belongs to one stay in a room."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._due.clear()
        if self._confirmed is not None:
            self._confirmed.disconnect()
        self.participant.peers.clear()
        self.streams.lose()

    def call_later(self, law: Law, callback: Callable[[], None]) -> None:
        """Call back after a delay drawn from a law, or after a pause at that time; not if the stay has ended."""
        end = self._end
        timer: Timer

        def run() -> None:
            self._timers.pop(timer, None)
            if end is not self._end or end is None or not end.is_open:
                return
            if end.is_paused:
                self._due.append(callback)
            else:
                callback()

        timer = self.here.network.kernel.at(self._when(law), run)
        self._timers[timer] = None

    def _when(self, law: Law, least: int = 0) -> int:
        """Return an instant, in nanoseconds, after a delay drawn from a law, at least so many from now on."""
        kernel = self.here.network.kernel
        delay = max(law.draw_us(self.random) * 1000, least)
        if kernel.late is not None:
            delay += kernel.late(self.participant.name, kernel.now + delay, 0, "timer")
        return kernel.now + delay

    def set_attributes(self, attributes: JsonObject) -> None:
        """Set attributes; raises as `issue`."""
        self.issue(SetAttributes(attributes), 0)
        self._later_attributes |= attributes

    def issue(self, request: Request, size: int) -> None:
        """Send a request with ``size`` bytes of content.

        Raises:
            UsageError: If the participant is in no room.
        """
        if self._end is None or not self._end.is_open:
            self.here  # noqa: B018  # raises the better error, if it never was in a room
            raise UsageError(f"participant {self.participant.name!r} has left")
        self._end.send(request, size)

    def resume(self) -> None:
        """Call the callbacks that were due during a pause."""
        due, self._due = self._due, []
        for callback in due:
            if self.is_here:
                callback()
        self.streams.look()

    def receive(self, push: Push) -> None:
        """Take a push from the room."""
        handle = _ROOM_PUSHES.get(push.type)
        if handle is not None:
            handle(self, push)
            return
        if self._confirmed is not None and self._confirmed.take(push):
            return
        sender, attachment = self.peer_of(push.sender), push.attachment
        if not isinstance(attachment, bytes):
            attachment = bytes(attachment)
        if push.type.startswith("stream."):
            self.streams.take(sender, push.type, push.message, attachment)
        else:
            self.participant.on_message(Message(sender, push.type, push.message, attachment))

    # --- for `ConfirmedMessages` and `ParticipantStreams` -------------------------------------------------------------

    def now(self) -> float:
        """Return the seconds since the start."""
        return self.participant.now

    def attributes_of(self, id: str) -> Mapping[str, Any]:
        """Return all attributes of a peer, as far as it is known."""
        return self.here.attributes.get(id, {}) if id in self.participant.peers else {}

    def confirmed(self, arrival: Arrival) -> None:
        """Hand over a confirmed message."""
        sender = self.peer_of(arrival.participant_id)
        received = (sender, arrival.type, arrival.message, arrival.attachment)
        if isinstance(arrival.mark, Asks) and self._confirmed is not None:
            self._ask(AskedQuestion(self._confirmed, arrival, arrival.mark, lambda: self.is_here), received)
        elif arrival.mark is None:  # This participant asks nothing, so what answers is none of its messages.
            self.participant.on_message(Message(*received))

    def _ask(self, asked: AskedQuestion, received: tuple[Peer, str, Mapping[str, Any], bytes]) -> None:
        participant = self.participant
        participant.on_request(Question(*received, _questioned=asked))
        kind = type(participant)
        may_answer = kind.on_request is not Participant.on_request
        may_answer |= asked.takes_messages and kind.on_message is not Participant.on_message
        if asked.is_open and self.is_here and not may_answer:
            asked.refuse(f"{participant.name!r} has no answer to questions of type {received[1]!r}")

    def replaced(self, id: str) -> None:
        """Note that a peer has come back under another id, though the room has not missed it yet."""
        self._peer_left(id)

    def look_at(self, when: float, look: Callable[[], None]) -> None:
        """Call ``look`` at that time, or soon after a pause, unless this stay has ended; nothing waits for it."""
        end, kernel = self._end, self.here.network.kernel

        def run() -> None:
            self._timers.pop(timer, None)
            if end is self._end and self.is_here:
                look()

        timer = kernel.after(max(0.0, when - self.now()), run, background=True)
        self._timers[timer] = None

    @property
    def is_paused(self) -> bool:
        """Whether the participant is paused, and connected as far as it knows."""
        return self._end is not None and self._end.is_open and self._end.is_paused

    @property
    def own_id(self) -> str:
        """The participant's id in this stay, or in the last."""
        return self.participant.id

    @property
    def present(self) -> Mapping[str, Peer]:
        """The peers that are there, by id, in order of arrival."""
        return self.participant.peers

    def peer_of(self, peer: Peer | str) -> Peer:
        """Return the participant with that id: a peer, this one itself, or one that has just left."""
        if isinstance(peer, Peer):
            return peer
        if peer in self.participant.peers:
            return self.participant.peers[peer]
        if peer == self.participant.id:
            return Peer(peer, self.participant.role, {"name": self.participant.name})
        return self.here.peers.get(peer) or Peer(peer, "", {})

    def post(self, to: str, type: str, body: JsonObject, data: bytes) -> None:
        """Send a message of a stream; raises as `Participant.send`."""
        self.participant.send(to, type, body, data)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back at this instant, but after the present call."""
        self.here.network.kernel.after(0, callback)

    def ring_at(self, when: float, ring: Callable[[], None]) -> None:
        """Call ``ring`` at that time, whatever becomes of this stay; nothing waits for it."""
        self.here.network.kernel.after(max(0.0, when - self.now()), ring, background=True)

    def draw(self, size: int) -> bytes:
        """Return so many bytes for a stream's secret."""
        return entropy(self.here.seeds.stream("participants/resuming"), size)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _roster_came(self, push: Push) -> None:
        self.participant.peers.clear()
        for entry in push.message["participants"]:
            self._describe(entry["id"], entry["role"], entry["attributes"])
        if self._confirmed is not None:
            self._confirmed.meet(self.participant.peers)
        self.streams.restored()
        self.participant.on_start()

    def _peer_came(self, push: Push) -> None:
        entry = push.message
        peer = self._describe(entry["id"], entry["role"], entry["attributes"])
        if self._confirmed is not None:
            self._confirmed.meet((peer.id,))
        self.streams.peer_came(peer)
        self.participant.on_peer_joined(peer)

    def _peer_went(self, push: Push) -> None:
        if self._confirmed is not None:
            self._confirmed.leave(push.message["id"])
        self._peer_left(push.message["id"])

    def _peer_left(self, id: str) -> None:
        peer = self.participant.peers.pop(id, None)
        if peer is not None:
            self.streams.peer_left(peer)
            self.participant.on_peer_left(peer)

    def _peer_changed(self, push: Push) -> None:
        peer = self.participant.peers.get(push.sender)
        if peer is not None:
            own = {name: value for name, value in self.attributes_of(peer.id).items() if name == ATTRIBUTE}
            self._describe(peer.id, peer.role, {**peer.attributes, **own, **push.message["attributes"]})

    def _describe(self, id: str, role: str, attributes: Mapping[str, Any]) -> Peer:
        known, before = self.here.peers, self.here.attributes.get(id)
        peer = known.get(id)
        if peer is None or (before is not attributes and before != attributes):
            self.here.attributes[id] = attributes
            peer = known[id] = Peer(id, role, visible(attributes))
        self.participant.peers[id] = peer
        return peer


_ROOM_PUSHES: dict[str, Callable[[Attendance, Push], object]] = {
    "messaging.enabled": Attendance._roster_came,
    "participant.enabled": Attendance._peer_came,
    "participant.disabled": Attendance._peer_went,
    "participant.attributes": Attendance._peer_changed,
}
