"""The confirmed messages that a participant without a thread gets, and those that it sends: answers to questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from meshsync.confirming.bodies import ATTRIBUTE, OWN_PREFIX, Answer, AnswerKind, Identity, Question
from meshsync.confirming.exchange import Arrival, Exchange, size_of_message
from meshsync.confirming.proofs import Proven
from meshsync.errors import ProtocolError, UsageError
from meshsync.protocol.envelopes import JsonObject, encode_object
from meshsync.protocol.operations import Push, Request, Send
from meshsync.reasons import safe_text
from simulator.participants.peers import copied

__all__ = ["AskedQuestion", "ConfirmedMessages", "visible"]


class Attending(Protocol):
    """A participant in its room, as its confirmed messages need it."""

    @property
    def is_here(self) -> bool: ...
    def now(self) -> float: ...
    def issue(self, request: Request, size: int) -> None: ...
    def attributes_of(self, id: str) -> Mapping[str, Any]: ...
    def confirmed(self, arrival: Arrival) -> None: ...
    def replaced(self, id: str) -> None: ...
    def look_at(self, when: float, look: Callable[[], None]) -> None: ...


class ConfirmedMessages:
    """The exchange of one participant.

    Args:
        entropy: Returns so many bytes.
    """

    def __init__(self, attending: Attending, entropy: Callable[[int], bytes]) -> None:
        self._attending = attending
        self._exchange = Exchange(entropy)
        self._answers: deque[tuple[Identity, str, JsonObject, bytes, Answer]] = deque()
        """Those for which there is no room yet."""
        self._has_answered = False

    def attribute(self, *, resumes: bool) -> JsonObject:
        """Return the value of the participant's own attribute.

        Args:
            resumes: Whether its streams outlive losses.
        """
        own = self._exchange.attribute
        return own if resumes else {name: value for name, value in own.items() if name != "resume"}

    def connect(self, own_id: str) -> None:
        """Begin a stay under that participant id."""
        self._exchange.connect(own_id)

    def disconnect(self) -> None:
        """End a stay."""
        self._exchange.disconnect()

    def leave(self, id: str) -> None:
        """Note that a peer has left."""
        self._exchange.leave(id)

    def take(self, push: Push) -> bool:
        """Take a message, and return whether it was one of this package's own."""
        if not push.type.startswith(OWN_PREFIX):
            return False
        exchange, attending = self._exchange, self._attending
        # Only those that send any are entered: a thousand participants need not know a thousand each.
        exchange.enter(attending.now(), push.sender, attending.attributes_of(push.sender))
        try:
            exchange.take(attending.now(), push.sender, push.type, push.message, bytes(push.attachment))
        except ProtocolError:
            return True  # As a client drops it.
        for event in exchange.take_events():
            if isinstance(event, Proven) and event.replaced is not None:
                attending.replaced(event.replaced)
        while (arrival := exchange.first) is not None:
            exchange.place()
            self._send()  # Before the participant gets it, which may leave then.
            attending.confirmed(arrival)
        exchange.take_confirmed()
        self._send()
        return True

    def meet(self, ids: Iterable[str]) -> None:
        """Note peers that are there: those whose questions it has answered may be back under another id."""
        if self._has_answered:
            for id in ids:
                self._exchange.enter(self._attending.now(), id, self._attending.attributes_of(id))
            self._send()

    def answer(self, to: Identity, type: str, body: JsonObject, attachment: bytes, answer: Answer) -> None:
        """Send an answer, as soon as there is room for it, and its asker is there."""
        self._has_answered = True
        self._answers.append((to, type, body, attachment, answer))
        self._send()

    def _submit(self) -> None:
        now = self._attending.now()
        while self._answers:
            to, type, body, attachment, answer = self._answers[0]
            size = size_of_message(body, attachment)
            if not self._exchange.has_room(to, size):
                return
            self._answers.popleft()
            self._exchange.submit(now, to, type, body, attachment, size, answer)

    def _send(self) -> None:
        self._submit()
        for direct in self._exchange.drain() if self._attending.is_here else ():
            size = len(encode_object(direct.message, direct.type, forwarded=True)) + len(direct.attachment)
            self._attending.issue(Send(direct.to, direct.type, direct.message, direct.attachment), size)
        if self._exchange.deadline is not None:
            self._attending.look_at(self._exchange.deadline, self._look)

    def _look(self) -> None:
        self._exchange.look(self._attending.now())
        self._send()


class AskedQuestion:
    """A question that a participant has to answer, once."""

    def __init__(
        self,
        messages: ConfirmedMessages,
        arrival: Arrival,
        question: Question,
        is_here: Callable[[], bool],
    ) -> None:
        self.is_open: bool = True
        self.takes_messages: bool = question.takes_messages
        """Whether an ordinary message may answer it."""
        self._messages = messages
        self._arrival = arrival
        self._question = question
        self._is_here = is_here

    def reply(self, message: Mapping[str, Any], attachment: bytes, type: str | None, /) -> None:
        """Answer it; see `peers.Question.reply`."""
        body, _ = copied(message, "message")
        self._close()
        own_type = type or self._question.reply_type or self._arrival.type
        self._messages.answer(self._arrival.identity, own_type, body, attachment, Answer(self._question.id))

    def refuse(self, reason: str, /) -> None:
        """Decline it; see `peers.Question.refuse`."""
        self._close()
        answer = Answer(self._question.id, AnswerKind.REFUSED, safe_text(reason))
        self._messages.answer(self._arrival.identity, self._arrival.type, {}, b"", answer)

    def _close(self) -> None:
        if not self.is_open:
            raise UsageError(f"a question of type {self._arrival.type!r} was answered already")
        if not self._is_here():
            raise UsageError(f"a question of type {self._arrival.type!r} is not answered: the participant has left")
        self.is_open = False


def visible(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return attributes as participants see them: without this package's own."""
    if ATTRIBUTE not in attributes:
        return attributes
    return {name: value for name, value in attributes.items() if name != ATTRIBUTE}
