"""All streams of one client that outlive losses: which participant each one's peer is now, and what becomes of it.

A peer that is back has another id. Who claims its instance and its name may be it, and is met; the stream's own proof
shows whether it is. An offer that was not answered is repeated to such a claim as it is: nothing is agreed yet by which
its recipient could prove itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from meshsync.errors import MeshsyncError, ProtocolError, StreamInterrupted, StreamRejected
from meshsync.participants import ParticipantDirectory, RemoteParticipant
from meshsync.protocol.pacing import CONFIRM_PAUSE
from meshsync.protocol.resuming import (
    Accepted,
    Credited,
    Ending,
    Link,
    Outcome,
    Progress,
    ResumableStream,
    ResumeEvent,
    TakenIn,
)
from meshsync.protocol.stream_messages import Accept, Cancel, Open, Resume, StreamMessage
from meshsync.streams.channels import MessageChannel, StreamConnection
from meshsync.streams.endpoints import Endpoints
from meshsync.streams.life import Phase, StreamKey
from meshsync.streams.registry import PAST, StreamRegistry
from meshsync.streams.resuming import RESUME_FOR, Line, Resumption
from meshsync.streams.stream import ClientStream

__all__ = ["Resumptions"]

SECRET_SIZE = 32
"""Bytes of a stream's secret, as RFC 2104 wants for SHA-256."""


_UNTOLD = {Outcome.CLOSED_BY_PEER, Outcome.CANCELLED_HERE, Outcome.REJECTED_HERE}
"""Ends of which a peer may not know. In all others it made or confirmed the end, or time is over for both."""


