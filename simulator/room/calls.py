"""Calls between participants: what becomes of each, from its opening to its end. Sans-I/O.

A call carries a stream between two participants. This room knows each one that is not purely classic: duplex streams,
and those between a client that knows only calls and one that knows only classic streams, which it translates. Classic
streams between two classic clients are messages like any other, and no business of this module. Where PROTOCOL.md
leaves a choice, this room chooses:

- A call is held until its first message names the recipient; the room adds the caller's id to it. Ids of calls are
  passed on unchanged; an id that the recipient or the caller has in use is refused (1004).
- The opener is notified that its recipient is not there (1003), knows no streams (1008), may not send (1001), did not
  answer in time (1009), or left before it answered (1003). A classic opener gets a rejection with that reason.
- Chunks of a call that is unknown or over are answered and otherwise ignored. So is what only the room sends on a call,
  from a recipient; and the sender that a caller states is replaced by its id. A recipient that accepts a classic
  stream too late gets a closing.
- The first closing ends a call. The caller gets a closing back.
- When an end leaves, or disables messaging, the other end gets a closing behind the notification of the leaving: a
  closing alone reads like a regular end. A caller gets `RecipientGone` in between.
- A classic client that rejects since it has no handler is asked again once: it may reject so for a moment after it
  enabled messaging (PROTOCOL.md, section 6.1).

Source: PROTOCOL.md, sections 8, 9 and 11.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import Any

from meshsync.protocol.bridging import NO_HANDLER, chunk_to_message
from meshsync.protocol.content import Control, Error, ErrorCode, Json
from meshsync.protocol.dialects import CLASSIC, DUPLEX
from meshsync.protocol.envelopes import size_in_memory
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    CallChunk,
    CallEnded,
    CallMessage,
    ChunkContent,
    OpenCall,
    RecipientGone,
    Send,
)
from meshsync.runtime.lifecycle import move
from simulator.room.call_ends import (
    CLOSE,
    ClassicAcceptor,
    ClassicOpener,
    DuplexCaller,
    DuplexRecipient,
    Opener,
    Post,
    Recipient,
    rejection,
)
from simulator.room.members import EMPTY, Member, Output, reply

__all__ = ["ANSWER_LIMIT", "MAX_CALLS", "NOT_FOUND", "Calls", "Expired", "Later"]

ANSWER_LIMIT = 30.0
"""Seconds in which a call has to be answered by default. Official callers wait for ever, and a recipient
without a handler never answers."""

MAX_CALLS = 1024
"""Calls that a participant may have open at once."""

_MAX_KEPT = 8 * 1024 * 1024
"""Bytes of first messages that are kept of one opener for a second offer. Beyond that there is none."""

_RETRY_AFTER = 0.1
"""Seconds until a second offer. Source: PROTOCOL.md, section 6.1: a handler was there 50 ms after the reply."""

_UNREADABLE = 1007
"""The status with which a call ends where one end cannot be read. Source: PROTOCOL.md, section 9, refusals."""

_HELD = 1536
"""About the bytes of a call and its places in tables, apart from its id and message."""

NOT_FOUND = Error("the participant was not found", ErrorCode.NOT_FOUND)
"""Some clients match the code, others this exact text. Source: PROTOCOL.md, section 5.3."""

_CLOSED = Error("closed before it was answered", ErrorCode.INVALID_STATE)
_NO_STREAMS = Error("the release that this participant uses has no streams", ErrorCode.OPERATION_FAILED)

Later = Callable[[float, Callable[[], Iterable[Output]]], Callable[[], None]]
"""Routes outputs after a delay in seconds; returns a function that cancels that."""

Expired = Callable[[Member, str, str], None]
"""Notes that a stream was not answered in time: given its opener, its id, and the text of the rejection."""


class CallState(Enum):
    """The life of a call."""

    HELD = "its recipient is not known yet"
    OFFERED = "its recipient has not answered yet"
    ACCEPTED = "both ends may speak"
    OVER = "refused or closed"


_MOVES = {
    CallState.HELD: {CallState.OFFERED, CallState.OVER},
    CallState.OFFERED: {CallState.ACCEPTED, CallState.OVER},
    CallState.ACCEPTED: {CallState.OVER},
    CallState.OVER: set[CallState](),
}


class _Call:
    """One call."""

    def __init__(self, id: str, opener: Opener) -> None:
        self.id = id
        """The call's id, the same at both ends."""
        self.opener = opener
        self.recipient: Recipient | None = None
        """None while the call is held."""
        self.first: CallMessage | None = None
        """The message that opened the call, if it can be offered again; None once it is answered."""
        self.kept = 0
        """Bytes of it, as they are counted."""
        self.is_retried = False
        self.held = _HELD + 4 * len(id)
        """About how many bytes of memory it takes."""
        self.call_off: Callable[[], None] = _nothing
        self.state = CallState.HELD

    def move(self, state: CallState) -> None:
        self.state = move(_MOVES, self.state, state, "a call")


