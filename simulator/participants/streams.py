"""All streams of a participant without a thread: those that end with a connection, and those that outlive it.

The participant gets the same calls for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from meshsync.errors import UsageError
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.resuming import Accepted, Credited, Ending, Outcome, ResumeEvent, TakenIn
from meshsync.reasons import safe_text
from simulator.participants.lasting import LastingRoom, LastingStreams, LastingWire
from simulator.participants.peers import Chunk, Offer, Peer
from simulator.participants.stream import Stream, StreamState, size_of, window_in

__all__ = ["ParticipantStreams", "Streaming", "StreamingRoom"]


class Streaming(Protocol):
    """A participant, as its streams call it."""

    def on_stream(self, offer: Offer) -> None: ...
    def on_stream_answer(self, stream: Stream, error: str | None) -> None: ...
    def on_arrival(self, stream: Stream, chunk: Chunk) -> None: ...
    def on_credit(self, stream: Stream) -> None: ...
    def on_stream_end(self, stream: Stream, error: str | None) -> None: ...


class StreamingRoom(LastingRoom, Protocol):
    """The room as all streams of a participant in it need it."""

    @property
    def resumes(self) -> bool: ...
    def soon(self, callback: Callable[[], None]) -> None: ...


class ParticipantStreams:
    """The streams of one participant."""

    def __init__(self, participant: Streaming, room: StreamingRoom) -> None:
        self._participant = participant
        self._room = room
        self._all: dict[Stream, None] = {}
        self._plain: dict[tuple[str, str], Stream] = {}
        """Those that end with their connection, by the peer's id and the stream's."""
        self._lasting = LastingStreams(room, self._apply, self._renounce)
        self._opened = 0

    @property
    def open(self) -> tuple[Stream, ...]:
        """The streams that have not ended, in the order of opening."""
        return tuple(self._all)

    # --- what the participant does ------------------------------------------------------------------------------------

    def offer(self, peer: Peer, header: Mapping[str, Any], window: int | None) -> Stream:
        """Offer a stream."""
        self._opened += 1
        id, wire = f"{self._room.own_id}/{self._opened}", None
        if window is not None and window > 0 and self._room.resumes:
            wire = self._lasting.propose(id, peer.id, header, window)
        stream = self._stream(peer, id, header, window, is_opener=True, wire=wire)
        try:
            stream.offer()
        except UsageError:  # The participant is in no room.
            stream.over()
            raise
        return stream

    def accept(self, offer: Offer, window: int | None) -> Stream:
        """Accept a stream. If its peer has withdrawn it meanwhile, it has ended, and its participant is told soon.

        Raises:
            UsageError: If it was accepted before.
        """
        wire = offer._wire if isinstance(offer._wire, LastingWire) else None
        if wire is not None and wire.stream is not None:
            raise UsageError(f"the stream of {offer.sender.name!r} was accepted before")
        peer = offer.sender if wire is None else self._peer_of(wire) or offer.sender
        if wire is not None and (window is None or window <= 0):
            self._lasting.forget(wire)
            wire = None
        stream = self._stream(peer, offer.stream_id, offer.header, window, is_opener=False, wire=wire)
        if wire is None or wire.core.ending is None:
            stream.accept(offer.window)
        else:
            stream.over()
            error = f"{offer.sender.name!r} gave it up before it was accepted"
            self._room.soon(lambda: self._participant.on_stream_end(stream, error))
        return stream

    def reject(self, offer: Offer, reason: str) -> None:
        """Reject a stream."""
        text = safe_text(reason)
        if isinstance(offer._wire, LastingWire):
            offer._wire.reject(text)
        else:
            body = {"stream_id": offer.stream_id, "error": text}
            self._room.post(offer.sender.id, "stream.reject", body, b"")

    def _stream(
        self,
        peer: Peer,
        stream_id: str,
        header: Mapping[str, Any],
        window: int | None,
        *,
        is_opener: bool,
        wire: LastingWire | None,
    ) -> Stream:
        stream = Stream(
            lambda type, body, data: self._room.post(stream.peer.id, type, body, data),
            self._ended,
            peer,
            stream_id,
            header,
            window=window,
            is_opener=is_opener,
            wire=wire,
        )
        self._all[stream] = None
        if wire is None:
            self._plain[peer.id, stream_id] = stream
        else:
            wire.stream = stream
        return stream

    def _peer_of(self, wire: LastingWire) -> Peer | None:
        """Return the peer of a stream as it is now; None if it is not there."""
        return self._room.present.get(wire.core.peer_id)

    def _ended(self, stream: Stream) -> None:
        del self._all[stream]
        key = (stream.peer.id, stream.id)
        if self._plain.get(key) is stream:
            del self._plain[key]

    # --- who is there -------------------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Note that this participant's connection is lost."""
        for stream in self.open:
            if not stream.outlives_losses:
                stream.over()
        self._lasting.lose()

    def leave(self) -> None:
        """End all, before this participant leaves for good."""
        self._lasting.leave()

    def forget(self) -> None:
        """Forget all, since this participant enters another room."""
        self._lasting.forget_all()

    def restored(self) -> None:
        """Note that this participant is in the room, perhaps again, with its peers."""
        self._lasting.restored()

    def peer_came(self, peer: Peer) -> None:
        """Note a peer that has come."""
        self._lasting.peer_came(peer)

    def peer_left(self, peer: Peer) -> None:
        """Note a peer that is gone, at least for now."""
        self._lasting.peer_left(peer.id)
        for stream in self.open:
            if stream.peer.id == peer.id and not stream.outlives_losses:
                stream.over()
                self._participant.on_stream_end(stream, f"{peer.name!r} has left")

    def look(self) -> None:
        """End streams whose time was over during a pause."""
        self._lasting.ring()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def take(self, sender: Peer, type: str, body: JsonObject, data: bytes) -> None:
        """Take a message of a stream."""
        if self._room.resumes and self._lasting.take(sender.id, type, body, data):
            return
        if type == "stream.open":
            wire = self._lasting.offered(sender.id, body) if self._room.resumes else None
            id, header = str(body.get("stream_id", "")), body.get("header") or {}
            self._participant.on_stream(Offer(sender, id, header, window_in(body), wire))
            return
        stream = self._plain.get((sender.id, str(body.get("stream_id", ""))))
        if stream is not None:
            self._take(stream, type, body, data)

    def _take(self, stream: Stream, type: str, body: JsonObject, data: bytes) -> None:
        """Take a message of a stream that ends with its connection."""
        participant = self._participant
        is_asked = stream.is_opener and stream.state is StreamState.OFFERED
        match type:
            case "stream.accept" if is_asked:
                stream.accepted(window_in(body))
                participant.on_stream_answer(stream, None)
            case "stream.reject" if is_asked:
                stream.over()
                participant.on_stream_answer(stream, str(body.get("error", "")))
            case "stream.chunk":
                header = body.get("header") or {}
                participant.on_arrival(stream, Chunk(header, data, size_of(header, data)))
            case "stream.close":
                stream.over()
                participant.on_stream_end(stream, None)
            case "stream.meshsync.credit":
                stream.credited(int(body.get("bytes", 0)))
                participant.on_credit(stream)
            case "stream.meshsync.cancel":
                stream.over()
                participant.on_stream_end(stream, f"cancelled: {body.get('reason', '')}")

    def _renounce(self, wire: LastingWire, body: JsonObject) -> None:
        """Go on with a stream that ends with its connection, since its peer accepts it so."""
        stream = wire.stream
        if stream is not None and stream.state is StreamState.OFFERED:
            stream.end_with_connections()
            stream.peer = self._peer_of(wire) or stream.peer
            self._plain[stream.peer.id, stream.id] = stream
            self._take(stream, "stream.accept", body, b"")

    def _apply(self, wire: LastingWire, events: Sequence[ResumeEvent]) -> None:
        """Apply what becomes of a stream that outlives losses."""
        participant, stream = self._participant, wire.stream
        if stream is None:  # It was offered, and not accepted so far.
            return
        for event in events:
            if stream.state is StreamState.ENDED:
                return
            match event:
                case TakenIn(part):
                    chunk = wire.join(part)
                    if chunk is not None:
                        participant.on_arrival(stream, chunk)
                case Credited(size):
                    stream.credited(size)
                    participant.on_credit(stream)
                case Accepted(window):
                    stream.accepted(window)
                    participant.on_stream_answer(stream, None)
                case Ending():
                    stream.over()
                    self._end(stream, event, wire.core.seconds)

    def _end(self, stream: Stream, ending: Ending, seconds: float) -> None:
        participant, name = self._participant, repr(stream.peer.name)
        what = f"the stream {'to' if stream.is_opener else 'from'} {name}"
        match ending.outcome:
            case Outcome.CLOSED_HERE:
                pass
            case Outcome.CLOSED_BY_PEER:
                participant.on_stream_end(stream, None)
            case Outcome.REJECTED_BY_PEER:
                participant.on_stream_answer(stream, ending.reason)
            case Outcome.CANCELLED_BY_PEER if ending.has_left:
                participant.on_stream_end(stream, f"{name} has left")
            case Outcome.CANCELLED_BY_PEER:
                participant.on_stream_end(stream, f"cancelled: {ending.reason}")
            case Outcome.UNCONFIRMED:
                error = f"{what} was closed, and was not resumed within {seconds:g} s: the peer may have all of it"
                participant.on_stream_end(stream, error)
            case Outcome.EXPIRED:
                participant.on_stream_end(stream, f"{what} was not resumed within {seconds:g} s")
            case _:
                participant.on_stream_end(stream, f"{what} was given up: {ending.reason}")
