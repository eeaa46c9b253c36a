"""All streams of one client, as its messaging uses them: one face for the registry, for opening and for offers.

Each report of the client's reader task or its messaging is passed on to the part that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshsync.errors import ProtocolError, StreamInterrupted, StreamRejected
from meshsync.messages import RoomMessageEvent
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol import events
from meshsync.protocol.dialects import CLASSIC, DUPLEX
from meshsync.protocol.operations import AnswerChunk, Call, CallChunk
from meshsync.protocol.stream_messages import (
    Accept,
    Cancel,
    Close,
    Credit,
    Open,
    Reject,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    decode_stream_message,
)
from meshsync.runtime.deadlines import Deadline, Limit, Timeout
from meshsync.signals import log_warning
from meshsync.streams.channels import Channel, MessageChannel, StreamConnection
from meshsync.streams.duplex import ForStream, Offered, Returned
from meshsync.streams.endpoints import Endpoints
from meshsync.streams.interfaces import StreamReader
from meshsync.streams.life import Phase, StreamIdentity
from meshsync.streams.offers import Accepter, Report, StreamOffers, StreamSubscription
from meshsync.streams.opening import ResumeFor, StreamOpener
from meshsync.streams.registry import StreamRegistry, StreamStats
from meshsync.streams.resuming import Line
from meshsync.streams.resumptions import Resumptions
from meshsync.streams.stream import ClientStream

__all__ = ["StreamTable"]


class StreamTable:
    """The streams of one client.

    Args:
        publish: Called with events for receivers, and with the bytes that each holds.
        limit: The client's.
        hook: Changes each offered reader before the program sees it.
        report: Called with an unexpected exception of an accept callback or the hook; see `StreamOffers`.
        refuse_to_receive: Given the name of a wait, raises where no stream would come.
    """

    def __init__(
        self,
        connection: StreamConnection,
        participants: ParticipantDirectory,
        *,
        publish: Callable[[RoomMessageEvent, int], None],
        limit: Limit,
        hook: Callable[[StreamReader], StreamReader],
        report: Report,
        refuse_to_receive: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._participants = participants
        self._registry = StreamRegistry(connection, publish=publish, limit=limit)
        self._resumptions = Resumptions(connection, self._registry, participants)
        self._opener = StreamOpener(connection, self._registry, self._resumptions)
        self._offers = StreamOffers(
            connection, self._registry, hook=hook, report=report, refuse_to_receive=refuse_to_receive
        )

    # --- calls of programs --------------------------------------------------------------------------------------------

    @property
    def accepter(self) -> Accepter | None:
        """Called with each stream that a peer opens, unless a subscription gets it; None rejects them."""
        return self._offers.accepter

    @accepter.setter
    def accepter(self, accepter: Accepter | None) -> None:
        self._offers.accepter = accepter

    def open(
        self,
        to: RemoteParticipant,
        header: Mapping[str, object],
        timeout: Timeout,
        kind: str,
        resume_for: ResumeFor = "default",
    ) -> Endpoints:
        """Open a stream and wait until it is accepted; see `MessagingClient.create_stream`."""
        return self._opener.open(to, header, timeout, kind, resume_for)

    def subscribe(self, timeout: float | None, maxsize: int) -> StreamSubscription:
        """Return a subscription to the streams that are offered from now on."""
        return self._offers.subscribe(timeout, maxsize)

    def look_again(self) -> None:
        """Have tasks that wait for a stream ask again whether one can come."""
        self._offers.look_again()

    def abandon_all(self, failure: StreamInterrupted) -> None:
        """Give up every stream, and notify its peer. Never waits."""
        for stream in self.streams:
            stream.abandon(str(failure), failure)

    def leave(self, timeout: float) -> None:
        """Give up the streams whose peers might wait for their end for ever when this client leaves, and add no more.

        Args:
            timeout: The longest wait, in seconds, for a task that is sending just now, and has to tell a peer.
        """
        failure, deadline = self._connection.failure(), Deadline(self._connection.runtime, timeout)
        streams = self._registry.begin_leaving()
        for stream in streams:
            if stream.resumption is not None or not stream.peer_is_meshsync:
                lost = StreamInterrupted(str(failure), connection_alive=False)
                stream.abandon("left the room", failure if stream.is_opening else lost, has_left=True)
        for stream in streams:
            if stream.resumption is not None:
                stream.resumption.await_sender(deadline)

    def leave_resumable(self) -> None:
        """Give up those that would outlive that this client takes part no longer, and open no more. Never waits."""
        lost = StreamInterrupted("this client takes part in messaging no longer")
        for stream in self._registry.shut(lost):
            if stream.resumption is not None:
                stream.abandon("left the room's messaging", lost, has_left=True)

    def join_chunks(self) -> None:
        """Let chunks that wait go several in one message, where the peer reads that too, in streams from now on."""
        self._resumptions.joins = True

    # --- streams and calls --------------------------------------------------------------------------------------------

    @property
    def streams(self) -> tuple[ClientStream, ...]:
        """The streams that have not ended, in order of their offers."""
        return self._registry.streams

    def stats(self) -> StreamStats:
        """Return the figures of this moment."""
        return self._registry.stats()

    @property
    def is_awaited(self) -> bool:
        """Whether there is any stream, or any part of the program that wants those of peers; takes no lock."""
        return bool(self.streams) or self._offers.is_awaited

    @property
    def callbacks(self) -> int:
        """How many accept callbacks are running."""
        return self._offers.callbacks

    @property
    def calls(self) -> int:
        """How many calls carry streams, or offer them."""
        return len(self._registry.calls)

    # --- reports of the client's reader task --------------------------------------------------------------------------

    def take(self, event: events.Received) -> None:
        """Apply a message of one of `STREAM_TYPES`. Never waits."""
        try:
            message = decode_stream_message(event.type, event.message, event.attachment)
        except ProtocolError as error:
            log_warning("skipped a %s of %s: %s", event.type, event.sender, error)
            return
        if self._resumptions.take(event.sender, message):
            return
        channel = MessageChannel(self._connection, event.sender)
        if isinstance(message, Open):
            self._offered(Offered(message, event.sender, channel))
            return
        ends = self._registry.find((event.sender, message.stream_id))
        if ends is None:
            self._stray(message, event.sender, channel)
        elif ends.stream.resumption is None:  # Else it is of the peer's last connection.
            _pass_on(ends, message)

    def take_call(self, operation: Call | CallChunk | AnswerChunk) -> None:
        """Apply the room's operation on a call. Never waits."""
        match self._registry.calls.receive(operation):
            case Offered() as offered:
                self._offered(offered)
            case ForStream(key, message, channel):
                ends = self._registry.find(key)
                if ends is not None:
                    _pass_on(ends, message, channel)
            case Returned(channel, message, what):
                self._registry.send_unawaited(channel, message, what)

    def _offered(self, offered: Offered) -> None:
        key = (offered.sender, offered.message.stream_id)
        if self._registry.find(key) is not None:
            # Openers that don't know the kind this client understands offer a stream in both ways.
            log_warning("skipped the offer of a stream of %s: its id is in use", offered.sender)
            return
        peer = self._participants.get(offered.sender)
        if peer is None:
            rejection = Reject(offered.message.stream_id, "unknown participant")
            self._registry.send_unawaited(offered.channel, rejection, f"rejecting a stream of {offered.sender}")
            return
        is_classic = isinstance(offered.channel, MessageChannel)
        self._opener.peer_understands(peer, CLASSIC if is_classic else DUPLEX)
        identity = StreamIdentity(offered.message.stream_id, peer, offered.message.header, is_opener=False)
        stream = ClientStream(self._registry, offered.channel, identity, peer_window=offered.message.window)
        if is_classic and peer._resumes:
            self._resumptions.consent(stream, offered.sender, offered.message)
        self._offers.offer(stream)

    def _stray(self, message: StreamMessage, sender: str, channel: MessageChannel) -> None:
        key = (sender, message.stream_id)
        if self._registry.was_given_up(key) and isinstance(message, Accept):
            # Its acceptor would wait for chunks for ever.
            self._registry.send_unawaited(channel, Close(message.stream_id, is_complete=False), f"a close to {sender}")
        elif not self._registry.is_past(key):
            name = type(message).__name__.removeprefix("Stream").lower()
            log_warning("skipped a %s of %s for a stream that is not there", name, sender)

    def peer_came(self, peer: RemoteParticipant) -> None:
        """Note since when a participant has been here, as far as this client knows."""
        self._opener.peer_came(peer.id)
        self._resumptions.peer_came(peer)

    def peer_left(self, peer: RemoteParticipant) -> None:
        """End the streams with a participant that takes part no longer."""
        self._opener.peer_left(peer.id)
        self._resumptions.peer_left(peer.id)
        for stream in self.streams:
            if stream.identity.peer.id != peer.id or stream.resumption is not None:
                continue
            if self._connection.is_open:
                stream.end(StreamInterrupted(f"{peer.name or peer.id} has left"), "left")
            else:
                self._registry.lose(stream)

    def went_offline(self) -> None:
        """End the streams that end with their connection, and interrupt the others."""
        for stream in self.streams:
            if stream.resumption is None:
                self._registry.lose(stream)
        self._resumptions.lose()

    def restored(self, line: Line) -> None:
        """Resume interrupted streams: this client takes part in messaging again, on another connection."""
        self._registry.reopen()
        self._resumptions.restored(line)
        for stream in self.streams:
            if stream.life.phase is Phase.OFFERED and not stream.identity.is_opener:
                self._offers.await_decision(stream)  # That of the last connection rings no more.

    def lose_all(self) -> None:
        """End all streams, and open no more until ``restored``: the client has ended, or takes part no longer."""
        for stream in self._registry.shut(self._connection.failure()):
            self._registry.lose(stream)

    def end(self) -> None:
        """End all streams and subscriptions: the client has ended."""
        self.lose_all()
        self._resumptions.end()
        self._offers.end()


