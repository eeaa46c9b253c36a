"""One scripted participant of a conversation: a client that does the steps of its name, each in its turn.

It is a client as programs have it, so that the same player takes part in a simulation and in an emulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import meshsync
from meshsync.asking.requests import OpenRequest
from meshsync.confirming.bodies import AnswerKind
from meshsync.errors import MeshsyncError, RequestFailed, RequestRefused, StreamRejected
from meshsync.messages import RoomMessageEvent
from meshsync.protocol.bridging import NO_HANDLER
from meshsync.room import RoomClient
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from simulator.errors import ReplayFailed
from simulator.replaying.director import Director
from simulator.replaying.steps import Id, Sent, Step, mapped, refused_by_client

__all__ = ["Connect", "Player"]


_GLANCE = 0.002
"""Seconds between two looks whether the room has an offer: there is no call that waits for just that."""


_FAREWELL = 1.0
"""Seconds for leaving at the end."""


class Connect(Protocol):
    """Connects a participant to the room in which the conversation is performed."""

    def __call__(self, name: str, role: str) -> RoomClient: ...


class Player:
    """A scripted participant.

    Args:
        name: As in the steps.
    """

    def __init__(self, name: str, director: Director, connect: Connect) -> None:
        self.name = name
        self._director = director
        self._connect = connect
        self._refused = refused_by_client(director.steps)
        self._tells_questions = any(step.question for step in director.steps)
        """Else the record is an older one, which shows questions and answers as the messages that they are."""
        self._room: RoomClient | None = None
        self._takes_streams = False
        self._offers: dict[str, StreamReader] = {}
        """By stream; those that were offered to this participant."""
        self._opened: dict[str, StreamWriter] = {}
        self._readers: list[StreamReader] = []
        """All that are read: a client forgets a stream of which its program holds no end."""
        self._sent: dict[str, list[Mapping[str, Any]]] = {}
        """By type, the messages of the subject so far."""
        self._asked: list[tuple[str, RoomMessageEvent]] = []
        """Questions that are not answered yet, with who asks, in order of arrival."""
        self._answers: set[str] = set()
        """The types of questions so far."""
        self._questions: dict[str, RoomMessageEvent] = {}
        """By name, those that are to be answered by a step of their own."""

    def run(self) -> None:
        """Do all steps, each in its turn. What goes wrong ends the conversation."""
        for place, step in enumerate(self._director.steps):
            if step.who == self.name and not self._try(place, step):
                return

    def _try(self, place: int, step: Step) -> bool:
        """Do a step in its turn; return whether the conversation goes on."""
        try:
            self._director.await_turn(place)
            self._do(place, step)
            self._director.done(place)
        except ReplayFailed as error:
            self._director.fail(error)
            return False
        except Exception as error:
            failed = ReplayFailed(f"{self.name} at {step.at:g} s: {step.verb} cannot be done again: {error}")
            failed.__cause__ = error
            self._director.fail(failed)
            return False
        return True

    def close(self) -> None:
        """Leave, if it is still there."""
        room, self._room = self._room, None
        if room is not None:
            with suppress(MeshsyncError):  # The conversation may have failed since its world has.
                room.close(_FAREWELL)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _do(self, place: int, step: Step) -> None:
        if step.verb == "connect":
            self._come(place, step)
            return
        room = self._room
        if room is None:
            raise ReplayFailed(f"{self.name} is not connected")
        match step.verb:
            case "enable":
                self._director.observes(self.name, place)
                self._attempt(step, room.messaging.enable)
            case "disable":
                self._attempt(step, room.messaging.disable)
            case "leave":
                self._room = None
                room.close()
            case "set":
                for key, value in self._filled(step.body).items():
                    room.local_participant.set_attribute(key, value)
            case "send" | "broadcast":
                self._attempt(step, lambda: self._send(room, step))
            case "open":
                self._offer(room, step)
            case "ask":
                self._begin(room, step, partial(self._ask, room, step))
            case "reply" | "refuse" | "fail":
                self._answer(step)
            case "reject" if step.stream in self._refused:
                self._director.await_arrival(place)
                self._attend_if_next(place)
            case _:
                self._attempt(step, lambda: self._stream(step))

    def _attempt(self, step: Step, action: Callable[[], object]) -> None:
        """Do what the room or a peer may refuse; the record of it tells whether it did before."""
        try:
            action()
        except ReplayFailed:
            raise
        except MeshsyncError:
            if not step.outcome and step.verb not in ("send", "broadcast", "chunk", "close", "cancel", "accept"):
                raise

    def _come(self, place: int, step: Step) -> None:
        room = self._room = self._connect(self._director.plain(self.name), step.role)
        self._director.met(room.local_participant.id, self.name)
        messaging = room.messaging
        self._takes_streams = False
        self._attend_if_next(place)
        messaging.on("message", self._got)
        for event in ("participant_added", "participant_removed", "participant_attributes_updated"):
            messaging.on(event, self._saw)

    def _send(self, room: RoomClient, step: Step) -> None:
        director = self._director
        # Of an attachment that the record lacks, it has the hash.
        attachment = step.attachment if isinstance(step.attachment, bytes) else b""
        body = self._filled(step.body)
        if step.verb == "broadcast":
            room.messaging.broadcast_message(step.type, body, attachment)
        elif (question := self._question_of(step)) is not None:
            question.reply(body, attachment, type=step.type).wait()
        else:
            room.messaging.send_message(director.id_of(str(step.to)), step.type, body, attachment)

    def _question_of(self, step: Step) -> RoomMessageEvent | None:
        """Return the question that a message answers: records show an answer as the message that it is.

        It is the first of those that its recipient has asked which have its type, else the first.
        """
        asked = [entry for entry in self._asked if entry[0] == step.to]
        entry = next((entry for entry in asked if entry[1].message.type == step.type), asked[0] if asked else None)
        if entry is None:
            return None
        self._asked.remove(entry)
        return entry[1]

    def _filled(self, body: Any) -> Any:
        """Return a body with ids in place of each `Id`, and what was sent in place of each `Sent`."""
        return mapped(body, self._value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Id):
            return self._director.id_of(value.name)
        if not isinstance(value, Sent):
            return value
        try:
            found: Any = self._sent[value.type][value.number]
            for part in value.path:
                found = found[part]
        except (LookupError, TypeError):
            raise ReplayFailed(f"{value!r}: {self._director.subject} has not sent that to {self.name}") from None
        return found

    # --- questions ----------------------------------------------------------------------------------------------------

    def _ask(self, room: RoomClient, step: Step) -> None:
        """Ask, and tell of the answer when it comes."""
        director, peer, verb = self._director, str(step.to), "reply"
        attachment = step.attachment if isinstance(step.attachment, bytes) else b""
        try:
            answer = room.messaging.ask(
                director.id_of(peer),
                step.type,
                self._filled(step.body),
                attachment,
                timeout=None,
                reply_type=step.reply_type or None,
            )
            if peer == director.subject:
                self._sent.setdefault(answer.type, []).append(answer.message)
        except RequestRefused:
            verb = "refuse"
        except RequestFailed:
            verb = "fail"
        except MeshsyncError:
            return  # Nothing comes of it any more, which is noticed if there is to be an answer.
        director.arrived(self.name, peer, verb, step.question)

    def _answer(self, step: Step) -> None:
        event = self._questions.pop(step.question, None)
        if event is None:
            raise ReplayFailed(f"{step.to} has not asked {self.name} {step.question}")
        if step.verb == "reply":
            attachment = step.attachment if isinstance(step.attachment, bytes) else b""
            event.reply(self._filled(step.body), attachment, type=step.type).wait()
        elif isinstance(event._question, OpenRequest):
            kind = AnswerKind.REFUSED if step.verb == "refuse" else AnswerKind.FAILED
            event._question.decline(kind, step.reason)

    def _keep_question(self, event: RoomMessageEvent, step: Step) -> None:
        self._questions[step.question] = event

    # --- streams ------------------------------------------------------------------------------------------------------

    def _offer(self, room: RoomClient, step: Step) -> None:
        """Offer a stream, and return when the room has the offer: the answer comes later."""
        self._begin(room, step, partial(self._open, room, step))

    def _begin(self, room: RoomClient, step: Step, action: Callable[[], None]) -> None:
        """Do what waits for a peer in a task, and return when the room has what was sent for it."""
        before = room.stats().packets_sent
        task = meshsync.spawn(action, name=f"{step.stream or step.question} of {self.name}")
        while not task.join(_GLANCE):
            stats = room.stats()
            if stats.packets_sent > before and not stats.pending:
                return

    def _open(self, room: RoomClient, step: Step) -> None:
        director, peer = self._director, str(step.to)
        try:
            writer = room.messaging.create_stream(director.id_of(peer), self._filled(step.body), timeout=director.stall)
        except StreamRejected:
            director.arrived(self.name, peer, "reject", step.stream)
            return
        except MeshsyncError:
            return  # The record tells, or nothing more comes of this stream, which is noticed.
        self._opened[step.stream] = writer
        director.arrived(self.name, peer, "accept", step.stream)
        self._read(writer.reader, peer, step.stream)

    def _stream(self, step: Step) -> None:
        name = step.stream
        writer = self._opened.get(name)
        offered = self._offers.get(name)
        match step.verb:
            case "accept" if offered is not None:
                offered.accept()
                meshsync.spawn(self._read, offered, str(step.to), name, name=f"{name} to {self.name}")
            case "reject" if offered is not None:
                offered.reject(step.reason)
            case "cancel" if offered is not None:
                offered.close(step.reason)
            case "cancel" if writer is not None:
                writer.abort(step.reason)
            case "chunk" | "close":
                end = offered.writer if offered is not None else writer
                if end is not None and step.verb == "close":
                    end.close()
                elif end is not None:
                    data = step.attachment if isinstance(step.attachment, bytes) else b""
                    end.write(MessageStreamChunk(self._filled(step.body), data))

    def _attend_if_next(self, place: int) -> None:
        """Take streams from now on, unless the next one is to be rejected by the client itself."""
        steps = self._director.steps[place:]
        first = next((step for step in steps if step.verb == "open" and step.to == self.name), None)
        is_taken = first is not None and first.stream not in self._refused
        if is_taken and not self._takes_streams and self._room is not None:
            self._takes_streams = True
            offers = self._room.messaging.streams(maxsize=1000)
            meshsync.spawn(self._attend, offers, name=f"offers to {self.name}")

    def _attend(self, offers: meshsync.StreamSubscription) -> None:
        with suppress(MeshsyncError):
            for offer in offers:
                self._judge(offer)

    def _judge(self, offer: StreamReader) -> None:
        sender = self._director.known(offer.sender.id, offer.sender.name)
        self._director.arrived(self.name, sender, "open", "", partial(self._keep, offer))
        if offer not in self._offers.values():
            offer.reject(NO_HANDLER)  # No step of the conversation: its opener need not wait.

    def _keep(self, offer: StreamReader, step: Step) -> None:
        self._offers[step.stream] = offer

    def _read(self, reader: StreamReader, peer: str, stream: str) -> None:
        self._readers.append(reader)
        with suppress(MeshsyncError):
            for _ in reader:
                self._director.arrived(self.name, peer, "chunk", stream)
        self._director.arrived(self.name, peer, "end", stream)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _got(self, event: RoomMessageEvent) -> None:
        message = event.message
        display_name = None if event.participant is None else event.participant.name
        sender = self._director.known(message.from_participant_id, display_name)
        if sender == self._director.subject:
            self._sent.setdefault(message.type, []).append(message.message)
        if event._question is not None and self._room is not None:
            if not self._tells_questions:
                self._asked.append((sender, event))
            if message.type not in self._answers:  # Else it would be refused, as one that nothing here answers.
                self._answers.add(message.type)
                self._room.messaging.on_message(message.type, _keep)
        if event._question is not None and self._tells_questions:
            self._director.arrived(self.name, sender, "ask", message.type, partial(self._keep_question, event))
        else:
            self._director.arrived(self.name, sender, "send", message.type)

    def _saw(self, event: RoomMessageEvent) -> None:
        if event.participant is None:
            return
        name = self._director.known(event.participant.id, event.participant.name)
        self._director.seen(self.name, name, _VERBS[event.name])


def _keep(event: RoomMessageEvent) -> None:
    """Leave a question open."""


_VERBS = {
    "participant_added": ("enable",),
    "participant_removed": ("disable", "leave"),
    "participant_attributes_updated": ("set",),
}
