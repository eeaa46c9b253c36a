"""All confirmed messages of one client: proofs, senders and receivers together. Sans-I/O, time is an argument.

Feed it what the room reports and what direct messages bring; after each call `drain` it and send what it returns, in
that order and before anything drained later; ask it for events and for the first `Arrival`. It outlives connections.

Not the business of this module: waiting, and what becomes of an arrival.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshsync.confirming.bodies import (
    Body,
    Confirmed,
    Hello,
    Identity,
    Mark,
    Numbered,
    Proof,
    attribute_of,
    decode_body,
    encode_body,
    read_identity,
)
from meshsync.confirming.proofs import Proofs, Proven
from meshsync.confirming.receiver import ConfirmedReceiver
from meshsync.confirming.sender import ConfirmedSend, ConfirmedSender
from meshsync.protocol.envelopes import JsonObject, encode_object

__all__ = ["Arrival", "Direct", "Exchange", "Missed", "size_of_message"]

INSTANCE_SIZE = 16
"""Bytes of an instance."""


@dataclass(frozen=True, slots=True)
class Direct:
    """A direct message to be sent."""

    to: str
    """A participant id."""
    type: str
    message: JsonObject
    attachment: bytes = field(default=b"", repr=False)
    body: Body | None = field(default=None, repr=False)
    """What ``message`` says."""
    send: ConfirmedSend | None = None
    """The confirmed message that it carries."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A confirmed message that came and waits to be placed."""

    identity: Identity
    participant_id: str
    type: str
    message: JsonObject
    attachment: bytes = field(repr=False)
    size: int = 0
    """Bytes, as `size_of_message` counts them."""
    mark: Mark | None = None
    """Whether it asks or answers."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A sender gave messages up that it had sent, and that had not come."""

    participant_id: str
    count: int


def size_of_message(message: Mapping[str, Any], attachment: bytes) -> int:
    """Return the bytes that a message counts: its JSON and its attachment."""
    return len(encode_object(message, "message", forwarded=True)) + len(attachment)


