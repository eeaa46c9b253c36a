"""What one client is asked: open questions, and the handlers that answer them.

Handlers run in tasks of their own, so that one may ask, even its own asker, while others run; of more questions than
tasks the later ones wait.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from meshsync.asking.asking import Asked, Asking
from meshsync.asking.pending import Answered
from meshsync.asking.requests import Handler, OpenRequest
from meshsync.confirming.bodies import Answer, AnswerKind, Question
from meshsync.confirming.exchange import Arrival
from meshsync.connection.deliveries import Delivery
from meshsync.connection.inbox import Inbox, InboxClosed
from meshsync.dispatch.receivers import Registration
from meshsync.dispatch.router import OWN_PART
from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    Refuse,
    UsageError,
)
from meshsync.forms import given
from meshsync.messages import MarkedEvent, RoomMessageEvent, marked
from meshsync.participants import RemoteParticipant
from meshsync.reasons import safe_text
from meshsync.runtime.interfaces import TaskExit
from meshsync.signals import EVENTS, check_result, name_of

__all__ = ["Answering"]

TASKS = 64
"""The most handlers that run at once."""
WAITING = 10_000
"""The most questions that wait for a handler's task."""
KEPT = 10_000
"""The most open questions whose askers are told when this client leaves; of more, those of the latest."""
ID_SIZE = 4
"""Bytes of the id of a failure."""
NAMED = 5
"""The most types that a refusal names."""


