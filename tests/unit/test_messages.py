"""Messages, events and participants as values: pickled, copied, as dicts, as JSON."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from types import MappingProxyType
from typing import Any

import pytest

from meshsync import errors
from meshsync.errors import ConnectionLost, MeshsyncError, StreamRejected, UsageError
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.participants import LocalParticipant, RemoteParticipant
from tests.support.stream_tables import TableOfStreams
from tests.support.textless import Textless

BODY: dict[str, Any] = {"n": 1, "nested": [{"a": None}, "b"]}
COPIES: list[Callable[[Any], Any]] = [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy]


def bob() -> RemoteParticipant:
    """Return a peer."""
    return RemoteParticipant("p-2", "agent", {"name": "bob", "tags": ["calm"]})


def message(sender: RemoteParticipant | LocalParticipant | None = None) -> RoomMessage:
    """Return a message."""
    return RoomMessage("chat", copy.deepcopy(BODY), b"\x01", "p-2", sender)


@pytest.mark.parametrize("copied", COPIES)
def test_message_is_equal_in_its_copy(copied: Callable[[Any], Any]) -> None:
    """Type, body, attachment and the sender as it was."""
    again = copied(message(bob()))
    assert again == message()
    assert (type(again.message), again.message) == (dict, BODY)
    assert (again.sender.id, again.sender.role, again.sender.online) == ("p-2", "agent", True)
    assert again.sender.attributes == {"name": "bob", "tags": ["calm"]}


@pytest.mark.parametrize("copied", COPIES)
def test_event_keeps_its_parts_together_in_its_copy(copied: Callable[[Any], Any]) -> None:
    """The sender of the message and the participant of the event are one object there, too."""
    peer = bob()
    again = copied(RoomMessageEvent("message", message(peer), peer))
    assert (again.name, again.message, again.stream, again.error) == ("message", message(), None, None)
    assert again.participant is again.message.sender


@pytest.mark.parametrize("copied", COPIES)
def test_event_of_a_stream_is_copied_without_it(copied: Callable[[Any], Any]) -> None:
    """A stream is live; the dict of an event has the stream itself."""
    table = TableOfStreams()
    table.table.accepter = lambda reader: None
    table.hear("open", header={"n": 1})
    (reader,) = (each.reader for each in table.table._registry._streams.values())
    event = RoomMessageEvent("stream_opened", message(), None, reader)
    assert copied(event).stream is None
    assert asdict(event)["stream"] is reader


@pytest.mark.parametrize("copied", COPIES)
def test_event_keeps_an_error_as_far_as_it_can(copied: Callable[[Any], Any]) -> None:
    """Ours with its attributes; one that cannot be pickled by its class and text."""

    class OddError(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(one + two)

    lost = copied(RoomMessageEvent("disconnected", message(), error=ConnectionLost("gone", code=1006))).error
    assert (type(lost), str(lost), lost.code) == (ConnectionLost, "gone", 1006)
    odd = copied(RoomMessageEvent("receiver_failed", message(), error=OddError("a", "b"))).error
    assert (type(odd), str(odd)) == (MeshsyncError, "OddError: ab")

    class Mute(OddError, Textless):
        __str__ = Textless.__str__

    mute = copied(RoomMessageEvent("receiver_failed", message(), error=Mute("a", "b"))).error
    assert str(mute) == "Mute: (Mute without a text)"


def test_every_error_of_ours_can_be_pickled() -> None:
    """With its text and its attributes."""
    for name in errors.__all__:
        error = getattr(errors, name)("text")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), "text", vars(error))
    assert pickle.loads(pickle.dumps(StreamRejected("no", is_final=True))).is_final


def test_message_and_event_are_dicts_down_to_the_participant() -> None:
    """All of it is JSON then, but for the attachment."""
    peer = bob()
    described = {"id": "p-2", "role": "agent", "attributes": {"name": "bob", "tags": ["calm"]}, "online": True}
    as_dict = asdict(RoomMessageEvent("message", message(peer), peer))
    assert as_dict["participant"] == as_dict["message"]["sender"] == described
    assert json.loads(json.dumps(as_dict, default=bytes.hex))["message"]["attachment"] == "01"
    me = LocalParticipant("p-1", "user", {"name": "me"}, lambda attributes: None)
    assert is_dataclass(me)
    assert asdict(me) == {"id": "p-1", "role": "user", "attributes": {"name": "me"}}


def test_attributes_are_json_and_their_copies_plain() -> None:
    """Read-only where they are, so that no program takes changing them for setting them."""
    attributes: Any = bob().attributes
    assert json.loads(json.dumps(attributes)) == {"name": "bob", "tags": ["calm"]}
    for copied in (*COPIES, copy.copy, dict, lambda value: value.copy(), lambda value: value | {}):
        again = copied(attributes)
        again["mood"] = "cross"
        assert (type(again), again.pop("mood")) == (dict, "cross")
    for change in (
        lambda: attributes.update(a=1),
        lambda: attributes.pop("name"),
        lambda: attributes.setdefault("a", 1),
        attributes.clear,
        attributes.popitem,
        lambda: attributes.__ior__({"a": 1}),
        lambda: attributes.__delitem__("name"),
    ):
        with pytest.raises(TypeError, match="attributes are read-only"):
            change()
    assert attributes == {"name": "bob", "tags": ["calm"]}


def test_change_of_what_attributes_nest_is_seen_by_nobody() -> None:
    """By neither the participant nor the program that set it."""
    tags = ["calm"]
    me = LocalParticipant("p-1", "user", {}, lambda attributes: None)
    me.set_attribute("tags", tags)
    tags.append("changed")
    me.attributes["tags"].append("changed")
    me.get_attribute("tags").append("changed")
    assert me.attributes == {"tags": ["calm"]}


@pytest.mark.parametrize("copied", [*COPIES, copy.copy])
def test_copy_of_the_own_participant_sets_nothing(copied: Callable[[Any], Any]) -> None:
    """It has no connection, and says so."""
    sent: list[Any] = []
    me = copied(LocalParticipant("p-1", "user", {"name": "me"}, sent.append))
    assert (me.name, me.attributes) == ("me", {"name": "me"})
    with pytest.raises(UsageError, match="is a copy"):
        me.set_attribute("mood", "calm")
    assert (sent, me.attributes) == ([], {"name": "me"})


@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_copy_for_a_receiver_has_a_plain_body_of_its_own(kind: Any) -> None:
    """Participants, streams and errors stay the same objects; what is no JSON is shared."""
    peer, error, other = bob(), ValueError(), object()
    body = kind(copy.deepcopy(BODY) | {"other": other})
    event = RoomMessageEvent("x", RoomMessage("chat", body, b"", "p-2", peer), peer, None, error)
    again: Any = event._copied()
    again.message.message["nested"][0]["a"] = "changed"
    assert type(again.message.message) is dict
    assert event.message.message == {**BODY, "other": other}
    assert (again.participant, again.message.sender, again.error) == (peer, peer, error)
    assert again.message.message["other"] is other
    assert RoomMessage("x", 7)._copied().message == 7  # type: ignore[arg-type]
