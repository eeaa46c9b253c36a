"""What to write in place of names and spellings that programs try in vain: asyncio's, the official client's, typos.

They stay errors: a name that worked here would be one more to know, and to keep. Type checkers do not see these
methods, so that to them the spellings are as wrong as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["Hinted", "HintedData", "HintedMessaging", "HintedRoomClient", "bytes_hint", "hint_for", "json_hint"]

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
}
_MESSAGING = {
    "participants": "remote_participants",
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
    "request": "ask",
    "call": "ask",
    "reply": "event.reply, of the event that a receiver gets",
    "answer": "event.reply, of the event that a receiver gets",
    "on_ask": "on_request",
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
_READER = {
    "read_chunks": "iteration: for chunk in reader",
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
    "send": "write",
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
}
_PARTICIPANT = {
    "send_message": "room.messaging.send_message(participant, …)",
    "send": "room.messaging.send_message(participant, …)",
    "create_stream": "room.messaging.create_stream(participant)",
    "display_name": "name",
    "participant_id": "id",
    "get": "get_attribute",
}
_DELIVERY = {
    "result": "wait",
    "done": "is_done",
    "get": "wait",
    "join": "wait",
    "add_done_callback": "wait, in a task that meshsync.spawn starts",
}
_SPELLINGS: dict[str, dict[str, str]] = {
    "RoomClient": _ROOM,
    "MessagingClient": _MESSAGING,
    "Feed": _FEED,
    "IteratedReader": _READER,
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
}
"""By class, a name that programs try, and what it is here; classes of others have a ``_spellings`` of their own."""


def hint_for(kind: type, name: str) -> str:
    """Return what to write in place of a name that a class has not, as the end of an error's text; "" if unknown."""
    for base in kind.__mro__:
        there = vars(base).get("_spellings", _SPELLINGS.get(base.__name__, {})).get(name)
        if there is not None:
            return f": it is {there}"
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if snake != name:
        if hasattr(kind, snake):
            return f": it is {snake}"
        return hint_for(kind, snake)
    from difflib import get_close_matches  # Few programs need it.

    near = get_close_matches(name, [known for known in dir(kind) if not known.startswith("_")], 1, 0.7)
    return f": did you mean {near[0]}?" if near else ""


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

        def __await__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: what returned this {_name(self)} is done; leave 'await' out")

        async def __aenter__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: write 'with' in place of 'async with' for a {_name(self)}")

        async def __aexit__(self, *error: object) -> None:
            """Here, since Python looks for both before it calls the other one."""

        def __aiter__(self) -> NoReturn:
            raise TypeError(f"meshsync is synchronous: write 'for' in place of 'async for' over a {_name(self)}")


class HintedRoomClient(Hinted):
    """A joined room, whose messaging is a part of its own."""

    if not TYPE_CHECKING:

        def _hint(self, name: str) -> str:
            if hasattr(type(vars(self).get("messaging")), name):
                return f": it is room.messaging.{name}"
            return super()._hint(name)

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a {_name(self)} is no iterator: write 'for message in room.messaging.messages()'")


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

        def __enter__(self) -> NoReturn:
            raise TypeError("it is the room that is closed: write 'with meshsync.connect(…) as room'")

        def __exit__(self, *error: object) -> None:
            """Here, since Python looks for both before it calls the other one."""


def _name(value: object) -> str:
    return type(value).__name__
