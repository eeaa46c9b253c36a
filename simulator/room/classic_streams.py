"""Classic streams between two classic clients: messages like any other, which the room passes on as they are.

But a client of a release before 0.10.0 waits for ever at its end of a stream when the other end disappears, and every
classic client does for the answer to its offer. So the room remembers the two ends of each stream, and sends the
rejection or closing in the name of an end that is gone.

And official clients look at a stream's id alone: whoever knows it could write to the stream, or end it. So the room
refuses what a third participant sends about a stream of its recipient.

A stream may outlive the connections of its ends (``meshsync.protocol.stream_messages``): its client comes back under
another id. The room has seen the secret go by with the offer, so it knows the proof that only an end can give, and puts
the new id in the place of the old one.

Source: PROTOCOL.md, sections 8 and 11.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from meshsync.protocol.content import Error, ErrorCode
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.operations import Broadcast, Push, Send
from simulator.room.call_ends import Post, rejection
from simulator.room.members import Member, Output

__all__ = ["MAX_STREAMS", "NOT_YOURS", "ClassicStreams"]

MAX_STREAMS = 1024
"""Streams remembered of one opener; beyond that its oldest are forgotten. A participant that has more, opened by whom
ever, keeps none whose other end has left."""

NOT_YOURS = Error("the stream is another participant's", ErrorCode.INVALID_REQUEST)

_GONE = "the participant was not found"

_HELD = 1024
"""About the bytes of a stream and its places in tables, apart from its id."""


class _Stream:
    """One stream."""

    __slots__ = ("acceptor", "holder", "id", "is_waiting", "opener", "resuming", "secret")

    def __init__(self, id: str, opener: str, acceptor: str, holder: Member) -> None:
        self.id = id
        self.holder = holder
        """The opener, who is charged for what the room remembers."""
        self.opener = opener
        self.acceptor = acceptor
        """Ids of participants."""
        self.is_waiting = True
        """Whether the offer is not answered."""
        self.secret = ""
        """What the ends prove themselves with; empty if the opener offered no resuming."""
        self.resuming: tuple[str, ...] = ()
        """The ends that declared to resume it."""

    def other(self, id: str) -> str:
        return self.acceptor if self.opener == id else self.opener


class ClassicStreams:
    """All classic streams of a room.

    Args:
        post: Writes a push.
        find: Returns the participant with an id.
    """

    def __init__(self, post: Post, find: Callable[[str], Member | None]) -> None:
        self._post = post
        self._find = find
        self._of: dict[str, dict[_Stream, None]] = {}
        """By a participant's id, the streams of which it is an end."""
        self._opened: dict[str, dict[_Stream, None]] = {}
        """By a participant's id, the streams that it opened."""
        self._ends: dict[tuple[str, str], dict[str, _Stream]] = {}
        """By the id of an end and the stream's: by the id of the other end, the stream."""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def has(self, member: Member, stream_id: str) -> bool:
        """Return whether a participant is an end of a stream with that id."""
        return (member.id, stream_id) in self._ends

    def is_end(self, member: Member, request: Send | Broadcast, to: Member) -> bool | None:
        """Return whether the sender of a stream's message is an end of that stream; None if its recipient has none.

        A message may prove to come from an end whose id has changed.
        """
        stream_id = request.message.get("stream_id")
        theirs = self._ends.get((to.id, stream_id)) if isinstance(stream_id, str) else None
        if theirs is None:
            return None
        return member.id in theirs or any(_proves(request, stream, member, to) for stream in theirs.values())

    def note(self, member: Member, request: Send, to: Member) -> None:
        """Note a stream's message that is passed on."""
        stream_id = request.message.get("stream_id")
        if not isinstance(stream_id, str):
            return
        stream = self._find_stream(member, stream_id, to) or self._move(member, request, stream_id, to)
        match request.type:
            case "stream.open":
                self._note_offer(member, request.message, stream_id, to, stream)
            case "stream.accept" if stream is not None and stream.acceptor == member.id:
                stream.is_waiting = False
                self._note_resuming(stream, member, request.message)
            case "stream.close" if stream is not None and stream.resuming and not stream.is_waiting:
                pass  # It has not ended before the other end has all that came before.
            case "stream.reject" | "stream.close" | "stream.meshsync.cancel" | "stream.meshsync.closed":
                if stream is not None:
                    self._forget(stream)

    def _note_offer(self, member: Member, body: JsonObject, stream_id: str, to: Member, stream: _Stream | None) -> None:
        if stream is None:
            stream = _Stream(stream_id, member.id, to.id, member)
            self._add(stream)
        else:
            self._rename(stream, member.id, to.id)
            stream.is_waiting = True
        self._note_resuming(stream, member, body)
        mine = self._opened[member.id]
        if len(mine) > MAX_STREAMS:
            self._forget(next(iter(mine)))

    def _note_resuming(self, stream: _Stream, member: Member, body: JsonObject) -> None:
        resume = _resume(body)
        if resume is None:
            # Without the consent of both, it ends with its connections.
            stream.secret, stream.resuming = "", ()
            return
        stream.resuming = tuple({*stream.resuming, member.id} & {stream.opener, stream.acceptor})
        secret = resume.get("secret")
        if stream.opener == member.id and isinstance(secret, str):
            stream.secret = secret

    def _find_stream(self, member: Member, stream_id: str, to: Member) -> _Stream | None:
        return self._ends.get((to.id, stream_id), {}).get(member.id)

    def _move(self, member: Member, request: Send, stream_id: str, to: Member) -> _Stream | None:
        """Put a new id in the place of an end's earlier one, if the message proves that it is the same end's.

        A proof is its sender's: it moves the end that its recipient has the stream with. Only an opener that offers the
        stream again, and so gives the secret away, chooses the other end itself.
        """
        for stream in self._ends.get((to.id, stream_id), {}).values():
            if _proves(request, stream, member, to):
                self._rename(stream, *((to.id, member.id) if stream.opener == to.id else (member.id, to.id)))
                return stream
        for stream in self._ends.get((member.id, stream_id), {}).values():
            if request.type == "stream.open" and stream.opener == member.id and _proves(request, stream, member, to):
                self._rename(stream, member.id, to.id)
                return stream
        return None

    def _rename(self, stream: _Stream, opener: str, acceptor: str) -> None:
        if (stream.opener, stream.acceptor) != (opener, acceptor):
            new = {stream.opener: opener, stream.acceptor: acceptor}
            resuming = tuple(new[id] for id in stream.resuming)
            self._forget(stream)
            stream.opener, stream.acceptor, stream.resuming = opener, acceptor, resuming
            stream.holder = self._find(opener) or stream.holder
            self._add(stream)

    # --- tables -------------------------------------------------------------------------------------------------------

    def _add(self, stream: _Stream) -> None:
        stream.holder.held += _HELD + 4 * len(stream.id)
        self._opened.setdefault(stream.opener, {})[stream] = None
        for id in (stream.opener, stream.acceptor):
            self._of.setdefault(id, {})[stream] = None
            self._ends.setdefault((id, stream.id), {})[stream.other(id)] = stream

    def _forget(self, stream: _Stream) -> None:
        stream.holder.held -= _HELD + 4 * len(stream.id)
        _remove(self._opened, stream.opener, stream)
        for id in (stream.opener, stream.acceptor):
            _remove(self._of, id, stream)
            _remove(self._ends, (id, stream.id), stream.other(id))

    # --- leaving ------------------------------------------------------------------------------------------------------

    def leave(self, member: Member) -> list[Output]:
        """Forget the streams of a participant that left; return the messages to their other ends.

        A stream whose other end declared to resume it is kept for that end. No end whose client can resume streams is
        sent a closing: it knows by itself which ones to wait for.
        """
        outputs: list[Output] = []
        for stream in tuple(self._of.get(member.id, ())):
            other = self._find(stream.other(member.id))
            if other is not None and other.id in stream.resuming:
                if not stream.secret or len(self._of[other.id]) > MAX_STREAMS:
                    self._forget(stream)
                continue
            self._forget(stream)
            if other is None or other.resumes:
                continue
            if stream.is_waiting and stream.opener == other.id and other.waits_for_answers:
                outputs.append(rejection(self._post, other, member.id, stream.id, _GONE))
            elif other.waits_for_ends:
                outputs.append(_close(self._post, other, member.id, stream.id))
        return outputs


