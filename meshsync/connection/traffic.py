"""The log of what a connection carries: one line at DEBUG for each request sent and each message received.

Imported when the first line is due: a program that does not ask for it pays one question for each message. Bodies are
shortened, and what may be a secret is hidden; see `meshsync.excerpts`.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from meshsync.excerpts import excerpt, show_name, show_text
from meshsync.protocol import events
from meshsync.protocol.content import Error
from meshsync.protocol.operations import (
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    OpenCall,
    Request,
    Send,
    SetAttributes,
)
from meshsync.protocol.roster import Roster

__all__ = ["log_received", "log_sent"]

_log = logging.getLogger("meshsync.traffic")


def log_sent(client: str, roster: Roster, request_id: int, request: Request, size: int) -> None:
    """Log a request that is about to be handed to the transport.

    Args:
        client: The client's name.
        roster: The names of its peers.
        size: Bytes of the request's body.
    """
    with suppress(Exception):  # A failing log handler must not cost the request, nor end the connection.
        what = _describe_request(roster, request)
        _log.debug("%s: request %d, %d bytes: %s", show_text(client), request_id, size, what)


def log_received(client: str, roster: Roster, event: events.Event) -> None:
    """Log what a message from the room meant; what had no meaning is logged as a warning elsewhere."""
    with suppress(Exception):
        _log.debug("%s: %s", show_text(client), _describe_event(roster, event))


def _describe_request(roster: Roster, request: Request) -> str:
    match request:
        case Send(to, type, message, attachment):
            return f"sends {show_name(type)} to {_name(roster, to)}{_body(message, attachment)}"
        case Broadcast(type, message, attachment):
            return f"broadcasts {show_name(type)}{_body(message, attachment)}"
        case SetAttributes(attributes):
            return f"sets attributes {excerpt(attributes)}"
        case CallChunk(id) | AnswerChunk(_, id):
            return f"sends on stream {show_name(id)}{_content(request)}"
        case OpenCall(id):
            return f"opens stream {show_name(id)}"
        case AnswerCall(push_id, content):
            return f"answers stream {push_id}: {show_text(repr(content))}"
    return f"asks for {request.__class__.__name__.lower()}"


def _describe_event(roster: Roster, event: events.Event) -> str:
    match event:
        case events.Received(sender, type, message, attachment):
            return f"receives {show_name(type)} from {_name(roster, sender)}{_body(message, attachment)}"
        case events.Answered(request_id, Error(text, code)):
            return f"request {request_id} is refused: {f'error {code}, ' if code else ''}{show_text(text)}"
        case events.Answered(request_id):
            return f"request {request_id} is acknowledged"
        case events.MemberAdded(member):
            return f"{_name(roster, member.id)} takes part in messaging: {excerpt(member.attributes)}"
        case events.MemberChanged(member, changes):
            return f"{_name(roster, member.id)} sets attributes {excerpt(changes)}"
        case events.MemberRemoved(member):
            return f"{show_name(str(member.attributes.get('name', member.id)))} takes part in messaging no more"
        case events.Enabled(members):
            return f"others who take part in messaging: {len(members)}"
        case events.Ready(room_name, participant_id=id):
            return f"the room {show_name(room_name)} greets participant {id}"
        case events.StatusReported(status):
            return f"the room's status is {excerpt(status)}"
        case Call(push_id, id, caller):
            return f"receives stream {show_name(id)} of {_name(roster, caller)}, to be answered as {push_id}"
        case CallChunk(id) | AnswerChunk(_, id):
            return f"receives on stream {show_name(id)}{_content(event)}"
        case events.Skipped(reason):
            return f"skips {show_text(reason)}"
    return "takes part in messaging no more"


def _name(roster: Roster, id: str) -> str:
    member = roster.get(id)
    return show_name(id if member is None else str(member.attributes.get("name", id)))


def _body(message: object, attachment: bytes | bytearray | memoryview) -> str:
    attached = f", {len(attachment)} bytes attached" if len(attachment) else ""
    return f": {excerpt(message)}{attached}"


def _content(chunk: CallChunk | AnswerChunk) -> str:
    content = chunk.content
    if isinstance(content, CallMessage):
        return _body(content.message, content.attachment)
    return f": {show_text(repr(content))}"
