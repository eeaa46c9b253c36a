"""What to write in place of names and spellings that programs try in vain: asyncio's, the official client's, typos.

They stay errors: a name that worked here would be one more to know, and to keep. Type checkers do not see these
methods, so that to them the spellings are as wrong as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = [
    "TASK",
    "Hinted",
    "HintedClass",
    "HintedData",
    "HintedMessaging",
    "HintedRoomClient",
    "bytes_hint",
    "each",
    "hint_for",
    "json_hint",
    "module_error",
]


def each(names: str, there: str) -> dict[str, str]:
    """Return a table in which several names are the same here."""
    return dict.fromkeys(names.split(), there)


_WHO = "room.messaging.remote_participants"
_ROOM = {
    "participants": _WHO,
    "get_participants": _WHO,
    "set_attribute": "room.local_participant.set_attribute",
    "attributes": "room.local_participant.attributes",
    "name": "room.room_name, or room.local_participant.name",
    "id": "room.local_participant.id",
    "disconnect": "room.close",
    "leave": "room.close",
    "stop": "room.close",
    "exit": "room.close",
    "connect": "meshsync.connect, which returns when the room is joined",
    "start": "meshsync.connect, which returns when the room is joined",
    "open": "meshsync.connect, which returns when the room is joined",
    "join": "meshsync.connect, which returns when the room is joined",
    "run": "room.run_forever",
    "serve_forever": "room.run_forever",
    "send": "room.messaging.send_message",
    "broadcast": "room.messaging.broadcast_message",
    "wait": "room.wait_closed, or room.run_forever",
    "is_closed": "not room.is_connected",
    "wait_until_connected": "nothing: meshsync.connect returns when the room is joined",
    **each("close_kind close_reason close_code", "room.state; and why: the text of what a call raises"),
    "protocol": "room.messaging: what programs send goes through it",
    **each("emit fire", "room.messaging.send_message, or broadcast_message: events come from the room"),
    "timeout": "room.default_timeout",
    "agent": "room.messaging.on_request(type) for a function that answers",
}
_REPLY = "event.reply, of the event that a receiver gets; a handler of on_request returns the answer"
_MESSAGING = {
    "participants": "remote_participants",
    "online": "remote_participants",
    **each("emit fire", "send_message, or broadcast_message: events come from the room"),
    "get_participants": "remote_participants",
    "send": "send_message",
    "publish": "broadcast_message",
    "broadcast": "broadcast_message",
    "receive": "messages, to iterate over",
    "listen": "on_message, or messages, to iterate over",
    "subscribe": "messages, to iterate over",
    "recv": "wait_for_message",
    "start": "enable",
    "join": "enable",
    "connect": "enable",
    "stop": "disable",
    "leave": "disable",
    "close": "room.close, or disable to leave messaging alone",
    "off_message": "the cancel() of what on_message returned, or off('message', receiver)",
    "once": "wait_for_message",
    **each("request request_reply call rpc query invoke send_request ask_one", "ask"),
    **each("request_all call_all broadcast_request ask_many gather", "ask_all"),
    **each("reply answer respond reply_to send_reply", _REPLY),
    **each("on_ask on_call on_question on_rpc handle handler serve", "on_request"),
    **each("register expose method route rpc_method register_method add_handler", "on_request"),
    **each("on_reply on_answer on_response", "nothing: the answer is what ask returns"),
    **each("refuse reject", "raise meshsync.Refuse(text), in a handler of on_request"),
    "add_listener": "on, or on_message",
    "wait_for": "wait_for_message, or wait_for_participant",
    "on_stream": "enable(callback), or streams, to iterate over",
    "send_stream": "create_stream",
    "upload": "send_file",
    "download": "receive_file",
    "open_stream": "create_stream",
    "stream": "create_stream, or streams for those that peers open",
    "set_attribute": "room.local_participant.set_attribute",
    "local_participant": "room.local_participant",
}
_FEED = {
    "receive": "get",
    "recv": "get",
    "read": "get",
    "next": "get",
    "wait": "get",
    "get_nowait": "get(timeout=0)",
    "empty": "pending",
    "qsize": "pending",
    "stop": "close",
    "cancel": "close",
    "unsubscribe": "close",
}
_ANSWERS = {
    **each("get receive wait next", "iteration: for answer in answers"),
    **each("results result answers", "iteration, or list(answers)"),
    **each("errors exceptions missing", "failures"),
    "stop": "close",
    "cancel": "close",
}
_READER = {
    "read_chunks": "iteration: for chunk in reader",
    "message": "header, the object that came with the offer; chunks come by iteration",
    **each("close_reason close_code", "the text of what reading raises, unless the stream ended well"),
    "chunks": "iteration: for chunk in reader",
    "receive": "read",
    "recv": "read",
    "get": "read",
    "readline": "read, for a chunk",
    "read_text": "read_all().decode()",
    "cancel": "close",
    "stop": "close",
    "id": "stream_id",
    "participant": "sender",
    "from_participant": "sender",
}
_WRITER = {
    **each("send send_message send_chunk", "write"),
    **each("receive read recv", "reader.read, of a stream whose peer writes too: create_stream(kind='duplex')"),
    "write_chunk": "write",
    "put": "write",
    "writelines": "write, once for each chunk",
    "end": "close",
    "finish": "close",
    "write_eof": "close",
    "drain": "flush",
    "cancel": "abort",
    "stop": "close, or abort for one that is incomplete",
    "id": "stream_id",
    "participant": "to",
}
_MESSAGE = {
    "text": "message.message['text']: what was sent is the dict .message",
    "body": "message.message, the dict that was sent",
    "data": "message.message, the dict that was sent; bytes are .attachment",
    "content": "message.message, the dict that was sent",
    "get": "message.message.get: what was sent is the dict .message",
    "participant": "sender",
    "from_participant": "sender",
    "sender_id": "from_participant_id",
    "reply": "reply of the event, which a receiver gets: on_message, or on_request",
    "attachments": "attachment, which is one",
    "answer": "reply of the event, which a receiver gets: on_message, or on_request",
    "respond": "reply of the event, which a receiver gets: on_message, or on_request",
    "message_type": "type",
    "payload": "message.message, the dict that was sent; bytes are .attachment",
}
_EVENT = {
    "sender": "participant",
    "from_participant": "participant",
    "from_participant_id": "event.message.from_participant_id",
    "type": "event.message.type",
    "attachment": "event.message.attachment",
    "text": "event.message.message['text']: what was sent is the dict event.message.message",
    "body": "event.message.message, the dict that was sent",
    "data": "event.message.message, the dict that was sent",
    "content": "event.message.message, the dict that was sent",
    "get": "event.message.message.get: what was sent is the dict event.message.message",
    "answer": "reply",
    "respond": "reply",
    "send_reply": "reply",
    "payload": "event.message.message, the dict that was sent",
    "message_type": "event.message.type",
    "refuse": "raise meshsync.Refuse(text), in a handler of on_request",
    "reject": "raise meshsync.Refuse(text), in a handler of on_request",
}
_PARTICIPANT = {
    "send_message": "room.messaging.send_message(participant, …)",
    "send": "room.messaging.send_message(participant, …)",
    "create_stream": "room.messaging.create_stream(participant)",
    "display_name": "name",
    "participant_id": "id",
    "get": "get_attribute",
}
TASK = {
    **each("result get_result value exception", "error; what the function returns is dropped: keep it in a list"),
    **each("wait get", "join"),
    "done": "is_done",
    "is_alive": "not is_done",
    **each("cancel kill stop terminate", "nothing: it ends by itself; in a simulation sim.crash(name) ends a program"),
    "start": "nothing: it has begun",
}
"""Of tasks, in each world."""
_MODULE = {
    **each("Client RoomConnection WebSocketClientProtocol", "connect, which returns a RoomClient"),
    **each("join join_room open create_client", "connect"),
    **each("Room MeshsyncClient", "RoomClient, which connect returns"),
    **each("Message MessageEvent", "RoomMessage, and RoomMessageEvent for a receiver"),
    **each("Participant Peer", "RemoteParticipant, and LocalParticipant for this client's own"),
    **each("RoomException RoomServerException Error MeshSyncError", "MeshsyncError"),
    **each("RequestRejected RequestDenied Refused", "RequestRefused; a handler raises Refuse"),
    **each("Reject Refusal Decline", "Refuse, which a handler of on_request raises"),
    **each("RequestTimeout AskTimeout TimeoutError Timeout", "ReceiveTimeout, a TimeoutError"),
    **each("websocket_room_url websocket_protocol WebSocketRoomProtocol", "connect(room, url=…)"),
    "MessageStream": "MessageStreamWriter, which create_stream returns, and MessageStreamReader",
    **each("ask on_request send on_message", "a method of room.messaging"),
    **each("Simulation Emulator faults latency explore", "in the package simulator"),
}
_TOKEN = {
    "to_jwt": "encode",
    **each(
        "from_jwt verify from_string from_text load parse", "ParticipantToken.decode, or peek, which verifies nothing"
    ),
    **each("create make new build generate", "ParticipantToken.for_room(room, name, role=…)"),
    **each("sign issue", "encode(secret), of what ParticipantToken.for_room(room, name, role=…) returns"),
    **each("add_room_grant add_api_grant add_grant add_role_grant", "ParticipantToken.for_room(room, name, role=…)"),
}
_DELIVERY = {
    "result": "wait",
    "done": "is_done",
    "get": "wait",
    "join": "wait",
    "add_done_callback": "wait, in a task that meshsync.spawn starts",
}
_CHUNK = {
    "decode": "chunk.data.decode()",
    **each("body content payload bytes attachment", "data"),
    "message": "header, the JSON object of a chunk",
    "get": "chunk.header.get",
}
_ITEMS = {
    "Answers": ": iterate over it, or over list(answers)",
    "Feed": ": get() gives the next one, and 'for' all of them",
    "IteratedReader": ": iterate over it, or call read_all() for its bytes",
    "RoomParticipant": ": its attributes are got by get_attribute(name)",
    "MessageStreamChunk": ": its bytes are .data, and its JSON object is .header",
}
"""By class, what is to be done in place of an index."""
_SPELLINGS: dict[str, dict[str, str]] = {
    "RoomClient": _ROOM,
    "MessagingClient": _MESSAGING,
    "ParticipantToken": _TOKEN,
    "Feed": _FEED,
    "Answers": _ANSWERS,
    "IteratedReader": _READER,
    "MessageStreamChunk": _CHUNK,
    "ClosingWriter": _WRITER,
    "RoomMessage": _MESSAGE,
    "RoomMessageEvent": _EVENT,
    "RoomParticipant": _PARTICIPANT,
    "LocalParticipant": {"attribute": "get_attribute", "set": "set_attribute"},
    "RemoteParticipant": {
        "is_online": "online",
        "set_attribute": "nothing: only a participant itself sets its attributes",
    },
    "Delivery": _DELIVERY,
    "ThreadTask": TASK,
}
"""By class, a name that programs try, and what it is here; classes of others have a ``_spellings`` of their own."""


def hint_for(kind: type, name: str) -> str:
    """Return what to write in place of a name that a class has not, as the end of an error's text; "" if unknown."""
    spellings = _spellings_of(kind)
    if name in spellings:
        return f": it is {spellings[name]}"
    snake = _snake(name)
    if snake != name:
        if hasattr(kind, snake):
            return f": it is {snake}"
        return hint_for(kind, snake)
    from difflib import get_close_matches  # Few programs need it.

    known = [one for one in dir(kind) if not one.startswith("_")]
    near = get_close_matches(name, [*known, *spellings], 1, 0.7)
    if not near:
        return ""
    return f": did you mean {near[0]}?" if near[0] in known else f": it is {spellings[near[0]]}"