class Answering:
    """The questions that one client is asked. It outlives connections."""

    def __init__(self, client: Asked, asking: Asking) -> None:
        self._client = client
        self._asking = asking
        self._condition = client.runtime.condition()
        """Guards what follows."""
        self._handlers: dict[str, Handler] = {}
        self._open: dict[OpenRequest, None] = {}
        """Questions that are not answered, in order of arrival."""
        self._waiting: Inbox[RoomMessageEvent] = Inbox(client.runtime, WAITING, client.budget.share(OWN_PART))
        self._tasks = 0
        client.router.questioning = self

    # --- handlers -----------------------------------------------------------------------------------------------------

    def register(self, handler: Handler) -> None:
        """Have a handler answer the questions of its type.

        Raises:
            UsageError: If there is one already.
        """
        type = handler.registration.type or ""
        before = self._handlers.setdefault(type, handler)
        if before is not handler:
            raise UsageError(
                f"questions of type {type!r} have a handler, {name_of(before.registration.receiver)}: remove it first, "
                f"by off_request({type!r}) or its registration's cancel()"
            )

    def off(self, type: str) -> None:
        """Remove the handler of a type.

        Raises:
            ValueError: If it has none.
        """
        if type not in self._handlers:
            there = ", ".join(map(repr, self._handlers)) or "none: on_request registers them"
            raise ValueError(f"no handler is registered for questions of type {type!r:.100}; there are {there}")
        self.remove(lambda registration: registration.type == type, "message")

    def remove(self, matches: Callable[[Registration], bool], event: str) -> None:
        """Remove the handlers whose registrations match."""
        for type, handler in list(self._handlers.items()):
            if matches(handler.registration):
                self._handlers.pop(type, None)
        self._client.router.on_less()

    # --- what comes, on the reader or in the hook's task --------------------------------------------------------------

    def mark(self, arrival: Arrival, sender: RemoteParticipant | None) -> object:
        """Return the mark of the event of a confirmed message; None for one that neither asks nor answers."""
        match arrival.mark:
            case Question() as question:
                asker = sender or arrival.participant_id
                return OpenRequest(self, self._condition, question, asker, arrival.type)
            case Answer() as answer:
                return Answered(answer, arrival.identity)
        return None

    @property
    def is_listening(self) -> bool:
        """Whether a handler is registered."""
        return bool(self._handlers)

    def has_room(self, event: RoomMessageEvent, size: int) -> bool:
        """Return whether a message could be kept for its handler, if it has one."""
        return event.message.type not in self._handlers or self._waiting.has_room(size, is_dropping=True)

    def is_bodiless(self, event: RoomMessageEvent) -> bool:
        """Return whether no program wrote the body of a message."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        return isinstance(mark, Answered) and mark.answer.kind is not AnswerKind.ANSWERED

    def take(self, event: RoomMessageEvent, size: int, *, is_kept: bool) -> bool:
        """Take a message if it is an answer, or a handler is for it; return whether it ends here."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if isinstance(mark, Answered):
            self._asking.take_answer(mark, event.message)
            return True
        if isinstance(mark, OpenRequest):
            self._enter(mark)
        handler = self._handlers.get(event.message.type)
        if handler is None:
            return False
        if mark is None:
            if handler.reply_type is None:
                self._warn_of_no_question(event)
                return False
            message = event.message
            sender = message.sender or message.from_participant_id
            request = OpenRequest(self, self._condition, None, sender, message.type, handler.reply_type)
            event = marked(event, request)
        waiting = self._waiting
        dropped = waiting.keep(event, size, is_dropping=True) if is_kept else waiting.put_dropping(event, size)
        self._client.router.dispatcher.count_dropped(dropped)
        self._start_task()
        return False

    def _warn_of_no_question(self, event: RoomMessageEvent) -> None:
        """Say that a handler is not called, unless something else gets the message."""
        router, type = self._client.router, event.message.type
        if not router.receivers.count(event):
            text = "a message of type %r came that is no question of ask(): its handler is not called; on_request(%r, "
            self._client.budget.warn(f"no question {type}", text + "reply_type=…) answers such ones, too", type, type)

    def dropped(self, event: RoomMessageEvent) -> None:
        """Note that the hook dropped a message."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if isinstance(mark, OpenRequest):
            self._decline(mark, AnswerKind.REFUSED, "the answerer's client drops such messages")
        elif isinstance(mark, Answered):
            self._asking.answer_dropped(mark)

    # --- after the receivers, on the dispatcher -----------------------------------------------------------------------

    def handled(self, event: RoomMessageEvent) -> None:
        """Refuse a question that nothing here will answer: neither a handler, nor a receiver for its type.

        What gets all messages has to answer before it returns, since it may just keep a log of them.
        """
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if not isinstance(mark, OpenRequest) or mark.ended:
            return
        router, type = self._client.router, event.message.type
        if type in self._handlers or router.receivers.has_for(type):
            return
        is_got = router.is_offered(event.message) or router.receivers.count(event)
        if mark.takes_messages and (is_got or EVENTS["message"].has_receivers_for(router.sender())):
            return
        name = self._client.local_participant.name or self._client.local_participant.id
        types = sorted(self._handlers)
        known = ", ".join(map(repr, types[:NAMED])) + (", …" if len(types) > NAMED else "")
        has = f"its handlers are for {known}" if types else "it has no handlers: on_request there adds one"
        self._decline(mark, AnswerKind.REFUSED, f"{name!r} has no handler for questions of type {type!r}; {has}")

    def returned(self, event: RoomMessageEvent, receiver: Callable[..., object]) -> None:
        """Note that a receiver returned a value, which answers no question."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if isinstance(mark, OpenRequest) and not mark.ended and event.message.type not in self._handlers:
            text = "what the receiver %s returned answers no question of type %r: register it by on_request(%r, …), or "
            name, type = name_of(receiver), event.message.type
            self._client.budget.warn(f"returned {type}", text + "call event.reply(…)", name, type, type)

    def refused(self, event: RoomMessageEvent, reason: str) -> None:
        """Note that the body of a message is not what its receiver's model says."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if isinstance(mark, OpenRequest):
            self._decline(mark, AnswerKind.REFUSED, reason)

    def failed(self, event: RoomMessageEvent, error: BaseException) -> str | None:
        """Note that a receiver or handler raised; return a note for the log, or None where there is nothing to log."""
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if not isinstance(mark, OpenRequest) or mark.ended:
            return ""
        if isinstance(error, Refuse):
            self._decline(mark, AnswerKind.REFUSED, error)
            return None
        id = self._client.runtime.entropy(ID_SIZE).hex()
        self._decline(mark, AnswerKind.FAILED, log_id=id)
        return f" at question {id}, of type {mark.type!r} of {mark.name!r}"

    # --- the tasks of handlers ----------------------------------------------------------------------------------------

    def _start_task(self) -> None:
        with self._condition:
            if self._tasks >= TASKS:
                return
            self._tasks += 1
        try:
            self._client.router.dispatcher.spawn(self._run, "handler")
        except BaseException as error:
            with self._condition:
                self._tasks -= 1
            if not isinstance(error, RuntimeError):
                raise
            self._client.budget.warn("handler task", "a question waits: no task can be started: %s", safe_text(error))

    def _run(self) -> None:
        try:
            while self._client.router.gate.is_here:  # A handler may fork, and return in the child.
                try:
                    event = self._waiting.get(0)
                except InboxClosed:
                    return
                except TimeoutError:
                    with self._condition:
                        if not len(self._waiting):
                            return
                    continue
                self._serve(event)
                del event
        finally:
            with self._condition:
                self._tasks -= 1

    def _serve(self, event: RoomMessageEvent) -> None:
        """Call the handler of a question, and answer with its result."""
        handler = self._handlers.get(event.message.type)
        mark = event.mark if isinstance(event, MarkedEvent) else None
        if not isinstance(mark, OpenRequest):
            return
        if handler is None:  # Removed meanwhile.
            self.handled(event)
            return
        router, registration = self._client.router, handler.registration
        function = registration.receiver
        if not router.gate.enter(function):
            return
        try:
            codec = registration._codec
            own = event._copied() if codec is None else event._with(event.message._as(codec))
        except InvalidMessage as error:
            self._decline(mark, AnswerKind.REFUSED, error)
            router.reports.post_wrong(event.message, name_of(function), error)
            router.gate.leave()
            return
        has_returned = False
        try:
            result = function(own)
            check_result(result)
            if isinstance(result, BaseException):
                raise TypeError(f"it returned {result!r:.100}: raise it")
            has_returned = True
            self._answer(mark, handler, result)
        except TaskExit:
            raise
        except BaseException as error:  # Any kind: it has no caller to go to.
            note = self.failed(event, error)
            if note is not None:
                is_programs = not has_returned or not isinstance(error, MeshsyncError) or _is_usage(error)
                router.reports.post_failure("on_request", function, error, note, is_programs=is_programs)
        finally:
            router.gate.leave()

    def _answer(self, request: OpenRequest, handler: Handler, result: object) -> None:
        if request.ended and (result is None or request.has_left):
            return  # It has answered by ``event.reply``, or its answer is not sent any more.
        body, attachment = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        body = {} if body is None else body
        if handler.reply_codec is not None:
            body = handler.reply_codec.dump(body)
        request.reply(body, attachment, handler.reply_type, "default")

    def _enter(self, request: OpenRequest) -> None:
        with self._condition:
            self._open[request] = None
            if len(self._open) > KEPT:
                del self._open[next(iter(self._open))]

    def settled(self, request: OpenRequest) -> None:
        """Note that a question is not open any more."""
        with self._condition:
            self._open.pop(request, None)

    def _decline(self, request: OpenRequest, kind: AnswerKind, reason: object = "", log_id: str = "") -> None:
        try:
            request.decline(kind, reason, log_id)
        except MeshsyncError as error:
            text = "%r is not told that its question has no answer: %s"
            self._client.budget.warn("declining", text, request.name, safe_text(error))

    def send_answer(
        self, request: OpenRequest, mark: Answer | None, type: str, body: Any, attachment: Any, limit: float | None
    ) -> Delivery:
        """Send an answer: what the program says through its face, else directly."""
        client, face = self._client, self._client.router.sender()
        if face is None or (mark is not None and mark.kind is not AnswerKind.ANSWERED):
            return client.confirmation.submit(request.sender, type, body, attachment, limit, mark=mark)
        send: Callable[..., Delivery] = face.send_message_nowait  # type: ignore[attr-defined]
        return send(request.sender, type, body, attachment, **given(limit, confirm=mark or False))

    # --- the end ------------------------------------------------------------------------------------------------------

    def leave(self, reason: str) -> bool:
        """Tell all whose questions are open that this client leaves; return whether there are any."""
        with self._condition:
            requests = list(self._open)
        for request in requests:
            with suppress(MeshsyncError):
                request.decline(AnswerKind.LEFT, reason)
        return bool(requests)

    def end(self) -> None:
        """Hand out no questions any more."""
        self._waiting.cut()


def _is_usage(error: BaseException) -> bool:
    """Return whether the program erred in what it answered, and not the network or the asker when it was sent."""
    return isinstance(error, (InvalidMessage, UsageError))
