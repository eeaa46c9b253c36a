"""All streams of one client: which there are, who is offered new ones, what becomes of them when somebody leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, get_args

from meshsync.connection.inbox import InboxClosed
from meshsync.dispatch.subscriptions import Feed
from meshsync.errors import (
    MeshsyncError,
    ProtocolError,
    SendTimeout,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol import events
from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.dialects import CLASSIC, DUPLEX
from meshsync.protocol.flow_control import Phase, next_window
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Chunk,
    Close,
    Credit,
    Open,
    Reject,
    StreamWord,
    decode_stream_word,
)
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.interfaces import Runtime, TaskExit
from meshsync.signals import log_warning, name_of
from meshsync.streams.channels import Carrier, Classic, StreamConnection
from meshsync.streams.duplex import Calls
from meshsync.streams.endpoints import MessageStreamReader
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.stream import Stream

__all__ = ["Accepter", "StreamKind", "StreamSubscription", "StreamTable"]

logger = logging.getLogger("meshsync")

Accepter = Callable[[StreamReader], object]
"""What a program gives to `MessagingClient.enable` for streams that others open."""

StreamKind = Literal["auto", "classic", "duplex"]
"""How a stream is opened: by messages, by a call, or as the other side understands it."""

PATIENCE = 5.0
"""Seconds after which a stream that is offered by messages, and not answered, is offered by a call as well."""

NEWCOMER = 1.0
"""Seconds for which somebody who has just come is not believed to want no streams: official clients up to 0.35.6 say so
for a moment after they have enabled messaging (PROTOCOL.md, section 6.1)."""
RETRY_AFTER = 0.1
"""Seconds after which they are asked again."""

CALLBACKS = 64
"""Accept callbacks that run at once; a stream more is rejected."""

DECISION_TIME = 30.0
"""Seconds after which a stream that the program neither accepted nor rejected is rejected."""

PAST = 1024
"""Ended streams that are remembered: words that were on their way to one are no fault."""

_Key = tuple[str, str]
"""The id of the other side, and that of the stream: nobody can end or write to a stream of somebody else."""


class StreamTable:
    """The streams of one client. What `Stream` asks for is in ``meshsync.streams.stream.Table``.

    Args:
        publish: Takes events for receivers.
        limit: Returns a time limit in seconds, the default in the place of ``"default"``.
        hook: Changes each offered reader before the program sees it.
    """

    def __init__(
        self,
        connection: StreamConnection,
        presence: ParticipantDirectory,
        *,
        publish: Callable[[RoomMessageEvent], None],
        limit: Callable[[Timeout], float | None],
        hook: Callable[[StreamReader], StreamReader],
        report: Callable[[Accepter, BaseException], None],
    ) -> None:
        self.runtime: Runtime = connection.runtime
        self.limit = limit
        self.refuse_to_block = connection.refuse_to_block
        self.accepter: Accepter | None = None
        """Called with each stream that somebody else opens, unless a subscription takes it; None rejects them."""
        self._connection = connection
        self._presence = presence
        self._publish = publish
        self._hook = hook
        self._report = report
        self._condition = connection.runtime.condition()
        self._streams: dict[_Key, Stream] = {}
        self._past: dict[_Key, bool] = {}
        """Streams that have ended, the latest last; true for those that this client gave up unanswered."""
        self._calls = Calls(connection, offer=self._offer, hear=self._hear, tell=self.tell)
        self._kinds: dict[str, str] = {}
        """By the id of somebody here, the kind of streams that it is known to understand."""
        self._arrivals: dict[str, float] = {}
        """When each of those here came."""
        self._callbacks = 0
        self._subscriptions: tuple[StreamSubscription, ...] = ()
        self._has_ended = False

    # --- what programs do ---------------------------------------------------------------------------------------------

    def open(self, to: RemoteParticipant, header: Mapping[str, Any], timeout: Timeout, kind: str) -> Stream:
        """Open a stream and wait until it is accepted; see `MessagingClient.create_stream`."""
        if kind not in get_args(StreamKind):
            raise ValueError(f"kind is one of {', '.join(get_args(StreamKind))}, not {kind!r}")
        limit, begun = self.limit(timeout), self.runtime.monotonic()
        while True:
            left = None if limit is None else max(0.0, begun + limit - self.runtime.monotonic())
            try:
                return self._open(to, header, left, self._best_kind(to.id) if kind == "auto" else kind)
            except StreamRejected as error:
                if not self._is_premature(to, error) or (left is not None and left <= RETRY_AFTER):
                    raise
            self.runtime.sleep(RETRY_AFTER)

    def _is_premature(self, peer: RemoteParticipant, error: StreamRejected) -> bool:
        """Return whether somebody who has just come may only seem to want no streams."""
        arrival = self._arrivals.get(peer.id)
        is_new = arrival is not None and self.runtime.monotonic() - arrival < NEWCOMER
        return is_new and not error.is_final and str(error) == NO_HANDLER

    def _open(self, to: RemoteParticipant, header: Mapping[str, Any], timeout: float | None, kind: str) -> Stream:
        classic = Classic(self._connection, to.id)
        stream = Stream(self, classic, _uuid(self.runtime.entropy(16)), to, header, is_opener=True)
        _, left = stream.deadline(timeout)
        try:
            with self._condition:
                self._streams[to.id, stream.id] = stream
            word = Open(stream.id, dict(header), stream.account.window)
            if kind != DUPLEX:
                classic.send(word, f"opening {stream!r}", left()).wait(left())
                patience = left()
                if kind == "auto":
                    patience = PATIENCE if patience is None else min(PATIENCE, patience / 2)
                if stream.wait_answer(patience):
                    self._kinds[to.id] = CLASSIC
                    return stream
            if kind != CLASSIC and self._call(stream, word, left, alone=kind == DUPLEX):
                return stream
        except SendTimeout as error:
            stream.abandon("")
            raise StreamTimeout(str(error)) from error
        except MeshsyncError as error:
            stream.end(error)  # Refused: there is nobody to be told.
            raise
        except BaseException:
            stream.abandon("")
            raise
        stream.abandon("")
        raise StreamTimeout(f"{to.name or to.id} did not answer the offer of a stream within {timeout or 0:.3g} s")

    def _best_kind(self, peer: str) -> str:
        """Return how to offer a stream to somebody; ``auto`` for in both ways, if the first is not answered."""
        session = self._connection.session
        if session.is_bridged or DUPLEX not in session.dialect.streams:
            return CLASSIC
        return self._kinds.get(peer, "auto")

    def _call(self, stream: Stream, word: Open, left: Callable[[], float | None], *, alone: bool) -> bool:
        """Offer a stream by a call, alone or beside the other way; return whether it was accepted in either."""
        caller = self._calls.open(stream, alone=alone)
        if alone:
            stream.carrier = caller
        try:
            caller.send(word, f"calling {stream.peer.name or stream.peer.id}", left())
            is_accepted = stream.wait_answer(left())
        finally:
            if stream.carrier is not caller:
                self._calls.forget(stream)
                self.tell(caller, Close(stream.id), f"ending a call of {stream!r}", 1.0)
        if is_accepted:
            self._kinds[stream.peer.id] = DUPLEX if stream.carrier is caller else CLASSIC
        return is_accepted

    def subscribe(self, timeout: float | None, maxsize: int) -> StreamSubscription:
        """Return a subscription to the streams that are offered from now on."""
        subscription = StreamSubscription(self, timeout, maxsize, self._hook, self._unsubscribe)
        with self._condition:
            has_ended = self._has_ended
            if not has_ended:
                self._subscriptions = (*self._subscriptions, subscription)
        if has_ended:
            subscription._end(self._connection.failure())
        return subscription

    def _unsubscribe(self, subscription: StreamSubscription) -> None:
        with self._condition:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def abandon_all(self, failure: StreamInterrupted, timeout: float) -> None:
        """Give up every stream, as far as the other sides can be told within ``timeout`` seconds for each."""
        for stream in list(self._streams.values()):
            stream.abandon(str(failure), failure, timeout)

    def leave(self, timeout: float) -> None:
        """Give up the streams with those who might wait for their end for ever when this client leaves."""
        failure = self._connection.failure()
        for stream in list(self._streams.values()):
            if not stream.peer_is_meshsync:
                lost = StreamInterrupted(str(failure), connection_alive=False)
                is_opening = stream.is_opener and stream.account.phase is Phase.OFFERED
                stream.abandon("left the room", failure if is_opening else lost, timeout)

    # --- what streams say ---------------------------------------------------------------------------------------------

    def window(self) -> int:
        """Return the window of one more stream, in bytes."""
        with self._condition:
            return next_window(sum(stream.account.window for stream in self._streams.values()))

    def opened(self, stream: Stream) -> None:
        """Note that a stream was accepted, here or there. Called while nobody can end it."""
        self._connection.cancel_alarm(_key(stream))
        stream.is_announced = True
        body = {"stream_id": stream.id, "header": dict(stream.header)}
        self._publish(_event("stream_opened", RoomMessage("stream.open", body), stream))

    def tell(self, carrier: Carrier, word: StreamWord, what: str, timeout: float) -> None:
        """Say something for which nobody waits; where the reader, which does not wait, finds no room, later."""
        try:
            carrier.send(word, what, timeout)
        except SendTimeout:
            self._connection.post(lambda: self._tell_later(carrier, word, what))
        except MeshsyncError:
            pass  # The connection has ended.

    def _tell_later(self, carrier: Carrier, word: StreamWord, what: str) -> None:
        try:
            carrier.send(word, what, 1.0)
        except MeshsyncError as error:
            log_warning("%s was not sent: %s", what, error)

    def ended(self, stream: Stream, reason: str) -> None:
        """Note that a stream has ended, whatever way."""
        key = _key(stream)
        self._connection.cancel_alarm(key)
        self._calls.forget(stream)
        with self._condition:
            self._streams.pop(key, None)
            self._past[key] = stream.is_opener and not stream.is_announced
            if len(self._past) > PAST:
                del self._past[next(iter(self._past))]
        if stream.is_announced:
            body = {"stream_id": stream.id, "reason": reason}
            self._publish(_event("stream_closed", RoomMessage("stream.close", body), stream))

    # --- what the client's reader task tells --------------------------------------------------------------------------

    def take(self, event: events.Received) -> None:
        """Take a message of one of `STREAM_TYPES`. Never waits."""
        try:
            word = decode_stream_word(event.type, event.message, event.attachment)
        except ProtocolError as error:
            log_warning("skipped a %s of %s: %s", event.type, event.sender, error)
            return
        if isinstance(word, Open):
            self._offer(word, event.sender, Classic(self._connection, event.sender))
            return
        stream = self._streams.get((event.sender, word.stream_id))
        if stream is None:
            self._stray(word, event.sender)
        else:
            self._hear(stream, word)

    def take_call(self, word: Call | CallChunk | AnswerChunk) -> None:
        """Take what the room says of a call. Never waits."""
        self._calls.take(word)

    def _hear(self, stream: Stream, word: StreamWord) -> None:
        match word:
            case Chunk():
                if stream.is_opener and stream.account.phase is Phase.OFFERED:
                    log_warning("skipped a chunk of %r, which was not accepted", stream)
                else:
                    stream.chunk(word)
            case Credit(size=size):
                stream.credited(size)
            case Accept(window=window):
                if not stream.accepted(window):
                    log_warning("skipped a consent to %r, which needs none", stream)
            case Reject(reason=reason, is_final=is_final):
                if stream.is_opener and stream.account.phase is Phase.OFFERED:
                    stream.end(StreamRejected(reason, is_final=is_final), reason)
                else:
                    log_warning("skipped a rejection of %r, which was accepted", stream)
            case Close(is_complete=is_complete):
                is_early = stream.account.phase is Phase.OFFERED or not is_complete
                who = stream.peer.name or stream.peer.id
                stream.end(StreamInterrupted(f"{who} gave up the stream before it was accepted") if is_early else None)
            case Cancel(reason=reason):
                stream.cancelled(reason)

    def _stray(self, word: StreamWord, sender: str) -> None:
        was_given_up = self._past.get((sender, word.stream_id))
        if was_given_up and isinstance(word, Accept):
            # Its acceptor would wait for chunks for ever.
            self.tell(
                Classic(self._connection, sender), Close(word.stream_id, is_complete=False), f"a close to {sender}", 0
            )
        elif was_given_up is None:
            log_warning("skipped a %s of %s for a stream that is not there", type(word).__name__.lower(), sender)

    def _offer(self, word: Open, sender: str, carrier: Carrier) -> Stream | None:
        """Take an offer, and return the stream if the program has to decide on it."""
        key = (sender, word.stream_id)
        if key in self._streams:
            # Openers that don't know what this client understands offer a stream in both ways.
            log_warning("skipped the offer of a stream of %s: its id is in use", sender)
            return None
        peer = self._presence.get(sender)
        reason: str | None = "unknown participant"
        if peer is not None:
            self._kinds[sender] = CLASSIC if isinstance(carrier, Classic) else DUPLEX
            stream = Stream(self, carrier, word.stream_id, peer, word.header, is_opener=False, peer_window=word.window)
            reason = self._hand_out(stream)
            if reason is None:
                return stream
        rejection = Reject(word.stream_id, reason or "", is_final=reason == NO_HANDLER)
        self.tell(carrier, rejection, f"rejecting a stream of {sender}", 0)
        return None

    def _hand_out(self, stream: Stream) -> str | None:
        """Give an offered stream to the program; return why not, if it can't be."""
        accepter, key = self.accepter, _key(stream)
        # In the table before anybody can decide on it; the alarm first, since a decision takes it back.
        self._connection.set_alarm(key, DECISION_TIME, lambda: self._expire(stream))
        with self._condition:
            self._past.pop(key, None)
            self._streams[key] = stream
        if any(subscription._offer(stream.reader) for subscription in self._subscriptions):
            return None
        reason = NO_HANDLER
        if accepter is not None:
            reason = "too many streams"
            if self._callbacks < CALLBACKS:
                try:
                    self._connection.spawn(lambda: self._run(accepter, stream), f"stream {stream.id}")
                except RuntimeError as error:  # The interpreter is shutting down, or the system has no threads left.
                    reason = str(error)
                else:
                    with self._condition:
                        self._callbacks += 1
                    return None
        self._connection.cancel_alarm(key)
        with self._condition:
            self._streams.pop(key, None)
        return reason

    def _expire(self, stream: Stream) -> None:
        with suppress(UsageError):  # It was decided just now.
            stream.reject(f"not decided upon within {DECISION_TIME:g} s")

    def peer_came(self, peer: RemoteParticipant) -> None:
        """Note since when somebody has been here, as far as this client knows."""
        self._arrivals[peer.id] = self.runtime.monotonic()

    def peer_left(self, peer: RemoteParticipant) -> None:
        """End the streams with somebody who takes part no longer."""
        self._kinds.pop(peer.id, None)
        self._arrivals.pop(peer.id, None)
        streams = [stream for key, stream in list(self._streams.items()) if key[0] == peer.id]
        for stream in streams:
            if self._connection.is_open:
                stream.end(StreamInterrupted(f"{peer.name or peer.id} has left"), "left")
            else:
                self._lose(stream)

    def end(self) -> None:
        """End everything: the connection has ended."""
        with self._condition:
            self._has_ended = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for stream in list(self._streams.values()):
            self._lose(stream)
        for subscription in subscriptions:
            subscription._end(self._connection.failure())

    def _lose(self, stream: Stream) -> None:
        failure = self._connection.failure()
        if stream.is_opener and stream.account.phase is Phase.OFFERED:
            stream.end(failure, str(failure))
        else:
            stream.end(StreamInterrupted(str(failure), connection_alive=False), str(failure))

    # --- odds and ends ------------------------------------------------------------------------------------------------

    def _run(self, accepter: Accepter, stream: Stream) -> None:
        """Let the program decide on a stream, in a task of its own."""
        try:
            accepter(self._hook(stream.reader))
            with suppress(MeshsyncError):  # The other side is gone, or the program has rejected it.
                stream.accept()
        except TaskExit:
            raise
        except BaseException as error:  # Whatever it is, it has no caller to go to.
            self._decline(accepter, stream, error)
        finally:
            with self._condition:
                self._callbacks -= 1

    def _decline(self, accepter: Accepter, stream: Stream, error: BaseException) -> None:
        # Raising is a way to reject; after acceptance, or instead of it, it is a failure.
        try:
            stream.reject(str(error)[:1000])
        except UsageError:
            stream.abandon(f"{type(error).__name__}: {error}"[:1000])
        if stream.is_announced or not isinstance(error, Exception):
            self._report(accepter, error)
        else:
            with suppress(Exception):  # As in `log_failure`.
                kind = type(error).__name__
                logger.info("%r was rejected, since %s raised %s: %s", stream, name_of(accepter), kind, error)