def _spellings_of(kind: type) -> dict[str, str]:
    """Return what is known of names that a class has not; its own spellings beat those of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found.update(vars(base).get("_spellings", _SPELLINGS.get(base.__name__, {})))
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def module_error(module: str, name: str, spellings: Mapping[str, str] = _MODULE) -> AttributeError:
    """Return the error of a name that a package has not; the interpreter adds a guess where nothing is known.

    Args:
        spellings: What is known, by the names that programs try; by default those of ``meshsync``.
    """
    text = f"module {module!r} has no attribute {name!r}"
    there = spellings.get(name)
    return AttributeError(text) if there is None else AttributeError(f"{text}: it is {there}", name=None, obj=None)


def json_hint(value: object) -> str:
    """Return what to send in place of a value that is not JSON, as the end of an error's text; "" if unknown."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "; bytes are sent as the attachment, or as a text such as base64"
    for names, way in (
        (("isoformat",), "its isoformat()"),  # Dates and times.
        (("dtype", "tolist"), "its tolist()"),  # What numpy makes.
        (("to_dict",), "its to_dict()"),
        (("__fspath__",), "str() of it"),
        (("hex", "urn"), "str() of it"),  # UUIDs.
        (("__next__",), "a list of it"),
        (("isdisjoint",), "a list of it"),  # Sets.
        (("as_integer_ratio",), "float() or str() of it"),  # Decimals and fractions.
        (("_member_map_",), "its value"),
        (("value", "name", "_value_"), "its value"),  # Members of enumerations.
    ):
        if all(hasattr(value, name) for name in names):
            return f"; send {way}"
    return "; send a dict, list, text, number, True, False or None in its place"


