"""Classic streams between two classic clients: messages like any other, which the room passes on as they are.

But a client of a release before 0.10.0 waits for ever at its end of a stream when the other end disappears, and every
classic client does for the answer to its offer. So the room remembers the two ends of each stream, and sends the
rejection or closing in the name of an end that is gone.

Source: PROTOCOL.md, sections 8 and 11.
"""

from __future__ import annotations

from collections.abc import Callable

from meshsync.protocol.operations import Push, Send
from simulator.room.call_ends import Post, rejection
from simulator.room.members import Member, Output

__all__ = ["MAX_STREAMS", "ClassicStreams"]

MAX_STREAMS = 1024
"""Streams remembered of one participant; beyond that the oldest are forgotten."""

_GONE = "the participant was not found"

_Key = tuple[str, str]
"""The id of the participant at the other end, and the stream's."""


class ClassicStreams:
    """All classic streams of a room.

    Args:
        post: Writes a push.
        find: Returns the participant with an id.
    """

    def __init__(self, post: Post, find: Callable[[str], Member | None]) -> None:
        self._post = post
        self._find = find
        self._of: dict[str, dict[_Key, bool]] = {}
        """By a participant's id, its streams; true for those that it offered and that are not answered."""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def note(self, member: Member, request: Send, to: Member) -> None:
        """Note a stream's message that is passed on."""
        stream_id = request.message.get("stream_id")
        if not isinstance(stream_id, str):
            return
        match request.type:
            case "stream.open":
                self._remember(member, (to.id, stream_id), is_waiting=True)
                self._remember(to, (member.id, stream_id), is_waiting=False)
            case "stream.accept":
                theirs = self._of.get(to.id, {})
                if (member.id, stream_id) in theirs:
                    theirs[member.id, stream_id] = False
            case "stream.reject" | "stream.close" | "stream.meshsync.cancel":
                self._forget(member, (to.id, stream_id))
                self._forget(to, (member.id, stream_id))

    def _remember(self, member: Member, key: _Key, *, is_waiting: bool) -> None:
        streams = self._of.setdefault(member.id, {})
        if key not in streams:
            member.held += _held(key)
        streams[key] = is_waiting
        if len(streams) > MAX_STREAMS:
            oldest = next(iter(streams))
            del streams[oldest]
            member.held -= _held(oldest)

    def _forget(self, member: Member, key: _Key) -> None:
        streams = self._of.get(member.id, {})
        if streams.pop(key, None) is not None:
            member.held -= _held(key)
        if not streams:
            self._of.pop(member.id, None)

    def leave(self, member: Member) -> list[Output]:
        """Forget the streams of a participant that left; return the messages to their other ends."""
        outputs: list[Output] = []
        for other_id, stream_id in self._of.pop(member.id, {}):
            is_waiting = self._of.get(other_id, {}).get((member.id, stream_id), False)
            member.held -= _held((other_id, stream_id))
            other = self._find(other_id)
            if other is None:
                continue
            self._forget(other, (member.id, stream_id))
            if is_waiting and other.waits_for_answers:
                outputs.append(rejection(self._post, other, member.id, stream_id, _GONE))
            elif other.waits_for_ends:
                outputs.append(_close(self._post, other, member.id, stream_id))
        return outputs


def _held(key: _Key) -> int:
    """Return about how many bytes of memory an end of a stream takes."""
    return 256 + 2 * len(key[1])


def _close(post: Post, to: Member, sender: str, stream_id: str) -> Output:
    return post(to, lambda id: Push(sender, "stream.close", {"stream_id": stream_id}))