def _nothing() -> None:
    pass


class Calls:
    """All calls of a room.

    Args:
        post: Writes a push.
        find: Returns the participant with an id.
        later: None for no time limit and no second offers.
        answer_limit: Seconds in which a call has to be answered.
        has_stream: Returns whether a participant is an end of a classic stream with an id.
        expired: Notified of each call that is rejected since its recipient has not answered.
    """

    def __init__(
        self,
        post: Post,
        find: Callable[[str], Member | None],
        later: Later | None,
        answer_limit: float,
        has_stream: Callable[[Member, str], bool],
        expired: Expired,
    ) -> None:
        self._expired = expired
        self._has_stream = has_stream
        self._answer_limit = answer_limit
        self._post = post
        self._find = find
        self._later = later
        self._opened: dict[tuple[str, str], _Call] = {}
        """By the opener's id and the call's id."""
        self._offered: dict[tuple[str, str], _Call] = {}
        """By the recipient's id and the call's id."""
        self._called: dict[tuple[str, int], _Call] = {}
        """By the recipient's id and the id of the push that called it."""
        self._of: dict[str, dict[_Call, None]] = {}
        """By the id of either end."""
        self._opened_by: Counter[str] = Counter()
        """By a participant's id, the number of calls that it opened."""
        self._kept: Counter[str] = Counter()
        """By a participant's id, the bytes of first messages that are kept to be offered again."""

    def __len__(self) -> int:
        return len(self._opened)

    @property
    def entries(self) -> int:
        """The number of entries in the tables by which calls are found; 0 once all have ended."""
        found = len(self._opened) + len(self._offered) + len(self._called) + len(self._of)
        return found + len(self._opened_by) + len(self._kept)

    # --- requests of duplex clients -----------------------------------------------------------------------------------

    def open(self, member: Member, request_id: int, request: OpenCall) -> list[Output]:
        """Begin a call, and hold it until its first message."""
        opener = DuplexCaller(self._post, member, request_id, request.call_id)
        refusal = self._begin(_Call(request.call_id, opener), member)
        return [] if refusal is None else opener.refused(refusal)

    def apply_caller_chunk(self, member: Member, request_id: int, chunk: CallChunk) -> list[Output]:
        """Apply a caller's chunk."""
        # Every chunk is answered: clients before 0.47.1 wait for the reply to each.
        outputs = [reply(member, request_id, EMPTY)]
        call = self._opened.get((member.id, chunk.call_id))
        if call is None:
            return outputs
        content = chunk.content
        if call.state is CallState.HELD:
            return outputs + self._address(call, content)
        return outputs + self._from_opener(call, _stamp(content, member.id))

    def _address(self, call: _Call, content: ChunkContent) -> list[Output]:
        if not isinstance(content, CallMessage) or not content.to:
            return self._refuse(call, Error("the first message names no recipient", ErrorCode.INVALID_REQUEST))
        member = self._find(content.to)
        return self._refuse(call, NOT_FOUND) if member is None else self._offer(call, member, content)

    def answer(self, member: Member, answer: AnswerCall) -> list[Output]:
        """Apply a recipient's answer. An answer to a call that is unknown or was answered is ignored."""
        call = self._called.get((member.id, answer.push_id))
        if call is None:
            return []
        match answer.content:
            case Control("open"):
                return self._accept(call)
            case Error() as error:
                return self._refuse(call, error)
        text = "the participant answered with neither acceptance nor refusal"
        return self._refuse(call, Error(text, ErrorCode.UNEXPECTED_RESPONSE))

    def apply_recipient_chunk(self, member: Member, chunk: AnswerChunk) -> list[Output]:
        """Apply a recipient's chunk."""
        call = self._offered.get((member.id, chunk.call_id))
        return [] if call is None or _is_of_the_room(chunk.content) else self._from_recipient(call, chunk.content)

    # --- requests of classic clients ----------------------------------------------------------------------------------

    def translate(self, member: Member, request_id: int, request: Send, to: Member) -> list[Output] | None:
        """Apply a message of a classic stream; return None for a message that is to be delivered as it is."""
        stream_id = request.message.get("stream_id")
        if not isinstance(stream_id, str) or not stream_id:
            return None
        kind = request.type.removeprefix("stream.")
        if kind == "open":
            if CLASSIC not in member.streams:
                if not isinstance(request.message.get("header"), dict):
                    return None  # A program on a newer release uses this message type for its own purpose.
                member.streams |= {CLASSIC}
            if CLASSIC in to.streams:
                return None
            return [reply(member, request_id, EMPTY), *self._bridge(member, stream_id, request, to)]
        call, is_opener = self._find_stream(member, stream_id, to)
        if call is None:
            is_ours = kind in ("accept", "reject", "chunk", "close") or kind.startswith("meshsync.")
            if is_ours and CLASSIC in member.streams and CLASSIC not in to.streams:
                late = [self._close_late(member, stream_id, to)] if kind == "accept" else []
                return [reply(member, request_id, EMPTY), *late]
            return None
        outputs = [reply(member, request_id, EMPTY)]
        match kind, request.message:
            case "chunk", {"header": dict(header)}:
                message = chunk_to_message(header, request.attachment)
                return outputs + (self._from_opener if is_opener else self._from_recipient)(call, message)
            case "close", _:
                return outputs + (self._from_opener if is_opener else self._from_recipient)(call, CLOSE)
            case "accept", _ if not is_opener:
                return outputs + self._accept(call)
            case "reject", body if not is_opener:
                return outputs + self._reject(call, body.get("error"))
        return outputs

    def _bridge(self, member: Member, stream_id: str, request: Send, to: Member) -> list[Output]:
        if DUPLEX not in to.streams:
            return [rejection(self._post, member, to.id, stream_id, _NO_STREAMS.text)]
        opener = ClassicOpener(self._post, member, to.id, stream_id)
        call = _Call(stream_id, opener)
        refusal = self._begin(call, member)
        if refusal is not None:
            return opener.refused(refusal)
        header = request.message.get("header")
        first = chunk_to_message(header if isinstance(header, dict) else {}, request.attachment, is_first=True)
        return self._offer(call, to, first)

    def is_end(self, member: Member, request: Send | Broadcast, to: Member) -> bool | None:
        """Return whether the sender of a stream's message is the other end of a call; None if there is no such call."""
        stream_id = request.message.get("stream_id")
        if not isinstance(stream_id, str) or (request.type == "stream.open" and CLASSIC not in to.streams):
            return None  # (Such an opening is refused as a call.)
        calls = (self._opened.get((to.id, stream_id)), self._offered.get((to.id, stream_id)))
        ends = [end for call in calls if call is not None for end in (call.opener, call.recipient) if end is not None]
        return any(end.member is member for end in ends) if ends else None

    def _find_stream(self, member: Member, stream_id: str, to: Member) -> tuple[_Call | None, bool]:
        """Return the call between ``member``, a classic client, and ``to``; and whether ``member`` opened it."""
        for call, is_opener in (
            (self._opened.get((member.id, stream_id)), True),
            (self._offered.get((member.id, stream_id)), False),
        ):
            # Only its two ends may write to it or end it; classic clients do not check that.
            if call is not None and call.recipient is not None:
                end, other = (call.opener, call.recipient) if is_opener else (call.recipient, call.opener)
                if isinstance(end, (ClassicOpener, ClassicAcceptor)) and other.member is to:
                    return call, is_opener
        return None, False

    def _close_late(self, member: Member, stream_id: str, to: Member) -> Output:
        return ClassicAcceptor(self._post, member, to.id, stream_id).pass_on(CLOSE)[0]

    def _reject(self, call: _Call, reason: Any) -> list[Output]:
        can_retry = not call.is_retried and call.first is not None and self._later is not None
        if reason == NO_HANDLER and can_retry and call.state is CallState.OFFERED:
            call.is_retried = True
            assert self._later is not None
            self._later(_RETRY_AFTER, lambda: self._offer_again(call))
            return []
        text = reason if isinstance(reason, str) else "the participant gave no reason"
        return self._refuse(call, Error(text, ErrorCode.OPERATION_FAILED))

    def _offer_again(self, call: _Call) -> list[Output]:
        if call.state is not CallState.OFFERED or call.recipient is None or call.first is None:
            return []
        return call.recipient.offer(call.first)

    # --- from beginning to end ----------------------------------------------------------------------------------------

    def _begin(self, call: _Call, member: Member) -> Error | None:
        if (member.id, call.id) in self._opened:
            return Error(f"there is a call {call.id!r:.100} already", ErrorCode.ALREADY_EXISTS)
        if self._opened_by[member.id] >= MAX_CALLS:
            return Error(f"at most {MAX_CALLS} calls may be open at once", ErrorCode.OPERATION_FAILED)
        self._opened_by[member.id] += 1
        self._opened[member.id, call.id] = call
        member.held += call.held
        self._of.setdefault(member.id, {})[call] = None
        if self._later is not None:
            call.call_off = self._later(self._answer_limit, lambda: self._give_up(call))
        return None

    def _offer(self, call: _Call, member: Member, first: CallMessage) -> list[Output]:
        if not member.streams:
            return self._refuse(call, _NO_STREAMS)
        if not member.rights.send:  # It could not even accept.
            text = "the participant's token does not allow to answer"
            return self._refuse(call, Error(text, ErrorCode.PERMISSION_DENIED))
        is_duplex = DUPLEX in member.streams
        if (member.id, call.id) in self._offered or (not is_duplex and self._has_id(member, call)):
            text = f"the participant has a call {call.id!r:.100} already"
            return self._refuse(call, Error(text, ErrorCode.ALREADY_EXISTS))
        caller_id = call.opener.member.id
        # (A classic stream to a classic client is not translated, so here calls come first.)
        end = DuplexRecipient if is_duplex else ClassicAcceptor
        call.recipient = recipient = end(self._post, member, caller_id, call.id)
        call.move(CallState.OFFERED)
        self._offered[member.id, call.id] = call
        self._of.setdefault(member.id, {})[call] = None
        outputs = recipient.offer(first)
        if isinstance(recipient, DuplexRecipient):
            self._called[member.id, recipient.push_id] = call
        else:
            self._keep(call, first, sum(size_in_memory(output.head, 0) + len(output.payload) for output in outputs))
        return outputs

    def _has_id(self, member: Member, call: _Call) -> bool:
        """Return whether a classic client has a stream with a call's id, by which alone it would know both."""
        return self._has_stream(member, call.id) or self._opened.get((member.id, call.id), call) is not call

    def _keep(self, call: _Call, first: CallMessage, size: int) -> None:
        opener_id = call.opener.member.id
        if self._later is not None and self._kept[opener_id] + size <= _MAX_KEPT:
            call.first, call.kept = first, size
            self._kept[opener_id] += size
            call.opener.member.held += size

    def _drop_first(self, call: _Call) -> None:
        """Drop the message that opened a call: there will be no second offer."""
        opener_id = call.opener.member.id
        self._kept[opener_id] -= call.kept
        call.opener.member.held -= call.kept
        if not self._kept[opener_id]:
            del self._kept[opener_id]
        call.first, call.kept = None, 0

    def _accept(self, call: _Call) -> list[Output]:
        if call.state is not CallState.OFFERED:
            return []
        call.move(CallState.ACCEPTED)
        self._drop_first(call)
        call.call_off()
        return call.opener.accepted()

    def _refuse(self, call: _Call, error: Error) -> list[Output]:
        if call.state is CallState.ACCEPTED:  # Answered twice.
            return []
        self._end(call)
        return call.opener.refused(error)

    def _from_opener(self, call: _Call, content: ChunkContent) -> list[Output]:
        assert call.recipient is not None
        if not _is_close(content):
            return call.recipient.pass_on(content)
        was_accepted = call.state is CallState.ACCEPTED
        self._end(call)
        # Every request gets an answer, and the caller of a closed call a closing.
        back = call.opener.pass_on(CLOSE) if was_accepted else call.opener.refused(_CLOSED)
        return call.recipient.pass_on(content) + (back if isinstance(call.opener, DuplexCaller) else [])

    def _from_recipient(self, call: _Call, content: ChunkContent) -> list[Output]:
        if call.state is not CallState.ACCEPTED:
            # The first message that a caller gets is the acceptance.
            return self._refuse(call, _CLOSED) if _is_close(content) else []
        if _is_close(content):
            self._end(call)
        return call.opener.pass_on(content)

    def _give_up(self, call: _Call) -> list[Output]:
        if call.state not in (CallState.HELD, CallState.OFFERED):
            return []
        text = f"the participant did not answer within {self._answer_limit:g} s"
        self._expired(call.opener.member, call.id, text)
        outputs = self._refuse(call, Error(text, ErrorCode.TIMEOUT))
        return outputs + (call.recipient.pass_on(CLOSE) if call.recipient is not None else [])

    def refuse_held(self, member: Member, call_id: str, error: Error) -> list[Output]:
        """Refuse a call whose first message cannot be read, since its opener waits for an answer to it."""
        call = self._opened.get((member.id, call_id))
        return self._refuse(call, error) if call is not None and call.state is CallState.HELD else []

    def fail(self, member: Member, push_id: int, reason: str, *, is_answer: bool) -> list[Output]:
        """End a call of whose recipient something cannot be read, so that no part of a stream is missing unnoticed."""
        call = self._called.get((member.id, push_id))
        if call is None or call.recipient is None:
            return []
        recipient, is_accepted = call.recipient, call.state is CallState.ACCEPTED
        if is_accepted and is_answer:  # Answered twice.
            return []
        broken = Control("close", _UNREADABLE, reason)
        if not is_accepted:
            return [*self._refuse(call, Error(reason, ErrorCode.UNEXPECTED_RESPONSE)), *recipient.pass_on(broken)]
        self._end(call)
        return [*call.opener.pass_on(broken), *recipient.pass_on(broken)]

    def refuse(self, member: Member, call_id: str, error: Error) -> list[Output]:
        """Refuse a call that a participant opened, as if its recipient had."""
        call = self._opened.get((member.id, call_id))
        return [] if call is None else self._refuse(call, error)

    def leave(self, member: Member) -> list[Output]:
        """End the calls of a participant that has left or disabled messaging."""
        outputs: list[Output] = []
        for call in tuple(self._of.get(member.id, ())):
            was_accepted = call.state is CallState.ACCEPTED
            self._end(call)
            if call.opener.member is member:
                outputs += call.recipient.pass_on(CLOSE) if call.recipient is not None else []
                outputs += call.opener.pass_on(CLOSE) if was_accepted else call.opener.refused(_CLOSED)
            elif was_accepted:
                outputs += call.opener.left(member.id) + call.opener.pass_on(CLOSE)
            else:
                outputs += call.opener.refused(NOT_FOUND)
        self._of.pop(member.id, None)
        return outputs

    def _end(self, call: _Call) -> None:
        call.move(CallState.OVER)
        call.call_off()
        self._drop_first(call)
        ends = [call.opener.member]
        call.opener.member.held -= call.held
        opener_id = call.opener.member.id
        del self._opened[opener_id, call.id]
        self._opened_by[opener_id] -= 1
        if not self._opened_by[opener_id]:
            del self._opened_by[opener_id]
        if call.recipient is not None:
            recipient = call.recipient.member
            ends.append(recipient)
            del self._offered[recipient.id, call.id]
            if isinstance(call.recipient, DuplexRecipient):
                del self._called[recipient.id, call.recipient.push_id]
        for member in ends:
            mine = self._of.get(member.id, {})
            mine.pop(call, None)
            if not mine:
                self._of.pop(member.id, None)


def _stamp(content: ChunkContent, sender: str) -> ChunkContent:
    """Return a caller's chunk with its sender where another is stated, and without a recipient, which is fixed."""
    if isinstance(content, CallMessage) and (content.sender or content.to):
        return replace(content, sender=sender if content.sender else "", to="")
    if isinstance(content, Json) and _SENDER in content.json:
        return Json(content.json | {_SENDER: sender})
    return content


_SENDER = "from_participant_id"


def _is_of_the_room(content: ChunkContent) -> bool:
    """Return whether only a room may send that to a caller, complete or not: clients trust it."""
    if isinstance(content, Json):
        return content.json.get("kind") in ("accepted", "client_disconnected", "closed")
    return isinstance(content, (Accepted, RecipientGone, CallEnded))


def _is_close(content: ChunkContent) -> bool:
    return isinstance(content, Control) and content.method == "close"