def bytes_hint(value: object) -> str:
    """Return what to give in place of a value that holds no bytes, as the end of an error's text."""
    if isinstance(value, str):
        return "; give text.encode()"
    if hasattr(value, "read_bytes"):
        return "; give path.read_bytes(), or use send_file()"
    if hasattr(value, "read"):
        return "; give file.read() of a file opened in binary mode, or use send_file()"
    if isinstance(value, (dict, list, int, float)):
        return "; give json.dumps(…).encode()"
    return "; give bytes, a bytearray or a memoryview"


class Hinted:
    """Something whose missing names, and whose asynchronous use, are answered by what to write."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            if hasattr(kind, name):
                return object.__getattribute__(self, name)  # A property that raised: with its own error.
            text = f"{kind.__name__!r} object has no attribute {name!r}"
            if name.startswith("_") or not (hint := self._hint(name)):
                raise AttributeError(text)
            raise AttributeError(text + hint, name=None, obj=None)  # Or the interpreter would add a guess of its own.

        def _hint(self, name: str) -> str:
            return hint_for(type(self), name)

        def __getitem__(self, key: object) -> NoReturn:
            items = next((_ITEMS[base.__name__] for base in type(self).__mro__ if base.__name__ in _ITEMS), "")
            raise TypeError(f"{_name(self)!r} object has no items{items}")

        def __await__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: what returned this {_name(self)} is done; leave 'await' out")

        async def __aenter__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: write 'with' in place of 'async with' for a {_name(self)}")

        async def __aexit__(self, *error: object) -> None:
            """Here, since Python looks for both before it calls the other one."""

        def __aiter__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: write 'for' in place of 'async for' over a {_name(self)}")


class HintedClass(type):
    """The class of classes whose own missing names are answered, too: of those that programs use without an object."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> NoReturn:
            text = f"type object {cls.__name__!r} has no attribute {name!r}"
            if name.startswith("_") or not (hint := hint_for(cls, name)):
                raise AttributeError(text)
            raise AttributeError(text + hint, name=None, obj=None)


