"""One question at its asker, from before it is sent until it has an answer, or none can come any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshsync.confirming.bodies import Answer, Identity, Question
from meshsync.connection.deliveries import Delivery
from meshsync.errors import MeshsyncError
from meshsync.messages import RoomMessage
from meshsync.participants import RemoteParticipant
from meshsync.runtime.interfaces import Condition
from meshsync.signals import check_result

__all__ = ["Answered", "Match", "Pending"]

Match = Callable[[RoomMessage], bool]
"""Tells of a message whether it is the answer."""

CANDIDATES = 1000
"""The most messages that wait to be looked at; of more, the oldest are not."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A marked answer, on its way to its question."""

    answer: Answer
    identity: Identity
    """Of whom it is."""


class Pending:
    """A question. The router offers it messages, `Asking` the marked answer; any task may wait for the result.

    Args:
        to: The participant that is asked, or its id.
        identity: Who that is beyond its id; None for one that answers by ordinary messages.
        type: The question's type.
        question: What marks it as one; None for an ordinary message.
        reply_type: The type of a message that answers; None for any.
        match: Tells whether a message answers; None for all of that type.
        follows: Tells whether the participant has an id now; None for one that has but one.
        condition: Notified at news; several questions may have the same.
    """

    def __init__(
        self,
        to: RemoteParticipant | str,
        identity: Identity | None,
        type: str,
        question: Question | None,
        reply_type: str | None,
        match: Match | None,
        follows: Callable[[str], bool] | None,
        condition: Condition,
    ) -> None:
        self.to = to
        self.identity = identity
        self.type = type
        self.question = question
        self.begun: float = 0.0
        """When its wait began, on the runtime's clock."""
        self.left: float | None = None
        """When the participant that was asked left last; None if it has not."""
        self.delivery: object = None
        self.is_delivered: bool = False
        """Whether the room has it, and where it is marked, the answerer's client."""
        self._takes_messages = not (reply_type is None and match is None)
        self._reply_type = reply_type
        self._match = match
        self._follows = follows
        self._condition = condition
        self._candidates: deque[RoomMessage] = deque(maxlen=CANDIDATES)
        self._answer: RoomMessage | None = None
        self._error: MeshsyncError | None = None

    @property
    def participant_id(self) -> str:
        """The id by which it was asked."""
        return self.to if isinstance(self.to, str) else self.to.id

    @property
    def name(self) -> str:
        """What errors call the answerer."""
        return self.participant_id if isinstance(self.to, str) else self.to.name or self.to.id

    # --- the asker ----------------------------------------------------------------------------------------------------

    def watch(self, delivery: object) -> None:
        """Note how it is sent: what becomes of that is news."""
        self.delivery = delivery
        if isinstance(delivery, Delivery):  # Of a subclass it may be anything.
            delivery._on_done = self._delivered
            if delivery.is_done and not self.is_delivered:  # Before it was watched.
                self._delivered(delivery.error)

    @property
    def has_news(self) -> bool:
        """Whether `poll` would tell more than before. To be asked with the condition held."""
        return bool(self._candidates) or self._answer is not None or self._error is not None

    def poll(self) -> RoomMessage | MeshsyncError | None:
        """Return the answer, or why there is none; None while neither is known. Calls ``match``."""
        while True:
            with self._condition:
                if self._answer is not None:
                    return self._answer
                if not self._candidates:
                    return self._error
                candidate = self._candidates.popleft()
            message = candidate._copied()
            if self._match is None:
                return message
            result = self._match(message)
            check_result(result)  # Every coroutine is true.
            if result:
                return message

    # --- news, from any task ------------------------------------------------------------------------------------------

    def answer(self, message: RoomMessage) -> None:
        """Note the marked answer."""
        with self._condition:
            self._answer = message
            self._condition.notify_all()

    def fail(self, error: MeshsyncError) -> None:
        """Note that no answer can come; the first reason holds, and an answer that has come."""
        with self._condition:
            self._error = self._error or error
            self._condition.notify_all()

    def _delivered(self, error: MeshsyncError | None) -> None:
        self.is_delivered = error is None
        if error is not None:
            self.fail(error)

    # --- for the router -----------------------------------------------------------------------------------------------

    def _offer(self, message: RoomMessage[Any], size: int = 0, *, is_kept: bool = False) -> bool:
        if not self._takes_messages or self._reply_type not in (None, message.type):
            return False
        sender = message.from_participant_id
        if sender != self.participant_id and not (self._follows is not None and self._follows(sender)):
            return False
        with self._condition:
            self._candidates.append(message)
            self._condition.notify_all()
        return True

    def _has_room(self, message: RoomMessage[Any], size: int) -> bool:
        return True

    def _misses(self, sender: str) -> bool:
        return False

    def _look_again(self) -> None:
        """Nothing: where no answer can come any more, it fails."""

    def _end(self, cause: MeshsyncError) -> None:
        self.fail(cause)
