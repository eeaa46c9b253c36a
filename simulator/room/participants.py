"""Participants without a thread: scripted people and agents that live on the simulation's timers.

They take a seat like everybody else, and what they do takes as long to reach the room, and the others, as the law of
delays says; but they have no connection, no client and no thread, so that thousands are affordable. Their packets are
not in the transcript, their messages are.

Own ones subclass `Participant`. Nothing in one may block: it is called from timers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Protocol

from meshsync.errors import UsageError
from meshsync.protocol.dialects import Broadcast, Enable, Push, Request, Send, SetAttributes
from simulator.network.latency import Law, as_law
from simulator.room.seat import Seat, SeatedRoom
from simulator.world.kernel import Kernel, Timer
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


class Recorder(Protocol):
    """Whom arrivals are told to."""

    def arrived(self, push_id: int, recipient_id: str, outcome: str = "delivered") -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a participant lives in."""

    kernel: Kernel
    room: SeatedRoom
    recorder: Recorder
    seeds: Seeds
    up: Law
    down: Law


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
        """Given by the room; empty while not in one."""
        self.peers: dict[str, Peer] = {}
        """The others who take part, by id, in order of arrival."""
        self._attributes = dict(attributes or {})
        self._surroundings: Surroundings | None = None
        self._seat: Seat | None = None
        self._request_ids = count(1)
        self._is_draining = False
        self._last: dict[str, int] = {}
        """When the last thing each way arrives, in nanoseconds: nothing overtakes."""
        self._held: deque[Callable[[], None]] | None = None
        """What waits for the end of a partition; None without one."""
        self._timers: dict[Timer, None] = {}

    # --- what subclasses override -------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Called when this participant takes part and knows the others."""

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

    # --- what they do -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._here.kernel.now / 1e9

    @property
    def is_here(self) -> bool:
        """Whether this participant is in a room."""
        return self._seat is not None and self._seat.is_taken

    @property
    def random(self) -> Random:
        """This participant's own stream of chance; draw by ``random.random()`` alone."""
        return self._here.seeds.stream(f"participants/{self.name}")

    def after(self, delay: float | Law, callback: Callable[[], None]) -> None:
        """Call back after so many seconds, or as many as a law says; not if this participant has left by then."""
        seconds = as_law(delay).draw(self.random)
        timer: Timer

        def run() -> None:
            self._timers.pop(timer, None)
            if self.is_here:
                callback()

        timer = self._here.kernel.after(seconds, run)
        self._timers[timer] = None

    def send(self, to: Peer | str, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to somebody, or to the one with that id."""
        recipient = to.id if isinstance(to, Peer) else to
        self._submit(Send(recipient, type, dict(message), attachment))

    def broadcast(self, type: str, message: Mapping[str, Any], attachment: bytes = b"") -> None:
        """Send a message to all others."""
        self._submit(Broadcast(type, dict(message), attachment))

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute for all to see."""
        self._submit(SetAttributes({name: value}))

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
        """Leave the room at once. Again does nothing."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._seat is not None and self._seat.is_taken:
            self._seat.leave()
        self.peers.clear()

    # --- what the simulation does -------------------------------------------------------------------------------------

    @property
    def _here(self) -> Surroundings:
        if self._surroundings is None:
            raise UsageError(f"participant {self.name!r} is in no room: give it to room.add()")
        return self._surroundings

    def enter(self, surroundings: Surroundings) -> None:
        """Take a seat and enable messaging, at once; called by the simulation.

        Raises:
            UsageError: If it is in a room already.
        """
        if self.is_here:
            raise UsageError(f"participant {self.name!r} is in a room already")
        self._surroundings = surroundings
        self._last = {"up": 0, "down": 0}
        self._seat = surroundings.room.take(self.name, wake=self._wake, role=self.role, version=None)
        self.id = self._seat.member.id
        if self._attributes:
            self._request(SetAttributes(dict(self._attributes)))
        self._request(Enable())

    def cut_off(self, is_cut_off: bool) -> None:
        """Begin or end a partition between this participant and the room; what is under way waits."""
        if is_cut_off:
            self._held = self._held if self._held is not None else deque()
        elif self._held is not None:
            held, self._held = self._held, None
            for action in held:
                action()

    def _submit(self, request: Request) -> None:
        here = self._here
        if not self.is_here:
            raise UsageError(f"participant {self.name!r} has left")
        sent = here.kernel.now
        self._travel("up", lambda: self._request(request, sent))

    def _request(self, request: Request, sent: int | None = None) -> None:
        here = self._here
        if self._seat is not None and self.is_here:
            here.recorder.cause_ns = sent  # type: ignore[attr-defined]
            here.room.route(here.room.rules.handle(self._seat.member, next(self._request_ids), request))

    def _travel(self, direction: str, action: Callable[[], None]) -> None:
        """Have something happen at the other end, after a delay, behind what went before."""
        here = self._here
        law = here.up if direction == "up" else here.down
        delay = law.draw_us(here.seeds.stream(f"network/{self.name}/{direction}")) * 1000
        when = self._last[direction] = max(self._last[direction], here.kernel.now + delay)
        here.kernel.at(when, lambda: self._arrive(action))

    def _arrive(self, action: Callable[[], None]) -> None:
        if self._held is None:
            action()
        else:
            self._held.append(action)

    def _wake(self) -> None:
        # Called by the seat, from inside the room: nothing may be sent from here.
        if not self._is_draining:
            self._is_draining = True
            self._here.kernel.at(self._here.kernel.now, self._drain)

    def _drain(self) -> None:
        self._is_draining = False
        seat = self._seat
        if seat is None:
            return
        while parcels := seat.drain(1 << 20):
            for parcel in parcels:
                output = parcel.output
                self._travel("down", lambda o=output: self._receive(o.id, o.what))  # type: ignore[misc]

    def _receive(self, push_id: int, what: object) -> None:
        if isinstance(what, Push):
            self._here.recorder.arrived(push_id, self.id, "delivered" if self.is_here else "lost")
        if self.is_here and isinstance(what, Push):
            handle = _ROOM_PUSHES.get(what.type)
            if handle is not None:
                handle(self, what)
            else:
                self._hear(what)

    def _hear(self, push: Push) -> None:
        sender = self.peers.get(push.sender) or Peer(push.sender, "", {})
        body = push.message
        stream_id = str(body.get("stream_id", ""))
        match push.type:
            case "stream.open":
                self.on_stream(Offer(sender, stream_id, body.get("header") or {}))
            case "stream.accept":
                self.on_stream_answer(sender, stream_id, None)
            case "stream.reject":
                self.on_stream_answer(sender, stream_id, str(body.get("error", "")))
            case "stream.chunk":
                self.on_chunk(sender, stream_id, body.get("header") or {}, bytes(push.attachment))
            case "stream.close":
                self.on_stream_close(sender, stream_id)
            case _:
                self.on_message(Message(sender, push.type, body, bytes(push.attachment)))

    def _roster_came(self, push: Push) -> None:
        for entry in push.message["participants"]:
            self._enter_peer(entry)
        self.on_start()

    def _enter_peer(self, entry: Mapping[str, Any]) -> None:
        self.peers[entry["id"]] = Peer(entry["id"], entry["role"], entry["attributes"])

    def _attributes_came(self, push: Push) -> None:
        peer = self.peers.get(push.sender)
        if peer is not None:
            self.peers[peer.id] = Peer(peer.id, peer.role, {**peer.attributes, **push.message["attributes"]})


_ROOM_PUSHES: dict[str, Callable[[Participant, Push], object]] = {
    "messaging.enabled": Participant._roster_came,
    "participant.enabled": lambda self, push: self._enter_peer(push.message),
    "participant.disabled": lambda self, push: self.peers.pop(push.message["id"], None),
    "participant.attributes": Participant._attributes_came,
}


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

    def _next(self, steps: Iterable[tuple[float, Callable[[Scripted], object]]]) -> None:
        remaining = iter(steps)
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
        to: The name of the recipient, who has to be there at the start.
        chunks: The data of each chunk.
        interval: Between two chunks, in seconds or as a law.
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

    def on_start(self) -> None:
        """Open the stream."""
        peer = self.peer(self.to)
        if peer is None:
            self.outcome = f"nobody is called {self.to!r}"
            return
        self.outcome = "offered"
        body = {"stream_id": f"{self.id}/1", "header": self.header}
        self.send(peer, "stream.open", body)

    def on_stream_answer(self, sender: Peer, stream_id: str, error: str | None) -> None:
        """Begin to write, or give up."""
        if error is not None:
            self.outcome = f"rejected: {error}"
            return
        self.outcome = "open"
        self._write(sender, stream_id, 0)

    def _write(self, peer: Peer, stream_id: str, index: int) -> None:
        if index == len(self.chunks):
            self.send(peer, "stream.close", {"stream_id": stream_id})
            self.outcome = "closed"
            return
        self.send(peer, "stream.chunk", {"stream_id": stream_id, "header": {"index": index}}, self.chunks[index])
        self.after(self.interval, lambda: self._write(peer, stream_id, index + 1))