class HintedRoomClient(Hinted):
    """A joined room, whose messaging is a part of its own."""

    if not TYPE_CHECKING:

        def _hint(self, name: str) -> str:
            messaging = type(vars(self).get("messaging"))
            if hasattr(messaging, _snake(name)):
                return f": it is room.messaging.{_snake(name)}"
            return super()._hint(name) or re.sub(
                r"(?<=: it is |ou mean )(\w+)",
                lambda found: f"room.messaging.{found[1]}" if hasattr(messaging, found[1]) else found[1],
                hint_for(messaging, name),
            )

        def __setattr__(self, name: str, value: object) -> None:
            if not hasattr(type(self), name) and (there := _ROOM.get(name)):
                raise AttributeError(
                    f"{_name(self)!r} object has no attribute {name!r} that could be set: it is {there}"
                )
            super().__setattr__(name, value)

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a {_name(self)} is no iterator: write 'for message in room.messaging.messages()'")

        def __reduce_ex__(self, protocol: object) -> NoReturn:
            raise TypeError(_no_copy(self))


class HintedData(Hinted):
    """A message or an event, which is taken for the dict that was sent."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getitem__(self, key: object) -> NoReturn:
            is_event = any(base.__name__ == "RoomMessageEvent" for base in type(self).__mro__)
            there = "event.message.message" if is_event else "message.message"
            raise TypeError(f"a {_name(self)} is no dict: what was sent is the dict {there}")


class HintedMessaging(Hinted):
    """A messaging client, which is taken for the room, or for a subscription."""

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a {_name(self)} is no iterator: write 'for message in messaging.messages()'")

        def __reduce_ex__(self, protocol: object) -> NoReturn:
            raise TypeError(_no_copy(self))

        def __enter__(self) -> NoReturn:
            raise TypeError("it is the room that is closed: write 'with meshsync.connect(…) as room'")

        def __exit__(self, *error: object) -> None:
            """Here, since Python looks for both before it calls the other one."""


def _no_copy(value: object) -> str:
    return f"a {_name(value)} has a connection, and is neither pickled nor copied: connect where it is to be used"


def _name(value: object) -> str:
    return type(value).__name__