class Resumptions:
    """The resumptions of one client's streams, those that have ended included while a peer may ask for their end."""

    def __init__(
        self, connection: StreamConnection, registry: StreamRegistry, participants: ParticipantDirectory
    ) -> None:
        self.line: Line | None = None
        """None while this client takes no part in messaging."""
        self.joins: bool = False
        """Whether chunks that wait may go several in one message, in streams that begin from now on."""
        self._connection = connection
        self._registry = registry
        self._participants = participants
        self._runtime = connection.runtime
        self._condition = connection.runtime.condition()
        self._all: dict[str, tuple[Resumption, ...]] = {}
        """By the ids of their streams, of which each opener has its own."""
        self._kept: deque[Resumption] = deque()
        """Those of streams that have ended, the latest last."""
        registry.on_ended = self._stream_ended

    # --- beginning ----------------------------------------------------------------------------------------------------

    def propose(self, stream: ClientStream, seconds: float) -> None:
        """Have a stream that this client is about to offer outlive losses of so many seconds."""
        secret = self._runtime.entropy(SECRET_SIZE).hex()
        core = ResumableStream(
            stream.identity.stream_id,
            seconds=seconds,
            secret=secret,
            window=stream.account.window,
            header=dict(stream.identity.header),
        )
        core.peer_id = stream.identity.peer.id
        self._add(stream, core)

    def offer(self, stream: ClientStream) -> None:
        """Offer a stream that is to outlive losses; when there is no connection, on the next one."""
        resumption, line = stream.resumption, self.line
        assert resumption is not None, "it is proposed"
        if line is not None:
            self._meet(resumption, line, stream.identity.peer.id)

    def consent(self, stream: ClientStream, sender: str, offer: Open) -> None:
        """Have a stream that was offered outlive losses, as its opener wants."""
        line = self.line
        if offer.resume is None or line is None:
            return
        core = ResumableStream(
            offer.stream_id, seconds=RESUME_FOR, secret=offer.resume.secret, window=stream.account.window, header=None
        )
        core.own_id = line.own_id
        resumption = self._add(stream, core)
        resumption.line = line
        self._receive(resumption, sender, offer)

    def _add(self, stream: ClientStream, core: ResumableStream) -> Resumption:
        key = stream.identity.key
        core.joins = self.joins
        resumption = Resumption(
            core,
            stream.life.condition,
            self._runtime,
            self._registry.budget.share(),
            stream.identity.peer._identity,
            self._connection.spawn,
        )
        resumption.on_events = partial(self._apply, key)
        resumption.on_lost = partial(self._peer_lost, resumption)
        resumption.on_failed = partial(self._fail, key)
        stream.resumption = resumption
        with self._condition:
            self._all[core.stream_id] = (*self._all.get(core.stream_id, ()), resumption)
        return resumption

    # --- the end ------------------------------------------------------------------------------------------------------

    def _stream_ended(self, stream_id: str) -> None:
        """Forget what has ended, but for ends that a peer may not know, the latest of those that it may ask for."""
        now = self._runtime.monotonic()
        with self._condition:
            for resumption in self._all.get(stream_id, ()):
                self._settle(resumption)
            while True:
                if not self._kept or (len(self._kept) <= PAST and (self._kept[0].core.deadline or now) > now):
                    return
                self._forget(self._kept.popleft())

    def _settle(self, resumption: Resumption) -> None:
        """Forget one that has ended, or keep its end. With the lock held."""
        core = resumption.core
        if core.is_forgotten or (core.ending is not None and core.ending.outcome not in _UNTOLD):
            self._forget(resumption)
        elif core.ending is not None and resumption not in self._kept:
            self._kept.append(resumption)

    def _forget(self, resumption: Resumption) -> None:
        stream_id = resumption.core.stream_id
        rest = tuple(other for other in self._all.get(stream_id, ()) if other is not resumption)
        if rest:
            self._all[stream_id] = rest
        else:
            self._all.pop(stream_id, None)

    def _each(self) -> list[Resumption]:
        with self._condition:
            return [resumption for several in self._all.values() for resumption in several]

    # --- reports of the client's reader task --------------------------------------------------------------------------

    def lose(self) -> None:
        """Note that the connection is lost."""
        self.line = None
        for resumption in self._each():
            self._lose(resumption)

    def restored(self, line: Line) -> None:
        """Note that this client takes part in messaging, on another connection, with the directory as it is now."""
        self.line = line
        for resumption in self._each():
            resumption.expire()
            if resumption.line is not line:
                self._lose(resumption)
            resumption.line, resumption.core.own_id = line, line.own_id
            self._seek(resumption)
        self._arm()

    def peer_came(self, peer: RemoteParticipant) -> None:
        """Note a participant that has come: it may be a peer that is back."""
        for resumption in self._each():
            core, line = resumption.core, self.line
            is_sought = core.link is Link.DOWN or not core.is_proven
            if line is not None and peer._identity is not None and peer._identity == resumption.claim and is_sought:
                self._meet(resumption, line, peer.id)

    def peer_left(self, peer_id: str) -> None:
        """Note that a participant is gone: for good, or to come back, as streams do not end before they are told to."""
        for resumption in self._each():
            if resumption.core.peer_id == peer_id:
                self._lose(resumption)
                self._seek(resumption)
        self._arm()

    def take(self, sender: str, message: StreamMessage) -> bool:
        """Apply a message if it is about one of these streams; return whether it is."""
        found = self._all.get(message.stream_id, ())
        if isinstance(message, Open):
            offer = message.resume
            found = () if offer is None else tuple(one for one in found if one.core.is_offer(offer))
        elif not isinstance(message, Resume):
            found = tuple(one for one in found if one.core.peer_id == sender)
        elif not found:
            channel, unknown = MessageChannel(self._connection, sender), Cancel(message.stream_id, "unknown stream")
            self._registry.send_unawaited(channel, unknown, f"an answer to {sender}")
            return True
        for resumption in found:
            if isinstance(message, Accept) and message.resume is None and self._renounce(resumption, sender, message):
                continue
            before = resumption.core.deadline
            self._receive(resumption, sender, message)
            if resumption.core.deadline != before:
                self._arm()
        return bool(found)

    def end(self) -> None:
        """Forget all: the client has ended."""
        with self._condition:
            self._all.clear()
            self._kept.clear()

    def _receive(self, resumption: Resumption, sender: str, message: StreamMessage) -> None:
        core = resumption.core
        events: Sequence[ResumeEvent] = ()
        with resumption._condition:
            try:
                events = core.receive(sender, message, self._runtime.monotonic())
            except ProtocolError as error:
                resumption.failure = error
            resumption.take_in(events)
            is_put_off = resumption.is_confirmation_put_off
        if is_put_off:
            self._connection.set_alarm(resumption, CONFIRM_PAUSE, partial(self._confirm, resumption))
        if core.is_proven and core.link is Link.UP:
            resumption.peer = self._participants.get(core.peer_id) or resumption.peer
        if core.joins:
            # The confirmation first: it would wait for the programs that the report wakes, and its writer for it.
            resumption.pump()
        resumption.report(events)
        resumption.pump()

    def _confirm(self, resumption: Resumption) -> None:
        with resumption._condition:
            resumption.confirm()
        resumption.pump()

    def _renounce(self, resumption: Resumption, sender: str, message: Accept) -> bool:
        """Go on without, since the peer accepts an offer so; return False if that is not what the message does."""
        core = resumption.core
        if core.progress is not Progress.OFFERED or not core.is_opener:
            return False
        for ends in self._ends_of(resumption):
            core.is_forgotten = True
            ends.renounce()
            ends.stream.accepted(message.window, MessageChannel(self._connection, sender))
        self._stream_ended(core.stream_id)
        return True

    def _ends_of(self, resumption: Resumption) -> list[Endpoints]:
        streams = (self._registry.find(stream.identity.key) for stream in self._registry.streams)
        return [ends for ends in streams if ends is not None and ends.stream.resumption is resumption]

    # --- what becomes of a stream -------------------------------------------------------------------------------------

    def _apply(self, key: StreamKey, events: Sequence[ResumeEvent]) -> None:
        ends = self._registry.find(key)
        if ends is None:
            return
        chunks = [event.chunk for event in events if isinstance(event, TakenIn)]
        if chunks:  # They come by themselves.
            ends.incoming.arrived(*chunks)
            return
        for event in events:
            match event:
                case Credited(size):
                    ends.outgoing.credited(size)
                case Accepted(window):
                    ends.stream.accepted(window)
                case Ending():
                    _end(ends.stream, event)

    def _peer_lost(self, resumption: Resumption) -> None:
        self._lose(resumption)
        self._arm()

    def _fail(self, key: StreamKey, error: MeshsyncError) -> None:
        ends = self._registry.find(key)
        if ends is not None and ends.stream.is_opening:
            ends.stream.refused(error)
        elif ends is not None:
            ends.stream.fail(error)

    # --- losing and meeting -------------------------------------------------------------------------------------------

    def _lose(self, resumption: Resumption) -> None:
        with resumption._condition:
            resumption.core.lose(self._runtime.monotonic())
            resumption.collect()

    def _seek(self, resumption: Resumption) -> None:
        """Meet the peer if it is there, or may be."""
        core, line = resumption.core, self.line
        if line is None or core.link is not Link.DOWN:
            return
        peer = self._participants.get(core.peer_id)
        if peer is None and resumption.claim is not None:
            claiming = [one for one in self._participants.participants if one._identity == resumption.claim]
            peer = claiming[-1] if claiming else None
        if peer is not None:
            self._meet(resumption, line, peer.id)

    def _meet(self, resumption: Resumption, line: Line, peer_id: str) -> None:
        with resumption._condition:
            resumption.line = line
            resumption.core.meet(line.own_id, peer_id, self._runtime.monotonic())
            resumption.collect()
        resumption.pump()

    def _arm(self) -> None:
        """Have the reader end the streams whose time is over, as long as there is one. On the reader."""
        waits = [left for left in (resumption.left() for resumption in self._each()) if left is not None]
        if waits:
            self._connection.set_alarm(self, min(waits), self._ring)
        else:
            self._connection.cancel_alarm(self)

    def _ring(self) -> None:
        for resumption in self._each():
            resumption.expire()
        self._arm()