class Exchange:
    """One client's confirmed messages, to and from all peers. Not safe to use from two tasks at once.

    Args:
        entropy: Returns so many unpredictable bytes.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.instance: str = entropy(INSTANCE_SIZE).hex()
        """This client among all: a program that starts again is another one."""
        self._proofs = Proofs(self.instance, entropy, self._progress, self._is_busy)
        self._senders: dict[Identity, ConfirmedSender] = {}
        self._receivers: dict[Identity, ConfirmedReceiver] = {}
        self._arrivals: deque[Arrival] = deque()
        self._events: list[Proven | Missed] = []
        self._confirmed: list[ConfirmedSend] = []
        self._unproven: set[str] = set()
        """Participants that sent confirmed messages before their proof came."""
        self._due: dict[Identity, None] = {}
        """Those for whom there may be something to send, in order."""

    @property
    def attribute(self) -> JsonObject:
        """The value of the attribute `bodies.ATTRIBUTE`, to be set before each time that messaging is enabled."""
        return attribute_of(self.instance)

    # --- the connection, and who is there -----------------------------------------------------------------------------

    def connect(self, own_id: str) -> None:
        """Begin a connection under this client's participant id. All that are there are entered after that."""
        self.disconnect()
        self._proofs.connect(own_id)

    def disconnect(self) -> None:
        """End the connection: what is not confirmed is sent again when a peer has proven itself on the next."""
        self._proofs.disconnect()
        self._unproven.clear()
        for sender in self._senders.values():
            sender.suspend()

    def enter(self, now: float, participant_id: str, attributes: Mapping[str, Any]) -> None:
        """Note a participant that takes part, with its attributes of that moment; its claim holds until it leaves."""
        identity = read_identity(attributes)
        if identity is not None:
            self._proofs.enter(now, participant_id, identity)

    def leave(self, participant_id: str) -> None:
        """Note that a participant is gone."""
        self._suspend(participant_id)
        self._proofs.leave(participant_id)
        self._unproven.discard(participant_id)

    def lose(self, now: float, participant_id: str) -> None:
        """Note that the room refused to send to a participant because it is gone, which the room will tell, too.

        Should it not be gone, it proves itself again a few seconds later, and what did not come is sent again.
        """
        self._suspend(participant_id)
        self._proofs.lose(now, participant_id)

    def identity_of(self, participant_id: str) -> Identity | None:
        """Return the claim of a participant that is there; None if it cannot confirm."""
        return self._proofs.identity_of(participant_id)

    def find(self, identity: Identity) -> str | None:
        """Return the participant id that has proven to be an identity, None while there is none."""
        return self._proofs.find(identity)

    def want(self, now: float, identity: Identity) -> None:
        """Have an identity prove itself, also without a message to it; `Proven` tells when it has."""
        self._proofs.want(now, identity)

    # --- what the program sends ---------------------------------------------------------------------------------------

    def has_room(self, identity: Identity, size: int) -> bool:
        """Return whether a message of ``size`` bytes may be submitted now."""
        sender = self._senders.get(identity)
        return sender is None or sender.has_room(size)

    def submit(
        self,
        now: float,
        identity: Identity,
        type: str,
        message: JsonObject,
        attachment: bytes,
        size: int,
        mark: Mark | None = None,
    ) -> ConfirmedSend:
        """Send a message as soon as its recipient is there and proven; return its handle, whose state tells the rest.

        Args:
            size: From `size_of_message`.
            mark: Whether it asks or answers.
        Raises:
            RuntimeError: If there is no room for it.
        """
        sender = self._senders.get(identity)
        if sender is None:
            sender = self._senders[identity] = ConfirmedSender()
            if self._proofs.find(identity) is not None:
                sender.resume(0, 0)
        send = ConfirmedSend(identity, type, message, attachment, size, mark)
        sender.submit(send)
        self._due[identity] = None
        self._proofs.want(now, identity)
        return send

    def give_up(self, send: ConfirmedSend) -> None:
        """Wait no more for a message: its state becomes WITHDRAWN or UNKNOWN, unless it is settled."""
        sender = self._senders[send.identity]
        sender.give_up(send)
        self._settle(send.identity, sender)
        self._due[send.identity] = None  # There may be room for the next now.

    def refuse(self, direct: Direct) -> None:
        """Note that something drained did not go out, while the connection stands: it goes again, in order.

        Challenges and answers are left to their repetition.
        """
        if direct.send is not None:
            identity: Identity | None = direct.send.identity
            if direct.send.number and identity in self._senders:
                self._senders[identity].rewind(direct.send.number)
        else:
            identity = self._proofs.identity_of(direct.to)
            if isinstance(direct.body, Confirmed) and identity in self._receivers:
                self._receivers[identity].repeat(direct.body)
        if identity is not None:
            self._due[identity] = None

    # --- what comes, and what is to be sent ---------------------------------------------------------------------------

    def take(self, now: float, participant_id: str, type: str, message: JsonObject, attachment: bytes) -> None:
        """Take a message whose type begins with `bodies.OWN_PREFIX`.

        Raises:
            ProtocolError: If it is nonsense, or more than its sender may send; it is dropped.
        """
        match decode_body(type, message, attachment):
            case Hello() | Proof() as body:
                self._proofs.take(now, participant_id, body)
                self._take_proofs()
            case Numbered() as body:
                self._take_message(now, participant_id, body)
            case Confirmed() as body:
                identity = self._proofs.identity_of(participant_id)
                if identity is not None and self._proofs.is_proven(participant_id):
                    sender = self._senders.get(identity)
                    if sender is not None:
                        self._confirmed += sender.take(body)
                        self._settle(identity, sender)
                        self._due[identity] = None

    @property
    def first(self) -> Arrival | None:
        """The first of the messages that wait to be placed, in order of arrival."""
        return self._arrivals[0] if self._arrivals else None

    def place(self) -> None:
        """Note that the `first` is where nothing can drop it any more, or was handled: it is confirmed."""
        arrival = self._arrivals.popleft()
        self._receivers[arrival.identity].place()
        self._due[arrival.identity] = None

    def drain(self) -> list[Direct]:
        """Return what is to be sent now, in order; all of it counts as sent."""
        directs = [_direct(to, body) for to, body in self._proofs.drain()]
        due, self._due = self._due, {}
        for identity in due:
            to = self._proofs.find(identity)
            if to is None:
                continue
            receiver, sender = self._receivers.get(identity), self._senders.get(identity)
            report = receiver.drain() if receiver is not None else None
            if report is not None:
                directs.append(_direct(to, report))
            if sender is not None:
                directs.extend(_direct(to, body, send) for send, body in sender.drain())
        return directs

    def take_events(self) -> list[Proven | Missed]:
        """Return what happened since the last time, in order."""
        events, self._events = self._events, []
        return events

    def take_confirmed(self) -> list[ConfirmedSend]:
        """Return the messages that were confirmed since the last time, in order."""
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    @property
    def is_due(self) -> bool:
        """Whether there may be something to drain."""
        return bool(self._due) or self._proofs.is_due

    @property
    def deadline(self) -> float | None:
        """When to call `look` next, in seconds on the caller's clock; None for never."""
        return self._proofs.deadline

    def look(self, now: float) -> None:
        """Do what is due at ``now``."""
        self._proofs.look(now)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take_message(self, now: float, participant_id: str, body: Numbered) -> None:
        identity = self._proofs.identity_of(participant_id)
        if identity is None:
            return
        if not self._proofs.is_proven(participant_id):
            # Its proof may have been refused by the room, which its sender cannot know.
            self._proofs.doubt(now, participant_id)
            self._unproven.add(participant_id)
            return
        receiver = self._receivers[identity]
        self._due[identity] = None
        size = size_of_message(body.message, body.attachment)
        is_new, missed = receiver.take(body, size)
        if missed:
            self._events.append(Missed(participant_id, missed))
        if is_new:
            arrival = Arrival(identity, participant_id, body.type, body.message, body.attachment, size, body.mark)
            self._arrivals.append(arrival)

    def _take_proofs(self) -> None:
        for proven in self._proofs.take_proven():
            identity = proven.identity
            receiver = self._receivers.setdefault(identity, ConfirmedReceiver())
            receiver.restart()
            if proven.participant_id in self._unproven:
                self._unproven.discard(proven.participant_id)
                receiver.ask()
            if sender := self._senders.get(identity):
                sender.suspend()
                self._confirmed += sender.resume(proven.upto, proven.arrived)
                self._settle(identity, sender)
            self._due[identity] = None
            self._events.append(proven)
        for identity in self._proofs.take_forgotten():
            self._receivers.pop(identity, None)
            self._senders.pop(identity, None)

    def _suspend(self, participant_id: str) -> None:
        identity = self._proofs.identity_of(participant_id)
        if identity is not None and self._proofs.is_proven(participant_id) and (sender := self._senders.get(identity)):
            sender.suspend()

    def _settle(self, identity: Identity, sender: ConfirmedSender) -> None:
        if sender.is_idle:
            self._proofs.unwant(identity)

    def _progress(self, identity: Identity) -> tuple[int, int]:
        receiver = self._receivers.get(identity)
        return (0, 0) if receiver is None else (receiver.upto, receiver.arrived)

    def _is_busy(self, identity: Identity) -> bool:
        sender, receiver = self._senders.get(identity), self._receivers.get(identity)
        return not ((sender is None or sender.is_idle) and (receiver is None or receiver.is_idle))


def _direct(to: str, body: Body, send: ConfirmedSend | None = None) -> Direct:
    type, message = encode_body(body)
    return Direct(to, type, message, body.attachment if isinstance(body, Numbered) else b"", body, send)
