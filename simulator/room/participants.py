"""Participants without a thread: scripted people and agents that live on the simulation's timers.

They take a seat like everybody else, on a connection of their own: delays, faults and the room's rules apply to them as
to clients. But they have no client and no thread, so that thousands are affordable, and what they send and get is never
cut into packets: their messages are in the transcript, their packets are not.

Own ones subclass `Participant`. Nothing in one may block: it is called from timers. What it is given is shared with all
who got the same message, and must not be changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from meshsync.errors import UsageError
from meshsync.protocol.dialects import Broadcast, Enable, Push, Request, Send, SetAttributes
from meshsync.protocol.envelopes import encode_object
from simulator.network.latency import Law, as_law
from simulator.network.latency import exponential as exponential_law
from simulator.network.network import Guest, Network
from simulator.network.plain import PlainEnd
from simulator.room.rules import Output
from simulator.room.seat import SeatedRoom
from simulator.world.kernel import Timer
from simulator.world.seeds import Seeds

__all__ = [
    "Chatter",
    "Echo",
    "Message",
    "Offer",
    "Participant",
    "Peer",
    "Rejecting",
    "Scripted",
    "Sink",
    "Streamer",
    "Surroundings",
    "Visitor",
    "churn",
]


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else who takes part."""

    id: str
    role: str
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The display name, or nothing."""
        return str(self.attributes.get("name", ""))


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a participant gets it."""

    sender: Peer
    type: str
    message: Mapping[str, Any]
    attachment: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A stream that somebody wants to open."""

    sender: Peer
    stream_id: str
    header: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the participants of one room live in."""

    network: Network
    room: SeatedRoom
    seeds: Seeds
    peers: dict[str, Peer] = field(default_factory=dict)
    """Everybody as last described, by id: what a thousand participants know of a thousand others is kept once."""


_PATIENCE = 1.0
"""Seconds between two attempts to connect of somebody who is refused."""