def _pass_on(ends: Endpoints, message: StreamMessage, channel: Channel | None = None) -> None:
    """Apply a peer's message to its stream; it came by ``channel`` where that is not the stream's own."""
    stream = ends.stream
    match message:
        case StreamChunk():
            if stream.is_opening:
                log_warning("skipped a chunk of %r, which was not accepted", stream)
            else:
                ends.incoming.arrived(message)
        case StreamChunks():
            log_warning("skipped chunks of %r in one message, on which nothing was agreed", stream)
        case Credit(size=size):
            ends.outgoing.credited(size)
        case Accept(window=window):
            if not stream.accepted(window, channel) and not stream.life.phase.is_over:  # It crossed its end.
                log_warning("skipped a consent to %r, which needs none", stream)
        case Reject(reason=reason, is_final=is_final):
            if stream.is_opening:
                stream.end(StreamRejected(reason, is_final=is_final), reason)
            else:
                log_warning("skipped a rejection of %r, which was accepted", stream)
        case Close(is_complete=is_complete):
            is_early = stream.life.phase is Phase.OFFERED or not is_complete
            peer = stream.identity.peer_name
            stream.end(StreamInterrupted(f"{peer} gave up the stream before it was accepted") if is_early else None)
        case Cancel(reason=reason):
            stream.cancelled(reason)
