"""Questions at their answerer: open until they are answered, once; and the handlers of the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from meshsync.confirming.bodies import Answer, AnswerKind, Question
from meshsync.connection.deliveries import Delivery
from meshsync.dispatch.receivers import Registration
from meshsync.errors import MeshsyncError, UsageError
from meshsync.forms import as_message
from meshsync.messages import Buffer, RoomMessageEvent
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Timeout, check_timeout
from meshsync.runtime.interfaces import Condition
from meshsync.typed import Codec, Model

__all__ = ["Handler", "OpenRequest", "Reply", "RequestHandler"]

Reply = Mapping[str, Any] | Model | tuple[Mapping[str, Any] | Model, Buffer | None] | None
"""What a handler returns: a body, a body and an attachment, or None for an empty body."""

RequestHandler = Callable[[RoomMessageEvent], Reply]

_LEFT = "this client has left"
PATIENCE = 3600.0
"""Seconds that an answer waits for its asker at the most."""


@dataclass(frozen=True, slots=True)
class Handler:
    """What a program has registered for the questions of one type."""

    registration: Registration
    reply_type: str | None
    """The type with which ordinary messages are answered; None if they are not."""
    reply_codec: Codec[Any] | None
    """Of the model that its answers are; None for any."""


class Sending(Protocol):
    """What sends answers."""

    def send_answer(
        self, request: OpenRequest, mark: Answer | None, type: str, body: Any, attachment: Any, limit: float | None
    ) -> Delivery: ...
    def settled(self, request: OpenRequest) -> None: ...


class OpenRequest:
    """One question, as a receiver's event and its handler know it.

    Args:
        question: What marks it; None for an ordinary message that is answered by one.
        sender: The asker, or its id where it is unknown.
        type: The question's.
        reply_type: The answer's by default; None for the question's own, or the model's.
    """

    def __init__(
        self,
        sending: Sending,
        condition: Condition,
        question: Question | None,
        sender: RemoteParticipant | LocalParticipant | str,
        type: str,
        reply_type: str | None = None,
    ) -> None:
        self.question = question
        self.sender = sender
        self.type = type
        self.ended: str = ""
        """Why it cannot be answered; empty while it can."""
        self._closer: object = None
        """The call that closed it last."""
        self._sending = sending
        self._condition = condition
        self._reply_type = reply_type or (question.reply_type if question is not None else "") or None

    @property
    def name(self) -> str:
        """What errors call the asker."""
        return self.sender if isinstance(self.sender, str) else self.sender.name or self.sender.id

    @property
    def has_left(self) -> bool:
        """Whether its asker was told that this client leaves."""
        return self.ended == _LEFT

    @property
    def takes_messages(self) -> bool:
        """Whether an ordinary message may answer it."""
        return self.question is not None and self.question.takes_messages

    def reply(self, message: object, attachment: Buffer | None, type: str | None, timeout: Timeout) -> Delivery:
        """Answer it; see `RoomMessageEvent.reply`."""
        limit = self._patience if isinstance(timeout, str) else check_timeout(timeout)
        own_type, body = as_message(type, message, default=self._reply_type, fallback=self.type)
        mark = None if self.question is None else Answer(self.question.id)
        call = object()
        try:
            self._close(call, "it was answered already")
            return self._sending.send_answer(self, mark, own_type, body, attachment, limit)
        except BaseException:
            self._reopen(call)  # It was not sent.
            raise
        finally:
            if self.ended:
                self._sending.settled(self)

    def decline(self, kind: AnswerKind, reason: object = "", log_id: str = "") -> bool:
        """Tell the asker that there is no answer; return False if it was answered.

        Raises:
            MeshsyncError: If that cannot be sent.
        """
        call = object()
        try:
            try:
                self._close(call, _LEFT if kind is AnswerKind.LEFT else "it was declined")
            except UsageError:
                return False
            if self.question is not None:
                mark = Answer(self.question.id, kind, safe_text(reason), log_id)
                self._sending.send_answer(self, mark, self.type, {}, None, self._patience)
        except MeshsyncError:
            raise
        except BaseException:  # Ctrl-C: where the client is closed again, the asker is told then.
            self._reopen(call)
            raise
        finally:
            if self.ended:
                self._sending.settled(self)
        return True

    @property
    def _patience(self) -> float:
        seconds = None if self.question is None else self.question.seconds
        return PATIENCE if seconds is None else min(seconds, PATIENCE)

    def _close(self, call: object, why: str) -> None:
        with self._condition:
            if self.ended:
                raise UsageError(f"a question of type {self.type!r} of {self.name!r} is not answered now: {self.ended}")
            self._closer, self.ended = call, why

    def _reopen(self, call: object) -> None:
        if self._closer is call:
            self.ended = ""