def _end(stream: ClientStream, ending: Ending) -> None:
    """End a stream as the two sides of it have agreed, or as time has it."""
    peer, core = stream.identity.peer_name, stream.resumption
    seconds = core.core.seconds if core is not None else 0.0
    match ending.outcome:
        case Outcome.CLOSED_HERE:
            stream.closed()
        case Outcome.CLOSED_BY_PEER:
            stream.end(None)
        case Outcome.CANCELLED_BY_PEER if ending.has_left:
            stream.end(StreamInterrupted(f"{peer} has left"), "left")
        case Outcome.CANCELLED_BY_PEER if stream.life.phase is Phase.OFFERED and not stream.identity.is_opener:
            stream.end(StreamInterrupted(f"{peer} gave up the stream before it was accepted"))
        case Outcome.CANCELLED_BY_PEER:
            stream.cancelled(ending.reason)
        case Outcome.REJECTED_BY_PEER:
            stream.end(StreamRejected(ending.reason, is_final=ending.is_final), ending.reason)
        case Outcome.UNCONFIRMED:
            text = f"{stream!r} was closed, and {peer} did not come back within {seconds:g} s: it may have all of it"
            stream.end(StreamInterrupted(text), "not resumed")
        case _:
            text = f"{stream!r} was interrupted, and not resumed within {seconds:g} s"
            stream.end(StreamInterrupted(text), "not resumed")
