"""Opening streams: which kind a peer understands, the offer, and the wait for its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from meshsync.errors import MeshsyncError, SendTimeout, StreamRejected, StreamTimeout, UsageError
from meshsync.participants import RemoteParticipant
from meshsync.protocol.bridging import NO_HANDLER
from meshsync.protocol.dialects import CLASSIC, DUPLEX
from meshsync.protocol.operations import Send
from meshsync.protocol.stream_messages import Close, Open, encode_stream_message
from meshsync.runtime.deadlines import FOREVER, Deadline, Timeout, check_duration, warn_of_milliseconds
from meshsync.streams.channels import CallerChannel, MessageChannel, StreamConnection
from meshsync.streams.duplex import refusal_of
from meshsync.streams.endpoints import Endpoints
from meshsync.streams.life import StreamIdentity
from meshsync.streams.registry import StreamRegistry
from meshsync.streams.resuming import RESUME_FOR
from meshsync.streams.resumptions import Resumptions
from meshsync.streams.stream import ClientStream

__all__ = ["ResumeFor", "StreamKind", "StreamOpener"]

StreamKind = Literal["auto", "classic", "duplex"]
"""How a stream is opened: by messages, by a call, or as its peer understands it."""

ResumeFor = float | Literal["default"]
"""Seconds that a stream outlives a loss, 0 for none; by default `RESUME_FOR`, where that is possible."""

PATIENCE = 5.0
"""Seconds after which a stream that is offered by messages, and not answered, is offered by a call as well."""

NEWCOMER = 1.0
"""Seconds for which a participant that has just come is not believed to want no streams: official clients up to 0.35.6
report so for a moment after they have enabled messaging (PROTOCOL.md, section 6.1)."""
RETRY_AFTER = 0.1
"""Seconds after which the offer to it is repeated."""

OPEN_TIMEOUT = 30.0
"""Seconds, by default."""


class StreamOpener:
    """Opens streams, and remembers each peer's kind of streams and arrival."""

    def __init__(self, connection: StreamConnection, registry: StreamRegistry, resumptions: Resumptions) -> None:
        self._connection = connection
        self._registry = registry
        self._resumptions = resumptions
        self._runtime = connection.runtime
        self._condition = connection.runtime.condition()
        self._kinds: dict[str, str] = {}
        """By the id of a participant, the kind of streams that it is known to understand."""
        self._arrivals: dict[str, float] = {}
        """By the id of a participant, when it came, in seconds of the monotonic clock."""

    # --- knowledge of peers -------------------------------------------------------------------------------------------

    def peer_came(self, peer_id: str) -> None:
        """Note since when a participant has been here, as far as this client knows."""
        self._arrivals[peer_id] = self._runtime.monotonic()

    def peer_left(self, peer_id: str) -> None:
        """Forget a participant, which is offline by now."""
        with self._condition:
            self._kinds.pop(peer_id, None)
            self._arrivals.pop(peer_id, None)

    def peer_understands(self, peer: RemoteParticipant, kind: str) -> None:
        """Note which kind of streams a participant has used, unless it has left: nothing would forget that again."""
        with self._condition:
            if peer.online:
                self._kinds[peer.id] = kind

    def _best_kind(self, peer_id: str) -> str:
        """Return how to offer a stream to a peer; ``auto`` for both ways, if the first is not answered."""
        session = self._connection.session
        if session.is_bridged or DUPLEX not in session.dialect.streams:
            return CLASSIC
        return self._kinds.get(peer_id, "auto")

    def _resume_for(self, peer: RemoteParticipant, kind: str, resume_for: ResumeFor) -> float:
        """Return how many seconds a stream to a peer can outlive a loss, as far as this side knows."""
        session = self._connection.session
        if kind == DUPLEX:
            if not (isinstance(resume_for, str) or resume_for == 0):
                raise UsageError("a duplex stream ends with its connection: resume_for is for classic ones")
            return 0.0
        warn_of_milliseconds(resume_for, "resume_for")
        seconds = RESUME_FOR if isinstance(resume_for, str) else min(check_duration(resume_for, "resume_for"), FOREVER)
        is_classic = kind == CLASSIC or session.is_bridged or CLASSIC in session.dialect.streams
        return seconds if peer._resumes and is_classic else 0.0

    def _is_premature(self, peer: RemoteParticipant, error: StreamRejected) -> bool:
        """Return whether a peer that has just come may only seem to want no streams."""
        arrival = self._arrivals.get(peer.id)
        is_new = arrival is not None and self._runtime.monotonic() - arrival < NEWCOMER
        return is_new and not error.is_final and str(error) == NO_HANDLER

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(
        self,
        to: RemoteParticipant,
        header: Mapping[str, object],
        timeout: Timeout,
        kind: str,
        resume_for: ResumeFor = "default",
    ) -> Endpoints:
        """Open a stream and wait until it is accepted; see `MessagingClient.create_stream`."""
        if kind not in get_args(StreamKind):
            raise ValueError(f"kind is one of {', '.join(get_args(StreamKind))}, not {kind!r}")
        seconds = self._resume_for(to, kind, resume_for)
        deadline = Deadline(self._runtime, self._registry.limit(timeout, OPEN_TIMEOUT))
        while True:
            left = deadline.left()
            try:
                best = self._best_kind(to.id) if kind == "auto" and not seconds else kind
                return self._open(to, header, left, CLASSIC if seconds else best, seconds)
            except StreamRejected as error:
                if not self._is_premature(to, error) or (left is not None and left <= RETRY_AFTER):
                    raise _explained(error, to) from None
            self._runtime.sleep(RETRY_AFTER)

    def _open(
        self, to: RemoteParticipant, header: Mapping[str, object], timeout: float | None, kind: str, seconds: float
    ) -> Endpoints:
        deadline = Deadline(self._runtime, timeout)
        classic = MessageChannel(self._connection, to.id)
        identity = StreamIdentity(_uuid(self._runtime.entropy(16)), to, header, is_opener=True)
        stream = ClientStream(self._registry, classic, identity)
        if seconds:
            self._resumptions.propose(stream, seconds)
        try:
            ends = self._registry.add(stream)
            if self._offer(stream, classic, kind, deadline):
                return ends
        except SendTimeout as error:
            stream.abandon("")
            raise StreamTimeout(str(error)) from error
        except MeshsyncError as error:
            stream.end(error)  # Refused: there is no peer to notify.
            raise
        except BaseException:
            stream.abandon("")
            raise
        stream.abandon("")
        raise StreamTimeout(f"{identity.peer_name} did not answer the offer of a stream within {timeout or 0:.3g} s")

    def _offer(self, stream: ClientStream, classic: MessageChannel, kind: str, deadline: Deadline) -> bool:
        """Offer a stream, in one way or in both; return whether it was accepted in time."""
        identity = stream.identity
        message = Open(identity.stream_id, dict(identity.header), stream.account.window)
        if stream.resumption is not None:
            type, body = encode_stream_message(message)
            self._registry.encode(Send(identity.peer.id, type, body, b""))  # Refused before anything is sent.
            self._resumptions.offer(stream)
            return stream.wait_answer(deadline.left())
        if kind != DUPLEX:
            classic.send(message, f"opening {stream!r}", deadline.left()).wait(deadline.left())
            patience = deadline.left()
            if kind == "auto":
                patience = PATIENCE if patience is None else min(PATIENCE, patience / 2)
            if stream.wait_answer(patience):
                self.peer_understands(identity.peer, CLASSIC)
                return True
        return kind != CLASSIC and self._call(stream, message, deadline, alone=kind == DUPLEX)

    def _call(self, stream: ClientStream, message: Open, deadline: Deadline, *, alone: bool) -> bool:
        """Offer a stream by a call, alone or beside the other way; return whether it was accepted in either."""
        identity = stream.identity

        def answered(error: MeshsyncError | None) -> None:
            refusal = refusal_of(error, alone=alone)
            if refusal is not None:
                stream.refused(refusal)

        caller = CallerChannel(self._connection, identity.peer.id, answered)
        self._registry.calls.add(identity.key, caller)
        if alone:
            stream.channel = caller
        try:
            caller.send(message, f"calling {identity.peer_name}", deadline.left())
            is_accepted = stream.wait_answer(deadline.left())
        finally:
            if stream.channel is not caller:
                self._registry.calls.forget(identity.key)
                ending = Close(identity.stream_id)
                self._registry.send_unawaited(caller, ending, f"ending a call of {stream!r}")
        if is_accepted:
            self.peer_understands(identity.peer, DUPLEX if stream.channel is caller else CLASSIC)
        return is_accepted


def _explained(error: StreamRejected, peer: RemoteParticipant) -> StreamRejected:
    """Return an error that says what has to be done about it: the words on the wire are fixed, and do not."""
    if str(error) != NO_HANDLER:
        return error
    name = peer.name or peer.id
    text = f"{NO_HANDLER}: the program of {name!r} takes none until it calls messaging.enable(callback), or "
    return StreamRejected(text + "messaging.streams() to iterate over them", is_final=error.is_final)


def _uuid(entropy: bytes) -> str:
    """Return 16 bytes as a UUID of version 4 (RFC 9562)."""
    digits = f"{(int.from_bytes(entropy, 'big') & ~(0xF << 76) & ~(0x3 << 62)) | 0x4 << 76 | 0x2 << 62:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
