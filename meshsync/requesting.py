"""Asking and answering, as one of the faces of `MessagingClient`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

from meshsync.arguments import hinted_call
from meshsync.asking.answers import Answers
from meshsync.asking.pending import Match
from meshsync.asking.requests import Handler, Reply, RequestHandler
from meshsync.client import Client
from meshsync.dispatch.receivers import Registration, check_type
from meshsync.errors import InvalidMessage
from meshsync.forms import as_message
from meshsync.membership import SEND_TIMEOUT
from meshsync.messages import Buffer, RoomMessage, RoomMessageEvent, as_buffer
from meshsync.participants import RemoteParticipant
from meshsync.protocol.operations import check_text
from meshsync.receiving import typed
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.sending import AnyModel, Recipient
from meshsync.signals import check_callable
from meshsync.typed import Codec, M, Model

if TYPE_CHECKING:
    from typing_extensions import Unpack  # Every type checker has it.

__all__ = ["AskOptions", "AskingFace"]

H = TypeVar("H", bound=RequestHandler)


class AskOptions(TypedDict, total=False):
    """How a question is asked."""

    timeout: Timeout
    match: Match | None


class AskingFace:
    """What programs ask and answer with."""

    _meshsync: Client

    @overload
    def ask(
        self,
        to: Recipient,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        *,
        reply_type: str | None = None,
        **options: Unpack[AskOptions],
    ) -> RoomMessage: ...
    @overload
    def ask(
        self,
        to: Recipient,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        *,
        reply_type: type[M],
        **options: Unpack[AskOptions],
    ) -> M: ...
    @overload
    def ask(
        self,
        to: Recipient,
        type: Model,
        *,
        attachment: Buffer | None = None,
        reply_type: str | None = None,
        **options: Unpack[AskOptions],
    ) -> RoomMessage: ...
    @overload
    def ask(
        self,
        to: Recipient,
        type: Model,
        *,
        attachment: Buffer | None = None,
        reply_type: type[M],
        **options: Unpack[AskOptions],
    ) -> M: ...
    @hinted_call
    def ask(
        self,
        to: Any,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        reply_type: Any = None,
        match: Match | None = None,
    ) -> Any:
        """Send a question to one participant and return its answer. See ``docs/asking.md``.

        A client of this package is asked by a confirmed message, which it answers by its handler (``on_request``) or by
        ``event.reply``, and which outlives losses of either connection. Others are sent an ordinary message, and
        ``reply_type`` or ``match`` tells which of theirs is the answer. May be called from receivers and handlers.

        Args:
            to: A participant or the id of one, but not this client.
            type: The kind of question; also as in ``send_message`` a model's object, or a model.
            message: A JSON object, or a model's object.
            timeout: The longest wait for the answer, in seconds; None waits for ever. By default the room's
                ``default_timeout``, or 30.
            reply_type: The type of the answer. Or the model that it is: the result is then its object.
            match: Called with each message of the participant, of that type if it is given, until it returns true.
        Raises:
            RequestRefused: If the answerer declined it, with its reason, or has no handler for that type.
            RequestFailed: If its handler failed; ``id`` leads to its log.
            RequestInterrupted: If it left before it answered; but a client of this package that lost its connection may
                come back. Or if messaging was disabled, or, where an ordinary message answers, the connection lost.
            ReceiveTimeout: If no answer came in time; the question may be handled all the same.
            SendTimeout: If the question was not sent in time.
            ParticipantNotFound: If there is no such participant.
            InvalidMessage: If the question cannot be carried, or it or the answer is not what its model says.
            NotEnabled: If messaging is not enabled on this client.
            UsageError: If it is this client itself, or one of others without ``reply_type`` and ``match``.
            WouldDeadlock: If called in the hook ``received``, which the answer would have to pass.
        """
        client, asking = self._meshsync, self._meshsync.asking
        given = type, message, attachment
        type, message, wanted, codec, limit = _prepare(client, "ask()", given, timeout, reply_type, match)
        if not asking.is_ours(to):
            client.membership.address(to)  # Raises where there is none of that id.
        deadline, condition = Deadline(client.runtime, limit), client.runtime.condition()
        pending = asking.prepare(to, type, wanted, match, limit, condition)
        try:
            asking.enter(pending)
            asking.send(self, pending, type, message, attachment, limit)
            answer = asking.result(pending, condition, deadline, limit)
        finally:
            try:
                asking.finish(pending)
            except BaseException:  # Ctrl-C, which would leave it there for ever.
                asking.finish(pending)
                raise
        return _decode(answer, codec)

    @overload
    def ask_all(
        self,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        *,
        n: int | None = None,
        reply_type: str | None = None,
        **options: Unpack[AskOptions],
    ) -> Answers[RoomMessage]: ...
    @overload
    def ask_all(
        self,
        type: str | AnyModel,
        message: Mapping[str, Any] | Model,
        attachment: Buffer | None = None,
        *,
        n: int | None = None,
        reply_type: type[M],
        **options: Unpack[AskOptions],
    ) -> Answers[M]: ...
    @overload
    def ask_all(
        self,
        type: Model,
        *,
        attachment: Buffer | None = None,
        n: int | None = None,
        reply_type: str | None = None,
        **options: Unpack[AskOptions],
    ) -> Answers[RoomMessage]: ...
    @overload
    def ask_all(
        self,
        type: Model,
        *,
        attachment: Buffer | None = None,
        n: int | None = None,
        reply_type: type[M],
        **options: Unpack[AskOptions],
    ) -> Answers[M]: ...
    @hinted_call
    def ask_all(
        self,
        type: Any = None,
        message: Any = None,
        attachment: Any = None,
        *,
        timeout: Timeout = "default",
        n: int | None = None,
        reply_type: Any = None,
        match: Match | None = None,
    ) -> Any:
        """Send a question to all that are there now, and return an iterator of their answers, as they come.

        Each is asked as ``ask`` asks it. Those that are no clients of this package are asked only where ``reply_type``
        or ``match`` tells their answers.

        Args:
            timeout: The longest wait for answers, all together, in seconds from now; as for ``ask``.
            n: The number of answers after which it ends; None for all.
        Raises:
            ValueError: If ``n`` is less than 1.
            MeshsyncError: Others as ``ask``; but what one participant fails of is in ``failures`` of the result.
        """
        if n is not None and n < 1:
            raise ValueError(f"n is at least 1, not {n}")
        client, asking = self._meshsync, self._meshsync.asking
        given = type, message, attachment
        type, message, wanted, codec, limit = _prepare(client, "ask_all()", given, timeout, reply_type, match)
        deadline, condition = Deadline(client.runtime, limit), client.runtime.condition()
        takes_all = not (wanted is None and match is None)
        pending, not_asked = {}, list[RemoteParticipant]()
        try:
            for participant in client.participants.participants:
                if takes_all or asking.is_ours(participant):
                    one = asking.prepare(participant, type, wanted, match, limit, condition)
                    pending[participant] = one
                    asking.enter(one)
                    asking.send_or_fail(self, one, type, message, attachment, deadline.left())
                else:
                    not_asked.append(participant)
        except BaseException:
            for one in pending.values():
                asking.finish(one)
            raise
        return Answers[Any](
            asking,
            pending,
            tuple(not_asked),
            condition,
            deadline,
            limit,
            n,
            lambda answer: _decode(answer, codec),
            client.router.refuse_to_block,
        )

    @overload
    def on_request(self, type: str, /, *, reply_type: str | AnyModel | None = None) -> Callable[[H], H]: ...
    @overload
    def on_request(
        self, type: str, /, handler: RequestHandler, *, reply_type: str | AnyModel | None = None
    ) -> Registration: ...
    @overload
    def on_request(
        self, model: type[M], /, *, type: str | None = None, reply_type: str | AnyModel | None = None
    ) -> Callable[[Callable[[RoomMessageEvent[M]], Reply]], Callable[[RoomMessageEvent[M]], Reply]]: ...
    @overload
    def on_request(
        self,
        model: type[M],
        /,
        handler: Callable[[RoomMessageEvent[M]], Reply],
        *,
        type: str | None = None,
        reply_type: str | AnyModel | None = None,
    ) -> Registration: ...
    @hinted_call
    def on_request(self, model: Any = None, handler: Any = ..., *, type: Any = None, reply_type: Any = None) -> Any:
        """Answer the questions of a type by what ``handler(event)`` returns; also a decorator.

        The result is a JSON object or a model's object, a pair of one and an attachment, or None for an empty answer.
        ``raise Refuse("why")`` gives the asker `RequestRefused` with that text; any other exception is logged with its
        traceback and an id, signalled as ``receiver_failed``, and gives `RequestFailed` with the id alone.

        Handlers run in tasks of their own, up to 64 at once: one that takes long, or asks, keeps nothing else, and two
        may run at the same time. Other receivers get a question too, as the message that it is.

        Args:
            model: A type of questions, or a model: the bodies are then its objects, and a question that is not what the
                model says is refused, with the place in it.
            type: Where there is a model, the type of questions instead of the model's own.
            reply_type: The type of the answers, or the model that they are. With it, ordinary messages of the type are
                answered too, by ordinary messages; without it they are no questions. By default the type that the
                asker wants, else that of the returned model, else the question's.
        Raises:
            UsageError: If that type has a handler already.
            ValueError: If the type of the answers is that of the questions: two programs would answer for ever.
            TypeError: If the handler cannot be called, or is a coroutine or generator function.
        """
        type, codec = typed(model, type)
        check_type(type, "on_request")
        reply_type, reply_codec = typed(reply_type, None)
        if reply_type is not None:
            check_type(reply_type)
        if reply_type == type:
            raise ValueError(f"answers of type {type!r} would be questions to another such handler: give another type")
        answering = self._meshsync.answering
        self._meshsync.router.check_open()

        def register(function: Any) -> Registration:
            check_callable(function, "a RoomMessageEvent", "a handler of questions", count=1)
            registration = Registration("message", type, function, answering, codec)
            answering.register(Handler(registration, reply_type, reply_codec))
            return registration

        if not isinstance(handler, EllipsisType):
            return register(handler)

        def decorate(function: Any) -> Any:
            register(function)
            return function

        return decorate

    @hinted_call
    def off_request(self, type: str | AnyModel) -> None:
        """Undo ``on_request`` for a type, or for a model's; a call under way is not interrupted.

        Raises:
            ValueError: If no handler is registered for it; the text has those that are.
        """
        self._meshsync.answering.off(typed(type, None)[0])


def _prepare(
    client: Client,
    what: str,
    message: tuple[Any, Any, Any],
    timeout: Timeout,
    reply_type: Any,
    match: Match | None,
) -> tuple[str, Any, str | None, Codec[Any] | None, float | None]:
    """Check a question before anything is sent; return its type and body, the answer's type and codec, the limit.

    Args:
        what: The call.
        message: Type, body and attachment.
    """
    type, body, attachment = message
    client.home.check()
    client.router.refuse_to_block(what)
    limit = client.limit(timeout, SEND_TIMEOUT)
    if match is not None:
        check_callable(match, "a RoomMessage", "match", count=1)
    wanted, codec = typed(reply_type, None)
    if wanted is not None:
        check_type(wanted)
    type, body = as_message(type, body)
    check_text(type, "type")
    as_buffer(attachment, "attachment")
    client.membership.check_enabled()
    return type, body, wanted, codec, limit


def _decode(answer: RoomMessage, codec: Codec[Any] | None) -> Any:
    """Return an answer as its asker wants it."""
    if codec is None:
        return answer
    try:
        return codec.load(answer.message)
    except InvalidMessage as error:
        sender = answer.sender.name if answer.sender is not None else answer.from_participant_id
        raise InvalidMessage(f"the answer of {sender!r}, of type {answer.type!r}: {error}") from None