def _remove(table: dict[Any, dict[Any, Any]], key: object, item: object) -> None:
    entries = table.get(key, {})
    entries.pop(item, None)
    if not entries:
        table.pop(key, None)


def _resume(body: JsonObject) -> JsonObject | None:
    own = body.get("meshsync")
    resume = own.get("resume") if isinstance(own, dict) else None
    return resume if isinstance(resume, dict) else None


def _proves(request: Send | Broadcast, stream: _Stream, member: Member, to: Member) -> bool:
    """Return whether a message to one participant shows that its sender knows the secret of a stream.

    An offer that is made again has the secret itself; other messages have a proof for these two ids.
    """
    if not stream.secret or not isinstance(request, Send):
        return False
    if request.type == "stream.open":
        resume = _resume(request.message)
        return resume is not None and resume.get("secret") == stream.secret
    proof = request.message.get("proof")
    if not isinstance(proof, str) or len(proof) != _PROOF_SIZE:
        return False
    texts = "\n".join((stream.id, member.id, to.id)).encode("utf-8", "surrogatepass")
    wanted = hmac.new(stream.secret.encode("utf-8", "surrogatepass"), texts, sha256).hexdigest()
    return hmac.compare_digest(proof.encode("utf-8", "surrogatepass"), wanted.encode())


_PROOF_SIZE = 64
"""Hexadecimal digits. Source: RFC 2104, with SHA-256."""


def _close(post: Post, to: Member, sender: str, stream_id: str) -> Output:
    return post(to, lambda id: Push(sender, "stream.close", {"stream_id": stream_id}))