class Participant:
    """Somebody who takes part and does nothing; subclasses override ``on_…``.

    Args:
        name: The display name.
        attributes: Further attributes.
    """

    def __init__(self, name: str, role: str = "agent", attributes: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.role = role
        self.id = ""
        """Given by the room, another one each time; empty before."""
        self.peers: dict[str, Peer] = {}
        """The others who take part, by id, in order of arrival."""
        self._attributes = dict(attributes or {})
        self._surroundings: Surroundings | None = None
        self._end: PlainEnd | None = None
        self._stay: _Stay | None = None
        self._timers: dict[Timer, None] = {}
        self._due: list[Callable[[], None]] = []
        """What was due during a pause."""

    # --- what subclasses override -------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Called when this participant takes part and knows the others; again if it comes back."""

    def on_message(self, message: Message) -> None:
        """Called for each message but those of streams."""

    def on_stream(self, offer: Offer) -> None:
        """Called when somebody wants to open a stream; by default it is rejected as official clients do."""
        self.reject(offer, "Streams are not allowed by this client")

    def on_chunk(self, sender: Peer, stream_id: str, header: Mapping[str, Any], data: bytes) -> None:
        """Called for each chunk of a stream."""

    def on_stream_answer(self, sender: Peer, stream_id: str, error: str | None) -> None:
        """Called when a stream that this participant opened is accepted (None) or rejected (why)."""

    def on_stream_close(self, sender: Peer, stream_id: str) -> None:
        """Called when the other side closes a stream."""

    def on_peer_joined(self, peer: Peer) -> None:
        """Called when somebody begins to take part, after ``on_start``."""

    def on_peer_left(self, peer: Peer) -> None:
        """Called when somebody takes part no longer."""

    def on_end(self) -> None:
        """Called when the connection has ended, unless this participant has left; see ``come_back``."""

    # --- what they do -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._here.network.kernel.now / 1e9

    @property
    def is_here(self) -> bool:
        """Whether this participant is in a room, as far as it knows."""
        return self._end is not None and self._end.is_open

    @property
    def random(self) -> Random:
        """This participant's own stream of chance; draw by ``random.random()`` alone."""
        return self._here.seeds.stream(f"participants/{self.name}")

    def after(self, delay: float | Law, callback: Callable[[], None]) -> None:
        """Call back after so many seconds, or as many as a law says; not if this participant has left by then."""
        self._call_later(as_law(delay), callback, self._end)

    def send(self, to: Peer | str, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to somebody, or to the one with that id.

        Raises:
            InvalidMessage: If it is no JSON.
            UsageError: If this participant is in no room.
        """
        body, size = _copy(message, "message")
        recipient = to.id if isinstance(to, Peer) else to
        self._say(Send(recipient, type, body, bytes(attachment)), size + len(attachment))

    def broadcast(self, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to all others; raises as ``send``."""
        body, size = _copy(message, "message")
        self._say(Broadcast(type, body, bytes(attachment)), size + len(attachment))

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute for all to see; raises as ``send``."""
        self._say(SetAttributes(*_copy({name: value}, "attributes")[:1]), 0)

    def peer(self, name: str) -> Peer | None:
        """Return the earliest participant with that name, or None."""
        return next((peer for peer in self.peers.values() if peer.name == name), None)

    def accept(self, offer: Offer) -> None:
        """Accept a stream."""
        self.send(offer.sender, "stream.accept", {"stream_id": offer.stream_id})

    def reject(self, offer: Offer, reason: str) -> None:
        """Reject a stream."""
        self.send(offer.sender, "stream.reject", {"stream_id": offer.stream_id, "error": reason})

    def leave(self) -> None:
        """Leave the room: what was sent still arrives, and then goodbye; nothing comes in. Again does nothing."""
        if self._end is not None and self._stay is not None:
            self._stay = None
            self._forget()
            self._end.leave()

    def come_back(self) -> None:
        """Take part again in the room of before, at once or when its server is back. While here, it does nothing."""
        if not self.is_here:
            self.enter(self._here)

    # --- what the simulation does -------------------------------------------------------------------------------------

    @property
    def _here(self) -> Surroundings:
        if self._surroundings is None:
            raise UsageError(f"participant {self.name!r} is in no room: give it to room.add()")
        return self._surroundings

    def enter(self, surroundings: Surroundings) -> None:
        """Take a seat and enable messaging, at once, or when connecting is possible again; called by the simulation.

        Raises:
            UsageError: If it is in a room already.
        """
        if self.is_here:
            raise UsageError(f"participant {self.name!r} is in a room already")
        if surroundings.network.is_refusing(self.name):
            self._surroundings = surroundings
            surroundings.network.kernel.after(_PATIENCE, self.come_back, background=True)
            return
        opening: list[Request] = [SetAttributes(self._attributes)] if self._attributes else []
        guest = Guest(self.name, surroundings.room, self.role)
        self._surroundings = surroundings
        self._forget()
        self._stay = stay = _Stay(self)
        self._end = end = PlainEnd(surroundings.network, guest, stay, [*opening, Enable()])
        self.id = end.member.id

    def _forget(self) -> None:
        """Drop what belongs to one time in a room."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._due.clear()
        self.peers.clear()

    def _call_later(self, law: Law, callback: Callable[[], None], end: PlainEnd | None) -> None:
        timer: Timer

        def run() -> None:
            self._timers.pop(timer, None)
            if end is not self._end or end is None or not end.is_open:
                return
            if end.is_paused:
                self._due.append(callback)
            else:
                callback()

        kernel = self._here.network.kernel
        timer = kernel.at(kernel.now + law.draw_us(self.random) * 1000, run)
        self._timers[timer] = None

    def _say(self, request: Request, size: int) -> None:
        if self._end is None or not self._end.is_open:
            self._here  # noqa: B018  # raises what is truer, if it never was in one
            raise UsageError(f"participant {self.name!r} has left")
        self._end.say(request, size)

    def _went_on(self) -> None:
        """Do what was due during a pause."""
        due, self._due = self._due, []
        for callback in due:
            if self.is_here:
                callback()

    def _hear(self, push: Push) -> None:
        handle = _ROOM_PUSHES.get(push.type)
        if handle is not None:
            handle(self, push)
            return
        sender = self.peers.get(push.sender) or self._stranger(push.sender)
        body, attachment = push.message, push.attachment
        if not isinstance(attachment, bytes):
            attachment = bytes(attachment)
        if not push.type.startswith("stream."):
            self.on_message(Message(sender, push.type, body, attachment))
            return
        stream_id = str(body.get("stream_id", ""))
        match push.type:
            case "stream.open":
                self.on_stream(Offer(sender, stream_id, body.get("header") or {}))
            case "stream.accept":
                self.on_stream_answer(sender, stream_id, None)
            case "stream.reject":
                self.on_stream_answer(sender, stream_id, str(body.get("error", "")))
            case "stream.chunk":
                self.on_chunk(sender, stream_id, body.get("header") or {}, attachment)
            case "stream.close":
                self.on_stream_close(sender, stream_id)
            case _:
                self.on_message(Message(sender, push.type, body, attachment))

    def _stranger(self, id: str) -> Peer:
        """Return somebody who is not among the peers: this participant itself, or one who has just left."""
        if id == self.id:
            return Peer(id, self.role, {"name": self.name})
        return self._here.peers.get(id) or Peer(id, "", {})

    def _roster_came(self, push: Push) -> None:
        self.peers.clear()
        for entry in push.message["participants"]:
            self._describe(entry["id"], entry["role"], entry["attributes"])
        self.on_start()

    def _peer_came(self, push: Push) -> None:
        entry = push.message
        self.on_peer_joined(self._describe(entry["id"], entry["role"], entry["attributes"]))

    def _peer_went(self, push: Push) -> None:
        peer = self.peers.pop(push.message["id"], None)
        if peer is not None:
            self.on_peer_left(peer)

    def _peer_changed(self, push: Push) -> None:
        peer = self.peers.get(push.sender)
        if peer is not None:
            self._describe(peer.id, peer.role, {**peer.attributes, **push.message["attributes"]})

    def _describe(self, id: str, role: str, attributes: Mapping[str, Any]) -> Peer:
        known = self._here.peers
        peer = known.get(id)
        if peer is None or (peer.attributes is not attributes and peer.attributes != attributes):
            peer = known[id] = Peer(id, role, attributes)
        self.peers[id] = peer
        return peer


class _Stay:
    """One time in a room. Its connection may end later than its participant has left it, and come back."""

    __slots__ = ("_participant",)

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    def heard(self, output: Output) -> None:
        if isinstance(output.what, Push):
            self._participant._hear(output.what)

    def went_on(self) -> None:
        self._participant._went_on()

    def ended(self) -> None:
        if self._participant._stay is self:
            self._participant._stay = None
            self._participant._forget()
            self._participant.on_end()


_ROOM_PUSHES: dict[str, Callable[[Participant, Push], object]] = {
    "messaging.enabled": Participant._roster_came,
    "participant.enabled": Participant._peer_came,
    "participant.disabled": Participant._peer_went,
    "participant.attributes": Participant._peer_changed,
}


def _copy(value: Mapping[str, Any], name: str) -> tuple[dict[str, Any], int]:
    """Return a JSON object as others get it, which nobody can change any more, and its size in bytes."""
    encoded = encode_object(value, name)
    return json.loads(encoded), len(encoded)


# --- those that are there to be used ----------------------------------------------------------------------------------


class Echo(Participant):
    """Answers every message to its sender with the same type, body and attachment.

    Args:
        delay: How long it thinks, in seconds or as a law.
    """

    def __init__(self, name: str, delay: float | Law = 0.0, role: str = "agent") -> None:
        super().__init__(name, role)
        self.delay = as_law(delay)

    def on_message(self, message: Message) -> None:
        """Answer, after thinking."""
        answer = (message.sender, message.type, message.message, message.attachment)
        self.after(self.delay, lambda: self.send(*answer))


class Chatter(Participant):
    """Says something again and again, to everybody or to one.

    Args:
        interval: Between two messages, in seconds or as a law.
        to: The name of the one to whom; None broadcasts. While nobody has that name, nothing is said.
        limit: How many messages; None for ever.
    """

    def __init__(
        self,
        name: str,
        interval: float | Law = 1.0,
        *,
        to: str | None = None,
        type: str = "chat",
        limit: int | None = None,
        role: str = "user",
    ) -> None:
        super().__init__(name, role)
        self.interval = as_law(interval)
        if limit is None and not self.interval.quantile(0.5) > 0:
            raise ValueError("with an interval of 0 seconds it would talk for ever without the clock moving")
        self.to = to
        self.type = type
        self.limit = limit
        self.said = 0

    def on_start(self) -> None:
        """Begin, after one interval."""
        self._go_on()

    def _go_on(self) -> None:
        if self.limit is None or self.said < self.limit:
            self.after(self.interval, self._speak)

    def _speak(self) -> None:
        peer = None if self.to is None else self.peer(self.to)
        body = {"number": self.said + 1}
        if self.to is None:
            self.broadcast(self.type, body)
            self.said += 1
        elif peer is not None:
            self.send(peer, self.type, body)
            self.said += 1
        self._go_on()


class Scripted(Participant):
    """Does one step after the other.

    Args:
        steps: Pairs of a pause in seconds and what is done after it: a function that takes this participant.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[tuple[float, Callable[[Scripted], object]]],
        role: str = "user",
    ) -> None:
        super().__init__(name, role)
        self.steps = tuple(steps)
        self.received: list[Message] = []
        """Every message so far."""

    def on_start(self) -> None:
        """Begin with the first step's pause."""
        self._next(iter(self.steps))

    def _next(self, remaining: Iterator[tuple[float, Callable[[Scripted], object]]]) -> None:
        step = next(remaining, None)
        if step is None:
            return
        pause, action = step

        def act() -> None:
            action(self)
            if self.is_here:  # The step may have been to leave.
                self._next(remaining)

        self.after(pause, act)

    def on_message(self, message: Message) -> None:
        """Keep it."""
        self.received.append(message)


class Rejecting(Participant):
    """Rejects every stream for the same reason."""

    def __init__(self, name: str, reason: str = "busy", role: str = "agent") -> None:
        super().__init__(name, role)
        self.reason = reason

    def on_stream(self, offer: Offer) -> None:
        """Reject it."""
        self.reject(offer, self.reason)


class Sink(Participant):
    """Accepts every stream and message, and counts what it gets.

    Args:
        rate: Bytes per second that it takes from streams; None for all at once. What is not taken yet waits in it.
    """

    def __init__(self, name: str, rate: float | None = None, role: str = "agent") -> None:
        super().__init__(name, role)
        if rate is not None and not rate > 0:
            raise ValueError(f"rate must be above 0 bytes per second, got {rate}")
        self.rate = rate
        self.messages = 0
        self.bytes_taken = 0
        """Bytes of streams and attachments."""
        self.open_streams: dict[str, Peer] = {}
        self._busy_until = 0.0

    def on_message(self, message: Message) -> None:
        """Count it."""
        self.messages += 1
        self.bytes_taken += len(message.attachment)

    def on_stream(self, offer: Offer) -> None:
        """Accept it."""
        self.open_streams[offer.stream_id] = offer.sender
        self.accept(offer)

    def on_chunk(self, sender: Peer, stream_id: str, header: Mapping[str, Any], data: bytes) -> None:
        """Take it, in its time."""
        if self.rate is None:
            self._take(len(data))
            return
        self._busy_until = max(self._busy_until, self.now) + len(data) / self.rate
        self.after(self._busy_until - self.now, lambda: self._take(len(data)))

    def _take(self, size: int) -> None:
        self.bytes_taken += size

    def on_stream_close(self, sender: Peer, stream_id: str) -> None:
        """Forget the stream."""
        self.open_streams.pop(stream_id, None)


class Streamer(Participant):
    """Opens a stream to somebody, writes chunks to it and closes it.

    Args:
        to: The name of the recipient; while nobody has it, the stream waits.
        chunks: The data of each chunk.
        interval: Between two chunks, in seconds or as a law.
        header: The stream's.
    """

    def __init__(
        self,
        name: str,
        to: str,
        chunks: Iterable[bytes],
        interval: float | Law = 0.0,
        *,
        header: Mapping[str, Any] | None = None,
        role: str = "agent",
    ) -> None:
        super().__init__(name, role)
        self.to = to
        self.chunks = tuple(chunks)
        self.interval = as_law(interval)
        self.header = dict(header or {})
        self.outcome = "not opened"
        """``open``, ``closed``, or why not."""
        self._recipient: Peer | None = None

    def on_start(self) -> None:
        """Open the stream, if its recipient is there."""
        self._recipient = None
        self.outcome = f"waits for {self.to!r}"
        peer = self.peer(self.to)
        if peer is not None:
            self._open(peer)

    def on_peer_joined(self, peer: Peer) -> None:
        """Open the stream, if this is its recipient."""
        if self._recipient is None and peer.name == self.to:
            self._open(peer)

    def _open(self, peer: Peer) -> None:
        self._recipient = peer
        self.outcome = "offered"
        self.send(peer, "stream.open", {"stream_id": f"{self.id}/1", "header": self.header})

    def on_stream_answer(self, sender: Peer, stream_id: str, error: str | None) -> None:
        """Begin to write, or give up."""
        if error is not None:
            self.outcome = f"rejected: {error}"
        elif self.outcome == "offered":
            self.outcome = "open"
            self._write(sender, stream_id, 0)

    def on_stream_close(self, sender: Peer, stream_id: str) -> None:
        """Write no more."""
        self.outcome = "closed by the other side"

    def on_peer_left(self, peer: Peer) -> None:
        """Write no more, if it was the recipient."""
        if self._recipient is not None and peer.id == self._recipient.id and self.outcome in ("offered", "open"):
            self.outcome = f"{self.to!r} has left"

    def on_end(self) -> None:
        """Write no more."""
        if self.outcome in ("offered", "open"):
            self.outcome = "the connection ended"

    def _write(self, peer: Peer, stream_id: str, index: int) -> None:
        if self.outcome != "open":
            return
        if index == len(self.chunks):
            self.send(peer, "stream.close", {"stream_id": stream_id})
            self.outcome = "closed"
            return
        self.send(peer, "stream.chunk", {"stream_id": stream_id, "header": {"index": index}}, self.chunks[index])
        self.after(self.interval, lambda: self._write(peer, stream_id, index + 1))


class Visitor(Participant):
    """Comes and goes, again and again.

    Args:
        stay: For how long it takes part, in seconds or as a law.
        away: For how long it is gone, likewise; at least a millisecond.
        visits: How often it comes; None for ever.
        greeting: The type of a message to all when it comes; None for none.
    """

    def __init__(
        self,
        name: str,
        stay: float | Law = 60.0,
        away: float | Law = 30.0,
        *,
        visits: int | None = None,
        greeting: str | None = None,
        role: str = "user",
    ) -> None:
        super().__init__(name, role)
        self.stay = as_law(stay)
        self.away = as_law(away)
        self.visits = visits
        self.greeting = greeting
        self.visited = 0
        """How often it came so far."""

    def on_start(self) -> None:
        """Stay for a while."""
        self.visited += 1
        if self.greeting is not None:
            self.broadcast(self.greeting, {"visit": self.visited})
        self.after(self.stay, self._go)

    def _go(self) -> None:
        self.leave()
        self._return_later()

    def on_end(self) -> None:
        """Come back later, also after a fault."""
        self._return_later()

    def _return_later(self) -> None:
        if self.visits is None or self.visited < self.visits:
            seconds = max(self.away.draw(self.random), _SHORTEST_ABSENCE)
            self._here.network.kernel.after(seconds, self.come_back)


_SHORTEST_ABSENCE = 0.001
"""Seconds: nobody comes and goes without the clock moving."""


def churn(
    count: int,
    *,
    stay: float | Law | None = None,
    away: float | Law | None = None,
    prefix: str = "visitor",
    visits: int | None = None,
    greeting: str | None = None,
) -> tuple[Visitor, ...]:
    """Return so many visitors, named ``visitor-1`` and so on.

    Args:
        stay: For how long each takes part; by default exponential, with a mean of 60 seconds.
        away: For how long each is gone; by default exponential, with a mean of 30 seconds.
        prefix: What their names begin with.
        visits: How often each comes; None for ever.
        greeting: See `Visitor`.
    """
    here = exponential_law(60.0) if stay is None else as_law(stay)
    gone = exponential_law(30.0) if away is None else as_law(away)
    return tuple(
        Visitor(f"{prefix}-{number}", here, gone, visits=visits, greeting=greeting) for number in range(1, count + 1)
    )