class StreamSubscription(Feed[StreamReader]):
    """Streams that others open, from when it was made. Made by `MessagingClient.streams`; see `Feed`.

    Each is accepted by ``accept`` or the first read. What nobody has taken is rejected after 30 s, and at ``close``.
    """

    def __init__(
        self,
        table: StreamTable,
        timeout: float | None,
        maxsize: int,
        hook: Callable[[StreamReader], StreamReader],
        on_close: Callable[[StreamSubscription], None],
    ) -> None:
        super().__init__(
            table.runtime,
            timeout=timeout,
            maxsize=maxsize,
            what="stream",
            call="streams()",
            refuse_to_block=table.refuse_to_block,
        )
        self._now = table.runtime.monotonic
        self._hook = hook
        self._on_close = on_close
        self._is_closed = False

    def _offer(self, reader: MessageStreamReader) -> bool:
        """Take a stream, if there is room; return whether it did. Called by the client; never waits."""
        if not self._inbox.put(reader):
            return False
        if self._is_closed:  # By the program, just now: its `close` may have missed this one.
            self._reject(reader)
        return True

    def _take(self, timeout: float | None) -> StreamReader:
        deadline = None if timeout is None else self._now() + timeout
        while True:
            reader = super()._take(None if deadline is None else max(0.0, deadline - self._now()))
            if _is_over(reader):
                continue
            try:
                return self._hook(reader)
            except Exception as error:  # It is one opener's fault, and not the end of this subscription.
                with suppress(MeshsyncError):
                    reader.reject(str(error)[:1000])
                with suppress(Exception):  # As in `log_failure`.
                    logger.info("%r was rejected by %s: %s", reader, name_of(self._hook), error)

    def close(self) -> None:
        """Take nothing more; what nobody has read is rejected."""
        self._on_close(self)
        self._is_closed = True
        super().close()
        while self.pending:
            # Somebody else may read what is left, or close it too.
            with suppress(TimeoutError, InboxClosed):
                self._reject(self._inbox.get(0))

    def _reject(self, reader: StreamReader) -> None:
        with suppress(MeshsyncError):
            reader.reject("the program takes no more streams")


def _is_over(reader: StreamReader) -> bool:
    """Return whether a stream has ended while it waited to be taken."""
    return isinstance(reader, MessageStreamReader) and reader.has_ended


def _key(stream: Stream) -> _Key:
    return stream.peer.id, stream.id


def _event(name: str, message: RoomMessage, stream: Stream) -> RoomMessageEvent:
    end = stream.writer if stream.is_opener else stream.reader
    return RoomMessageEvent(name, message, stream.peer, stream=end)


def _uuid(entropy: bytes) -> str:
    """Return 16 bytes as a UUID of version 4 (RFC 9562)."""
    digits = f"{(int.from_bytes(entropy, 'big') & ~(0xF << 76) & ~(0x3 << 62)) | 0x4 << 76 | 0x2 << 62:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
