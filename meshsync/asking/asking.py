"""What one client asks: its questions, sent and waited for.

Between clients of this package question and answer are confirmed messages with a mark (PROTOCOL.md, section 13); others
are sent an ordinary message, and a message of theirs that matches is the answer. Answers come on the reader, so that a
receiver may ask.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

from meshsync.asking.pending import Answered, Match, Pending
from meshsync.confirmation import Confirmation
from meshsync.confirming.bodies import AnswerKind, Question
from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Delivery
from meshsync.connection.uplink import Uplink
from meshsync.dispatch.router import Router
from meshsync.errors import (
    DeliveryUnknown,
    MeshsyncError,
    ParticipantNotFound,
    ReceiveTimeout,
    RequestFailed,
    RequestInterrupted,
    RequestRefused,
    SendTimeout,
    UsageError,
)
from meshsync.forms import given
from meshsync.messages import RoomMessage
from meshsync.participants import LocalParticipant, ParticipantDirectory, RemoteParticipant, id_of
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Condition, Runtime

__all__ = ["Asked", "Asking"]

ANEW = "one that was started anew is another participant: find it by wait_for_participant, and ask that"
"""What to do where the answerer may have crashed."""
NO_TIME = "timeout=0 leaves no time for an answer"
"""What was done wrong with it."""


class Asked(Protocol):
    """The client, as its questions need it."""

    runtime: Runtime
    uplink: Uplink
    router: Router
    budget: ByteBudget
    confirmation: Confirmation

    @property
    def participants(self) -> ParticipantDirectory: ...
    @property
    def local_participant(self) -> LocalParticipant: ...


class Asking:
    """The questions that one client asks. It outlives connections."""

    def __init__(self, client: Asked) -> None:
        self._client = client
        self._condition = client.runtime.condition()
        """Guards what follows."""
        self._asked: dict[int, Pending] = {}
        """By the ids of their marks."""
        self._others: dict[Pending, None] = {}
        """Those that ordinary messages alone may answer."""
        self._last_id = 0
        self.answers_dropped: int = 0
        """Answers that came late, or again."""

    def is_ours(self, to: object) -> bool:
        """Return whether a participant is a client of this package, as far as it is known."""
        return self._client.confirmation.claim_of(to) is not None

    def prepare(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        type: str,
        reply_type: str | None,
        match: Match | None,
        limit: float | None,
        condition: Condition | None = None,
    ) -> Pending:
        """Return a question that is to be sent, once it is entered.

        Args:
            limit: How long its asker waits, in seconds; None for ever.
            condition: To be notified at news; by default its own.
        Raises:
            UsageError: If the participant is this client, or one whose answer could not be told.
            ParticipantNotFound: If there is none with that id.
        """
        client = self._client
        if isinstance(to, LocalParticipant):  # Perhaps another client's.
            to = to.id
        if id_of(to) == client.local_participant.id:
            raise UsageError("a client cannot ask itself: call the function that answers")
        identity = client.confirmation.claim_of(to)
        if identity is None and reply_type is None and match is None:
            participant = client.participants.get(id_of(to))
            if participant is None:
                raise ParticipantNotFound(f"{id_of(to)!r} does not take part in the room's messaging")
            raise UsageError(
                f"{participant.name or participant.id!r} is no client of this package, so its answer is an ordinary "
                "message: tell which one by reply_type= or match="
            )
        with self._condition:
            self._last_id += 1
            question = Question(self._last_id, reply_type or "", not (reply_type is None and match is None), limit)
        return Pending(
            to,
            identity,
            type,
            None if identity is None else question,
            reply_type,
            match,
            client.confirmation.follow(to) if question.takes_messages else None,
            condition or client.runtime.condition(),
        )

    def enter(self, pending: Pending) -> None:
        """Keep what answers a question from now on, until ``finish``."""
        pending.begun = self._client.runtime.monotonic()
        with self._condition:
            if pending.question is None:
                self._others[pending] = None
            else:
                self._asked[pending.question.id] = pending
        self._client.router.feed(pending)

    def send(self, face: Any, pending: Pending, type: str, body: Any, attachment: Any, limit: float | None) -> None:
        """Send a question through the face that all messages go through."""
        options = given(limit, confirm=pending.question or False)
        pending.watch(face.send_message_nowait(pending.to, type, body, attachment, **options))

    def send_or_fail(
        self, face: Any, pending: Pending, type: str, body: Any, attachment: Any, limit: float | None
    ) -> None:
        """Send one of several questions: where that fails of its participant, it has no answer.

        Raises:
            UsageError: If it cannot be carried, or not be sent by this client; `ConnectionLost` if that has ended.
        """
        try:
            self.send(face, pending, type, body, attachment, limit)
        except UsageError:
            raise
        except MeshsyncError as error:
            if not error.connection_alive:
                raise
            pending.fail(error)

    def finish(self, pending: Pending) -> None:
        """Forget a question: what comes for it now is late."""
        self._client.router.ignore(pending)
        with self._condition:
            self._others.pop(pending, None)
            if pending.question is not None and self._asked.get(pending.question.id) is pending:
                del self._asked[pending.question.id]
        delivery = pending.delivery
        if isinstance(delivery, Delivery) and not delivery.is_done:
            self._client.uplink.withdraw(delivery)
            self._client.confirmation.give_up(delivery)

    def result(self, pending: Pending, condition: Condition, deadline: Deadline, limit: float | None) -> RoomMessage:
        """Wait for the answer.

        Raises:
            ReceiveTimeout: If it did not come in time; `SendTimeout` if the question was not even sent.
            MeshsyncError: Why it cannot come.
        """
        while True:
            result = pending.poll()
            if isinstance(result, RoomMessage):
                return result
            if result is not None:
                raise self.explained(pending, result, deadline, limit)
            with condition:
                is_late = not condition.wait_for(lambda: pending.has_news, deadline.left())
            if is_late:
                raise self.late(pending, limit)

    def explained(
        self, pending: Pending, error: MeshsyncError, deadline: Deadline, limit: float | None
    ) -> MeshsyncError:
        """Return the error for the asker: the end of the time for confirming is the end of the asker's time."""
        if isinstance(error, (DeliveryUnknown, SendTimeout)) and error.connection_alive and deadline.is_over:
            return self.late(pending, limit)
        return copy(error)  # Its delivery has it, too.

    def late(self, pending: Pending, limit: float | None) -> MeshsyncError:
        """Return the error of a question whose time is over."""
        client, delivery = self._client, pending.delivery
        what, seconds = f"the question {pending.type!r} to {pending.name!r}", f"{limit or 0:.3g} s"
        if isinstance(delivery, Delivery) and not delivery.is_done:
            if client.uplink.withdraw(delivery):
                return SendTimeout(f"{what}: the client was offline for {seconds}; not sent", retryable=True)
            client.confirmation.give_up(delivery)
        if isinstance(delivery, Delivery) and isinstance(delivery.error, SendTimeout) and delivery.error.retryable:
            text = f"{what}: its answerer was not reached within {seconds}; not sent; {ANEW if limit else NO_TIME}"
            return SendTimeout(text, retryable=True)
        is_there = client.confirmation.find(pending.to) or client.participants.get(pending.participant_id)
        state = "it has it" if pending.is_delivered else "it was sent, and may be handled"
        hint = "give a longer timeout= if the answer takes longer"
        if not limit:
            hint = NO_TIME
        elif not is_there:
            after = "" if pending.left is None else f" {pending.left - pending.begun:.3g} s after it was asked"
            state += f", but the answerer left{after} and is not back"
            hint = ANEW
        error = ReceiveTimeout(f"{what} was not answered within {seconds}: {state}; {hint}")
        error.retryable = False  # It would be handled twice.
        return error

    def peer_left(self, participant: RemoteParticipant) -> None:
        """Note that a participant is gone: one without an identity never comes back."""
        with self._condition:
            asked, others = list(self._asked.values()), list(self._others)
        for pending in asked:
            if pending.identity == participant._identity:  # It may come back, and answer.
                pending.left = self._client.runtime.monotonic()
        for pending in [one for one in others if one.participant_id == participant.id]:
            pending.fail(RequestInterrupted(f"{pending.name!r} left before it answered the question {pending.type!r}"))

    def went_offline(self) -> None:
        """Note the loss of the connection: what answers by ordinary messages would answer an id that is gone."""
        with self._condition:
            others = list(self._others)
        for pending in [one for one in others if one.is_delivered]:
            text = f"the connection was lost before {pending.name!r} answered the question {pending.type!r}"
            pending.fail(RequestInterrupted(f"{text}: its answer would go to the participant id of before"))

    def fail_all(self, error: MeshsyncError) -> None:
        """Note that no answers come any more."""
        with self._condition:
            waiting = [*self._asked.values(), *self._others]
        for pending in waiting:
            pending.fail(error)

    # --- marked answers, on the reader or in the hook's task ----------------------------------------------------------

    def take_answer(self, mark: Answered, message: RoomMessage) -> None:
        """Give a marked answer to its question, on the reader; one that comes late, or again, is dropped."""
        answer = mark.answer
        with self._condition:
            pending = self._asked.get(answer.id)
            if pending is None or pending.identity != mark.identity:
                self.answers_dropped += 1
                return
            del self._asked[answer.id]
        name, type = pending.name, pending.type
        if answer.kind is AnswerKind.ANSWERED:
            pending.answer(message)
        elif answer.kind is AnswerKind.REFUSED:
            pending.fail(RequestRefused(answer.reason or f"{name!r} refused the question {type!r}"))
        elif answer.kind is AnswerKind.LEFT:
            pending.fail(RequestInterrupted(f"{name!r} left before it answered the question {type!r}: {answer.reason}"))
        else:
            hint = f": its log has the reason under {safe_text(answer.log_id)}" if answer.log_id else ""
            pending.fail(RequestFailed(f"{name!r} failed at the question {type!r}{hint}", id=answer.log_id))

    def answer_dropped(self, mark: Answered) -> None:
        """Note that the hook dropped a marked answer."""
        with self._condition:
            pending = self._asked.get(mark.answer.id)
        if pending is not None and pending.identity == mark.identity:
            text = f"the answer of {pending.name!r} to {pending.type!r} was dropped by this client's hook"
            pending.fail(RequestInterrupted(text))
