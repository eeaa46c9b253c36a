"""What a program does with a whole client, over real sockets and the emulator: sending, receiving, rosters, events.

Faults and what must hold under them are in ``test_must_hold.py``; what needs a clock or a process in ``tests/threads``.
"""

from __future__ import annotations

import array
import copy
import ctypes
import dataclasses
import gc
import hashlib
import inspect
import logging
import mmap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import meshsync
from examples.encrypted_messages import EncryptedMessaging
from meshsync import MessagingClient, RoomMessage, signals
from meshsync.signals import EVENTS
from simulator import Emulator
from tests.support.rooms import PATIENCE, Ears, Join, settle, start


@pytest.fixture(autouse=True)
def quiet_signals() -> Iterator[None]:
    """Disconnect from the process's signals whatever a test connected."""
    yield
    for signal in EVENTS.values():
        for receiver in list(signal.receivers_for(signals)):
            signal.disconnect(receiver)
        assert not list(signal.receivers_for(signals)), "a test left a receiver behind"


def other(room: meshsync.RoomClient, name: str) -> meshsync.RemoteParticipant:
    """Return the participant of that name as ``room`` sees it, as soon as it does."""
    return room.messaging.wait_for_participant(name=name, timeout=PATIENCE)


# --- sending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["send_message", "send_message_nowait"])
@pytest.mark.parametrize("form", ["arguments", "mapping"])
@pytest.mark.parametrize("recipient", ["participant", "id"])
def test_both_call_forms_deliver_the_same_message(join: Join, method: str, form: str, recipient: str) -> None:
    """A message arrives as it was sent, whether given as arguments or as one mapping, to an object or an id."""
    bob, alice = join("bob"), join("alice")
    to: Any = other(alice, "bob") if recipient == "participant" else bob.local_participant.id
    content = {"to": to, "type": "chat", "message": {"text": "hi"}, "attachment": b"\x01"}
    send = getattr(alice.messaging, method)
    with bob.messaging.messages() as inbox:
        delivery = send(**content) if form == "arguments" else send(content)
        received = inbox.get(PATIENCE)
    assert delivery is None or delivery.wait(PATIENCE) is None
    assert received == RoomMessage("chat", {"text": "hi"}, b"\x01", alice.local_participant.id)
    assert received.sender is other(bob, "alice")


@pytest.mark.parametrize("method", ["broadcast_message", "broadcast_message_nowait"])
@pytest.mark.parametrize("form", ["arguments", "mapping"])
def test_broadcast_reaches_everybody_but_its_sender(join: Join, method: str, form: str) -> None:
    """Both others get a broadcast, in either call form, and the sender does not."""
    alice, bob, carol = join("alice"), join("bob"), join("carol")
    with alice.messaging.messages() as own, bob.messaging.messages() as first, carol.messaging.messages() as second:
        content: dict[str, Any] = {"type": "news", "message": {"n": 1}}
        send = getattr(alice.messaging, method)
        _ = send(**content) if form == "arguments" else send(content)
        expected = RoomMessage("news", {"n": 1}, b"", alice.local_participant.id)
        assert [first.get(PATIENCE), second.get(PATIENCE)] == [expected, expected]
        alice.messaging.send_message(alice.local_participant, "to myself", {})
        assert own.get(PATIENCE).type == "to myself"


def test_message_to_oneself_comes_from_the_local_participant(join: Join) -> None:
    """Who writes to herself is told so by the very object that stands for her."""
    alice = join("alice")
    with alice.messaging.messages() as inbox:
        alice.messaging.send_message(alice.local_participant, "note", {})
        assert inbox.get(PATIENCE).sender is alice.local_participant


def test_pipelined_messages_arrive_in_order_and_are_all_acknowledged(join: Join) -> None:
    """Five hundred sends that wait for nothing arrive in the order of the calls."""
    bob, alice = join("bob"), join("alice")
    with bob.messaging.messages() as inbox:
        deliveries = [alice.messaging.send_message_nowait(other(alice, "bob"), "n", {"n": n}) for n in range(500)]
        assert [inbox.get(PATIENCE).message["n"] for _ in range(500)] == list(range(500))
    deliveries[-1].wait(PATIENCE)
    assert all(delivery.is_done and delivery.error is None for delivery in deliveries)
    assert repr(deliveries[0]) == f"<Delivery of the message 'n' to {bob.local_participant.id}: acknowledged>"


def test_delivery_tells_the_refusal_as_often_as_it_is_asked(join: Join) -> None:
    """A message to somebody unknown fails in its handle: as a value, and at each wait."""
    delivery = join("alice").messaging.send_message_nowait("p-none", "chat", {})
    for _ in range(2):
        with pytest.raises(meshsync.ParticipantNotFound):
            delivery.wait(PATIENCE)
    assert delivery.is_done
    assert isinstance(delivery.error, meshsync.ParticipantNotFound)


def _mapped() -> mmap.mmap:
    memory = mmap.mmap(-1, 16)
    memory[:4] = b"\x00\x01\xfe\xff"
    return memory


ATTACHMENTS: dict[str, tuple[Any, bytes]] = {
    "none": (None, b""),
    "empty bytes": (b"", b""),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "bytearray": (bytearray(b"\x00\xff"), b"\x00\xff"),
    "memoryview": (memoryview(b"\x00\xff"), b"\x00\xff"),
    "part of a memoryview": (memoryview(b"abcdef")[2:4], b"cd"),
    "every other byte": (memoryview(b"abcdef")[::2], b"ace"),
    "two dimensions": (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
    "array": (array.array("h", [1, -1]), array.array("h", [1, -1]).tobytes()),
    "empty array": (array.array("d"), b""),
    "ctypes": ((ctypes.c_uint8 * 3)(1, 2, 3), b"\x01\x02\x03"),
    "ctypes of several bytes": ((ctypes.c_int16.__ctype_be__ * 2)(1, 2), b"\x00\x01\x00\x02"),
    "mapped memory": (_mapped(), b"\x00\x01\xfe\xff" + bytes(12)),
}


@pytest.mark.parametrize("name", ATTACHMENTS)
def test_any_buffer_can_be_attached_and_arrives_as_bytes(join: Join, name: str) -> None:
    """Whatever holds bytes can be attached; what arrives is ``bytes``, empty for none."""
    attachment, expected = ATTACHMENTS[name]
    alice = join("alice")
    with alice.messaging.messages() as inbox:
        alice.messaging.send_message(alice.local_participant, "data", {}, attachment)
        received = inbox.get(PATIENCE).attachment
    assert type(received) is bytes
    assert received == expected


@pytest.mark.parametrize("attachment", ["text", 7, ["a"], object()])
def test_attachment_that_is_no_buffer_is_refused_by_name(join: Join, attachment: Any) -> None:
    """Attaching what holds no bytes raises at once, names the type, and leaves the connection as it was."""
    alice = join("alice")
    with pytest.raises(meshsync.InvalidMessage, match=f"attachment: {type(attachment).__name__}"):
        alice.messaging.broadcast_message("data", {}, attachment)
    alice.messaging.broadcast_message("data", {})


def test_message_is_taken_as_it_is_when_the_call_returns(join: Join) -> None:
    """A body or buffer that is changed after the call is sent as it was."""
    alice = join("alice")
    body, buffer = {"n": [1]}, bytearray(b"before")
    with alice.messaging.messages() as inbox:
        delivery = alice.messaging.send_message_nowait(alice.local_participant, "data", body, buffer)
        body["n"].append(2)
        buffer[:] = b"after"
        delivery.wait(PATIENCE)
        received = inbox.get(PATIENCE)
    assert (received.message, received.attachment) == ({"n": [1]}, b"before")


def test_large_message_beyond_ascii_arrives_whole(join: Join) -> None:
    """3 MB of attachment and 60 KB of text in several scripts are reassembled from some thousand packets."""
    bob, alice = join("bob"), join("alice")
    body = {"text": "grüße Ω 漢字 🙂 " * 2000, "ключ": [None, True, -1.5, {"": ""}]}
    attachment = bytes(range(256)) * 12_000
    with bob.messaging.messages() as inbox:
        alice.messaging.send_message(other(alice, "bob"), "big", body, attachment)
        received = inbox.get(PATIENCE)
    assert received.message == body
    assert hashlib.sha256(received.attachment).digest() == hashlib.sha256(attachment).digest()


def test_client_is_no_recipient_and_the_error_says_what_is(join: Join) -> None:
    """Addressing a message to a `RoomClient` is a mistake of types, with the way out in its text."""
    alice, bob = join("alice"), join("bob")
    with pytest.raises(TypeError, match="local_participant"):
        alice.messaging.send_message(bob, "chat", {})  # type: ignore[call-overload]
    alice.messaging.send_message(bob.local_participant, "chat", {})


def test_name_in_place_of_an_id_is_explained(join: Join) -> None:
    """A name that is no id is nobody, and the error shows the id that goes with it."""
    bob, alice = join("bob"), join("alice")
    with pytest.raises(meshsync.ParticipantNotFound, match=f"'bob' is a name.*{bob.local_participant.id}"):
        alice.messaging.send_message("bob", "chat", {})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"to": "p", "type": "chat"}, "lacks message"),
        ({"to": "p", "type": "chat", "message": {}, "body": {}}, "has 'body'"),
        ({"type": "chat", "message": {}}, "lacks to"),
        ({}, "lacks to, type, message"),
    ],
)
def test_mapping_with_other_keys_is_refused(join: Join, content: dict[str, Any], complaint: str) -> None:
    """A mapping has exactly the keys of the arguments; the error names those that are missing or unknown."""
    with pytest.raises(TypeError, match=complaint):
        join("alice").messaging.send_message(content)


def test_mapping_and_arguments_together_are_refused(join: Join) -> None:
    """Half of a message in a mapping and half in arguments is a mistake."""
    alice = join("alice")
    with pytest.raises(TypeError, match="one mapping or separate arguments"):
        alice.messaging.send_message({"to": "p", "type": "t", "message": {}}, "chat")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="one mapping or separate arguments"):
        alice.messaging.broadcast_message({"type": "t", "message": {}}, {})  # type: ignore[call-overload]


# --- who is there -----------------------------------------------------------------------------------------------------


def test_participant_is_one_object_from_arrival_to_departure(join: Join) -> None:
    """The roster, look-ups, events and senders hand out the same object, also after its attributes changed."""
    alice, events = join("alice"), Ears()
    for name in ("participant_added", "participant_attributes_updated", "message", "participant_removed"):
        alice.messaging.on(name, events)
    bob = join("bob")
    participant = events.next().participant
    assert alice.messaging.remote_participants == (participant,)
    assert alice.messaging.get_participant(bob.local_participant.id) is participant
    assert alice.messaging.get_participant_by_name("bob") is participant
    bob.local_participant.set_attribute("mood", "calm")
    bob.messaging.send_message(other(bob, "alice"), "chat", {})
    bob.messaging.disable()
    assert [events.next().participant for _ in range(3)] == [participant] * 3
    assert alice.messaging.get_participant(bob.local_participant.id) is None
    assert not participant.online


def test_participant_who_left_stays_offline_and_gets_a_new_object_on_return(join: Join) -> None:
    """An old object never comes back to life; writing to it fails here, with its name in the error."""
    bob, alice = join("bob"), join("alice")
    before = other(alice, "bob")
    removed = Ears()
    alice.messaging.on("participant_removed", removed)
    bob.messaging.disable()
    removed.next()
    bob.messaging.enable()
    after = other(alice, "bob")
    assert (before.online, after.online, before.id == after.id, before is after) == (False, True, True, False)
    with pytest.raises(meshsync.ParticipantNotFound, match="'bob' has left"):
        alice.messaging.send_message(before, "chat", {})
    alice.messaging.send_message(after, "chat", {})


def test_roster_is_a_snapshot_in_order_of_arrival(join: Join) -> None:
    """The roster lists who is there, the earliest first; one that was taken before never changes."""
    carol, bob, alice = join("carol"), join("bob"), join("alice")
    before = alice.messaging.remote_participants
    bob.close()
    join("dave")
    other(alice, "dave")
    assert [participant.name for participant in before] == ["carol", "bob"]
    assert [participant.name for participant in alice.messaging.remote_participants] == ["carol", "dave"]
    assert isinstance(before, tuple)
    assert carol.messaging.get_participant_by_name("nobody") is None


def test_the_earliest_of_equal_names_is_found(join: Join) -> None:
    """Names are not unique: looking one up returns who came first."""
    first, alice = join("twin"), join("alice")
    join("twin")
    settle(alice)
    found = alice.messaging.get_participant_by_name("twin")
    assert found is not None
    assert found.id == first.local_participant.id


def test_attributes_are_merged_and_seen_by_others(join: Join) -> None:
    """An attribute that is set is there at once for its owner, soon for others, beside those set before."""
    bob, alice, events = join("bob"), join("alice"), Ears()
    alice.messaging.on("participant_attributes_updated", events)
    bob.local_participant.set_attribute("mood", {"now": ["calm", None]})
    bob.local_participant.set_attribute("level", 3)
    assert bob.local_participant.get_attribute("level") == 3
    assert [events.next().message.message for _ in range(2)] == [
        {"attributes": {"mood": {"now": ["calm", None]}}},
        {"attributes": {"level": 3}},
    ]
    seen = other(alice, "bob")
    assert seen.attributes == {"name": "bob", "mood": {"now": ["calm", None]}, "level": 3}
    assert bob.local_participant.attributes == seen.attributes
    assert (seen.get_attribute("level"), seen.get_attribute("none"), seen.get_attribute("none", 1)) == (3, None, 1)


def test_attributes_set_before_enabling_are_in_the_roster(join: Join) -> None:
    """Who comes later gets the attributes as they are by then, and the role of the token."""
    bob = join("bob", role="agent", enable=False)
    bob.local_participant.set_attribute("skill", "sums")
    bob.messaging.enable()
    seen = other(join("alice"), "bob")
    assert (seen.role, seen.attributes) == ("agent", {"name": "bob", "skill": "sums"})
    assert bob.local_participant.role == "agent"


def test_attributes_cannot_be_changed_from_outside(join: Join) -> None:
    """What a participant shows is read-only."""
    bob = join("bob")
    with pytest.raises(TypeError):
        other(join("alice"), "bob").attributes["name"] = "mallory"  # type: ignore[index]
    with pytest.raises(TypeError):
        bob.local_participant.attributes["name"] = "mallory"  # type: ignore[index]


def test_unserialisable_attribute_is_refused_and_unchanged(join: Join) -> None:
    """An attribute that JSON cannot carry raises with its path and is not set here either."""
    alice = join("alice")
    with pytest.raises(meshsync.InvalidMessage, match=r"attributes\['tags'\]: set"):
        alice.local_participant.set_attribute("tags", {"a"})
    assert alice.local_participant.get_attribute("tags") is None


@pytest.mark.parametrize(
    "wanted", [{"name": "bob"}, {"role": "agent"}, {"where": lambda p: p.get_attribute("skill") == "sums"}, {}]
)
def test_waiting_for_a_participant_ends_when_one_matches(join: Join, wanted: dict[str, Any]) -> None:
    """Somebody who comes later, or changes later, is waited for; somebody who is there is returned at once."""
    alice = join("alice")
    waiting = start(alice.messaging.wait_for_participant, **wanted, timeout=PATIENCE)
    bob = join("bob", role="agent")
    bob.local_participant.set_attribute("skill", "sums")
    found = waiting.result(PATIENCE)
    assert found.id == bob.local_participant.id
    assert alice.messaging.wait_for_participant(**wanted, timeout=0) is found


def test_all_that_is_given_has_to_match(join: Join) -> None:
    """A participant with the name but not the role is not the one."""
    alice = join("alice")
    join("bob")
    bob = other(alice, "bob")
    text = "no participant with name='bob', role='agent' was there within 0 s"
    with pytest.raises(meshsync.ReceiveTimeout, match=text):
        alice.messaging.wait_for_participant(name="bob", role="agent", timeout=0)
    assert alice.messaging.wait_for_participant(name="bob", role="user", timeout=0) is bob


def test_waiting_for_a_participant_while_not_enabled_raises_at_once(join: Join) -> None:
    """Nobody would ever come, so there is nothing to wait for."""
    with pytest.raises(meshsync.NotEnabled):
        join("alice", enable=False).messaging.wait_for_participant(name="bob")


# --- taking part ------------------------------------------------------------------------------------------------------


def test_disabling_empties_the_roster_and_tells_of_each_removal(join: Join) -> None:
    """After ``disable`` nobody is there; a removal was signalled for each; doing it twice is no error."""
    join("bob")
    join("carol")
    alice, events = join("alice"), Ears()
    alice.messaging.on("participant_removed", events)
    alice.messaging.on("messaging_disabled", events)
    alice.messaging.disable()
    assert (alice.messaging.is_enabled, alice.messaging.remote_participants) == (False, ())
    assert [events.next().name for _ in range(3)] == [
        "participant_removed",
        "participant_removed",
        "messaging_disabled",
    ]
    alice.messaging.disable()
    assert events.is_silent


def test_enabling_again_brings_the_roster_back(join: Join) -> None:
    """A client that left messaging can take part again; enabling while enabled does nothing."""
    bob, alice, events = join("bob"), join("alice"), Ears()
    settle(alice)
    alice.messaging.disable()
    alice.messaging.on("messaging_enabled", events)
    alice.messaging.enable()
    alice.messaging.enable()
    assert [participant.name for participant in alice.messaging.remote_participants] == ["bob"]
    events.next()
    alice.messaging.send_message(bob.local_participant, "chat", {})
    assert events.is_silent


def test_others_see_somebody_leave_who_closes(join: Join) -> None:
    """Closing a client removes it from the others' rosters."""
    alice, events = join("alice"), Ears()
    alice.messaging.on("participant_removed", events)
    with join("bob") as bob:
        pass
    assert events.next().message.message == {"id": bob.local_participant.id}
    assert alice.messaging.remote_participants == ()


# --- receiving --------------------------------------------------------------------------------------------------------


def test_subscription_takes_what_matches_type_and_sender(join: Join) -> None:
    """A filter by type, by sender, or by both lets through what matches, in order."""
    alice, bob, carol = join("alice"), join("bob"), join("carol")
    inboxes = [
        alice.messaging.messages(),
        alice.messaging.messages("a"),
        alice.messaging.messages(sender=other(alice, "bob")),
        alice.messaging.messages("a", bob.local_participant.id),
    ]
    for sender, kind in ((bob, "a"), (carol, "a"), (bob, "b"), (carol, "b"), (bob, "end")):
        sender.messaging.send_message(other(sender, "alice"), kind, {"by": sender.local_participant.name})
    assert [inboxes[0].get(PATIENCE).type for _ in range(5)] == ["a", "a", "b", "b", "end"]
    taken = [[(m.type, m.message["by"]) for m in _drain(inbox)] for inbox in inboxes[1:]]
    assert taken == [[("a", "bob"), ("a", "carol")], [("a", "bob"), ("b", "bob"), ("end", "bob")], [("a", "bob")]]


def _drain(inbox: meshsync.Subscription) -> list[RoomMessage]:
    return [inbox.get(0) for _ in range(inbox.pending)]


def test_loop_over_messages_ends_when_none_comes_in_time(join: Join) -> None:
    """``for`` takes what is there and ends at the subscription's timeout, while ``get`` raises."""
    alice = join("alice")
    inbox = alice.messaging.messages("n", timeout=0)
    with alice.messaging.messages("end") as end:
        for n in range(3):
            alice.messaging.send_message(alice.local_participant, "n", {"n": n})
        alice.messaging.send_message(alice.local_participant, "end", {})
        end.get(PATIENCE)
    assert [message.message["n"] for message in inbox] == [0, 1, 2]
    with pytest.raises(meshsync.ReceiveTimeout, match="no message of type 'n' came within 0 s"):
        inbox.get()


def test_subscription_that_is_read_too_slowly_ends_loudly(join: Join) -> None:
    """With room for two, the third message ends the subscription: it yields two and then says what to do."""
    alice = join("alice")
    inbox = alice.messaging.messages(maxsize=2)
    with alice.messaging.messages("2") as last:
        for n in range(3):
            alice.messaging.send_message(alice.local_participant, str(n), {})
        last.get(PATIENCE)
    assert [inbox.get(0).type, inbox.get(0).type] == ["0", "1"]
    with pytest.raises(meshsync.UsageError, match="drop_oldest"):
        inbox.get(0)


def test_subscription_that_may_drop_keeps_the_newest_and_counts(join: Join) -> None:
    """With room for two and dropping allowed, the last two of five are there, and three are counted."""
    alice = join("alice")
    inbox = alice.messaging.messages(maxsize=2, overflow="drop_oldest")
    with alice.messaging.messages("4") as last:
        for n in range(5):
            alice.messaging.send_message(alice.local_participant, str(n), {})
        last.get(PATIENCE)
    assert (inbox.pending, inbox.dropped) == (2, 3)
    assert [message.type for message in _drain(inbox)] == ["3", "4"]


def test_closed_subscription_yields_what_it_has_and_ends(join: Join) -> None:
    """Closing takes nothing more; what came before is still read, then a loop ends and ``get`` says why."""
    alice = join("alice")
    with alice.messaging.messages() as later, alice.messaging.messages() as inbox:
        for kind in ("1", "2"):
            alice.messaging.send_message(alice.local_participant, kind, {})
        assert [later.get(PATIENCE).type, later.get(PATIENCE).type] == ["1", "2"]
        inbox.close()
        alice.messaging.send_message(alice.local_participant, "3", {})
        assert later.get(PATIENCE).type == "3"
    assert [message.type for message in inbox] == ["1", "2"]
    with pytest.raises(meshsync.UsageError, match="subscription was closed"):
        inbox.get()


def test_two_subscriptions_each_get_every_message(join: Join) -> None:
    """Subscriptions do not take messages away from each other, nor from receivers."""
    alice, heard = join("alice"), Ears()
    alice.messaging.on("message", heard)
    with alice.messaging.messages() as first, alice.messaging.messages() as second:
        alice.messaging.send_message(alice.local_participant, "n", {})
        assert first.get(PATIENCE) == second.get(PATIENCE) == heard.next().message


def test_waiting_for_one_message_returns_the_next_that_matches(join: Join) -> None:
    """``wait_for_message`` passes over what does not match."""
    alice, bob = join("alice"), join("bob")
    answer = start(alice.messaging.wait_for_message, "b", other(alice, "bob"), timeout=PATIENCE)
    for kind in ("a", "b"):
        alice.messaging.send_message(alice.local_participant, kind, {})
    while not answer.done():
        bob.messaging.send_message(other(bob, "alice"), "b", {"by": "bob"})
    assert answer.result().message == {"by": "bob"}


@pytest.mark.parametrize("options", [{"overflow": "block"}, {"maxsize": 0}])
def test_senseless_subscription_is_refused(join: Join, options: dict[str, Any]) -> None:
    """Room for nothing, or an unknown way to overflow, is a `ValueError`."""
    with pytest.raises(ValueError, match=next(iter(options))):
        join("alice").messaging.messages(**options)


# --- events -----------------------------------------------------------------------------------------------------------


def told(event: meshsync.RoomMessageEvent) -> tuple[str, str, Any]:
    """Return what the table in ``meshsync.signals`` says of an event."""
    return event.name, event.message.type, event.message.message


def test_every_event_has_the_contents_that_are_promised(join: Join) -> None:
    """The life of a client, event by event, in order: through ``on`` and through the process's signals alike."""
    bob = join("bob")
    alice, direct, signalled = join("alice", enable=False), Ears(), Ears()
    for name, signal in EVENTS.items():
        alice.messaging.on(name, direct)
        signal.connect(signalled, sender=alice.messaging)
    alice.messaging.enable()
    carol = join("carol")
    other(alice, "carol")
    carol.local_participant.set_attribute("mood", "calm")
    carol.messaging.send_message(alice.local_participant, "chat", {"text": "hi"}, b"\x01")
    carol.messaging.disable()
    alice.messaging.wait_for_participant(where=lambda _: not alice.messaging.get_participant_by_name("carol"))
    alice.close()
    heard = direct.until(lambda event: event.name == "disconnected")
    about_bob, about_carol = (
        {"id": room.local_participant.id, "role": "user", "attributes": {"name": room.local_participant.name}}
        for room in (bob, carol)
    )
    assert [told(event) for event in heard] == [
        ("messaging_enabled", "messaging.enabled", {"participants": [about_bob]}),
        ("participant_added", "participant.enabled", about_bob),
        ("participant_added", "participant.enabled", about_carol),
        ("participant_attributes_updated", "participant.attributes", {"attributes": {"mood": "calm"}}),
        ("message", "chat", {"text": "hi"}),
        ("participant_removed", "participant.disabled", {"id": carol.local_participant.id}),
        ("participant_removed", "participant.disabled", {"id": bob.local_participant.id}),
        ("disconnected", "disconnected", {"reason": "closed by this program", "will_retry": False}),
    ]
    assert [signalled.next() for _ in heard] == heard
    names = [event.participant and event.participant.name for event in heard]
    assert names == [None, "bob", "carol", "carol", "carol", "carol", "bob", None]
    assert all(event.error is None and event.stream is None for event in heard)
    assert heard[4].message.sender is heard[4].participant
    assert direct.is_silent and signalled.is_silent


def test_receiver_finds_what_the_event_tells_already_done(join: Join) -> None:
    """By the time of its event, somebody new is in the roster, a change applied, somebody gone offline."""
    alice, seen = join("alice"), Ears()

    def look(event: meshsync.RoomMessageEvent) -> None:
        assert event.participant is not None
        seen((event.name, event.participant.online, event.participant.get_attribute("mood")))

    for name in ("participant_added", "participant_attributes_updated", "participant_removed"):
        alice.messaging.on(name, look)
    bob = join("bob")
    first = seen.next()
    bob.local_participant.set_attribute("mood", "calm")
    second = seen.next()
    bob.close()
    assert [first, second, seen.next()] == [
        ("participant_added", True, None),
        ("participant_attributes_updated", True, "calm"),
        ("participant_removed", False, "calm"),
    ]


def test_leaving_messaging_is_an_event(join: Join) -> None:
    """Disabling is told as such, with nothing in it."""
    alice, heard = join("alice"), Ears()
    alice.messaging.on("messaging_disabled", heard)
    alice.messaging.disable()
    assert told(heard.next()) == ("messaging_disabled", "messaging.disabled", {})


def test_lost_connection_is_an_event_with_its_error(join: Join, emulated: Emulator) -> None:
    """A connection that breaks is told once, with the loss, and no promise to retry where the client may not."""
    alice, heard = join("alice-to-drop", reconnect=False), Ears()
    alice.messaging.on("disconnected", heard)
    emulated.drop("alice-to-drop")
    event = heard.next()
    assert told(event)[:2] == ("disconnected", "disconnected")
    assert event.message.message == {"reason": str(event.error), "will_retry": False}
    assert type(event.error) is meshsync.ConnectionLost
    with pytest.raises(meshsync.ConnectionLost):
        alice.wait_closed(PATIENCE)
    assert heard.is_silent


def test_receiver_that_raises_is_named_and_stops_nobody(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that raises is logged and reported with its name and error; those behind it run."""
    alice, failures, heard = join("alice"), Ears(), Ears()

    def broken(event: meshsync.RoomMessageEvent) -> None:
        raise LookupError("no such thing")

    alice.messaging.on("receiver_failed", failures)
    alice.messaging.on_message("chat", broken)
    alice.messaging.on("message", heard)
    signals.message.connect(lambda sender, event: 1 / 0, sender=alice.messaging)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    first, second = failures.next(), failures.next()
    heard.next()
    assert told(first)[1:] == ("receiver_failed", {"event": "message", "receiver": f"{__name__}.{broken.__qualname__}"})
    assert type(first.error) is LookupError
    assert "<lambda>" in second.message.message["receiver"]
    assert type(second.error) is ZeroDivisionError
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert broken.__qualname__ in errors[0].getMessage()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, pytest.fail.Exception])
def test_nothing_a_receiver_raises_ends_receiving(join: Join, error: type[BaseException]) -> None:
    """Also what is no `Exception`, such as a failed assertion of pytest, is reported, and the next event is told."""
    alice, failures, heard = join("alice"), Ears(), Ears()

    def broken(event: meshsync.RoomMessageEvent) -> None:
        raise error("no")

    alice.messaging.on("receiver_failed", failures)
    alice.messaging.on("message", broken)
    alice.messaging.on("message", heard)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert type(failures.next().error) is error
    assert heard.next().message.type == "chat"


def test_receiver_of_failures_that_fails_is_not_called_for_that(join: Join) -> None:
    """A receiver of ``receiver_failed`` that raises does not go round for ever."""
    alice, calls = join("alice"), Ears()

    def broken(event: meshsync.RoomMessageEvent) -> None:
        calls(event)
        raise LookupError("no such thing")

    alice.messaging.on("receiver_failed", broken)
    alice.messaging.on("message", broken)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert [calls.next().name, calls.next().name] == ["message", "receiver_failed"]
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert calls.next().name == "message"


def test_events_that_receivers_are_too_slow_for_are_dropped_and_counted(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for ten waiting events, a receiver that is busy for fifteen gets the ten newest, told of the rest."""
    monkeypatch.setattr("meshsync.dispatch.dispatcher.BACKLOG", 10)
    alice, heard, dropped = join("alice"), Ears(), Ears()
    alice.messaging.on("messages_dropped", dropped)

    def busy(event: meshsync.RoomMessageEvent) -> None:
        heard(event)
        for n in range(15):
            alice.messaging.send_message(alice.local_participant, "n", {"n": n})

    alice.messaging.on_message("begin", busy)
    alice.messaging.on_message("n", heard)
    alice.messaging.send_message(alice.local_participant, "begin", {})
    received = heard.until(lambda event: event.message.message.get("n") == 14)
    count = dropped.next().message.message["count"]
    assert [event.message.message["n"] for event in received[1:]] == list(range(count, 15))
    assert (count, alice.stats().events_dropped) == (5, 5)


def test_receivers_can_be_decorated_cancelled_and_taken_off(join: Join) -> None:
    """``on`` and ``on_message`` decorate; what is cancelled or taken off hears nothing more; the rest does."""
    alice, heard = join("alice"), Ears()
    messaging = alice.messaging

    @messaging.on_message("chat")
    def by_type(event: meshsync.RoomMessageEvent) -> None:
        heard("by type")

    @messaging.on("message")
    def by_event(event: meshsync.RoomMessageEvent) -> None:
        heard("by event")

    registration = messaging.on("message", lambda _: heard("registered"))
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert [heard.next() for _ in range(3)] == ["by type", "by event", "registered"]
    registration.cancel()
    registration.cancel()
    messaging.off("message", by_event)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert heard.next() == "by type"
    messaging.off("message")
    messaging.on("message", lambda _: heard("last"))
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert heard.next() == "last"


def test_receiver_registered_twice_is_called_once_and_taken_off_at_once(join: Join) -> None:
    """As by blinker, with which it can be registered too."""
    alice, heard = join("alice"), Ears()
    for _ in range(2):
        alice.messaging.on("message", heard)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    heard.next()
    alice.messaging.off("message", heard)
    end = Ears()
    alice.messaging.on("message", end)
    alice.messaging.send_message(alice.local_participant, "chat", {})
    end.next()
    assert heard.is_silent


@pytest.mark.parametrize("method", ["on", "off"])
def test_unknown_event_is_refused_with_a_list_of_those_there_are(join: Join, method: str) -> None:
    """A misspelt event would never come, so it raises and shows all names."""
    messaging = join("alice", enable=False).messaging
    with pytest.raises(ValueError, match="no event 'mesage'") as caught:
        getattr(messaging, method)("mesage", print)
    assert all(name in str(caught.value) for name in EVENTS)


def test_receiver_that_cannot_run_is_refused(join: Join) -> None:
    """What cannot be called, and a coroutine function that nobody would await, are refused when registering."""

    async def later(event: meshsync.RoomMessageEvent) -> None: ...

    messaging = join("alice", enable=False).messaging
    with pytest.raises(TypeError, match="cannot be called"):
        messaging.on("message", "print")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="coroutine"):
        messaging.on("message", later)
    with pytest.raises(TypeError, match="coroutine"):
        messaging.on_message("chat")(later)


def test_registration_that_could_never_fire_is_refused(join: Join) -> None:
    """A decorator without its argument, the result of a call for a receiver, and a list for a type are mistakes."""
    messaging: Any = join("alice", enable=False).messaging
    for register in (
        lambda: messaging.on_message(print),
        lambda: messaging.on(print),
        lambda: messaging.on("message", None),
        lambda: messaging.on_message("chat", None),
        lambda: messaging.on_message(["chat", "news"], print),
        lambda: messaging.on_message(5, print),
        lambda: messaging.messages(type=["chat"]),
        lambda: messaging.wait_for_message(b"chat", timeout=0),
        lambda: messaging.wait_for_participant(name=["bob"], timeout=0),
        lambda: messaging.wait_for_participant(where="bob", timeout=0),
    ):
        with pytest.raises(TypeError):
            register()


def test_receiver_that_returns_a_coroutine_is_reported(join: Join) -> None:
    """It did nothing, which its program learns by ``receiver_failed``."""

    async def later(event: meshsync.RoomMessageEvent) -> None: ...

    alice, failures = join("alice"), Ears()
    alice.messaging.on("receiver_failed", failures)
    alice.messaging.on_message("chat", lambda event: later(event))  # noqa: PLW0108
    alice.messaging.send_message(alice.local_participant, "chat", {})
    assert "coroutine" in str(failures.next().error)


def test_criterion_that_returns_a_coroutine_is_an_error(join: Join) -> None:
    """Every coroutine is true, so that anyone would match."""

    async def later(participant: object) -> bool:
        return False

    alice, _ = join("alice"), join("bob")
    other(alice, "bob")
    with pytest.raises(TypeError, match="coroutine"):
        alice.messaging.wait_for_participant(where=lambda one: later(one), timeout=0)  # type: ignore[arg-type,return-value]  # noqa: PLW0108


# --- values -----------------------------------------------------------------------------------------------------------


def test_change_of_a_message_is_seen_by_no_other_receiver(join: Join) -> None:
    """Receivers, receivers of signals and subscriptions have each their own, down to what is nested."""
    alice = join("alice")
    seen, end = [], Ears()

    def change(event: meshsync.RoomMessageEvent) -> None:
        body: Any = event.message.message
        seen.append(copy.deepcopy(body))
        body["list"].append("changed")
        del body["n"]

    def change_too(sender: object, event: meshsync.RoomMessageEvent) -> None:
        change(event)

    for _ in range(2):
        alice.messaging.on_message("chat", lambda event: change(event))  # noqa: PLW0108
    signals.message.connect(change_too, sender=alice.messaging)
    signals.message.connect(lambda sender, event: change_too(sender, event), sender=alice.messaging)  # noqa: PLW0108
    signals.message.connect(end, sender=alice.messaging)
    with alice.messaging.messages("chat") as one, alice.messaging.messages() as two:
        alice.messaging.send_message(alice.local_participant, "chat", {"n": 1, "list": [{"deep": True}]})
        end.next()
        for subscription in (one, two):
            message: Any = subscription.get(5).message
            seen.append(copy.deepcopy(message))
            message["list"][0]["deep"] = False
    assert seen == [{"n": 1, "list": [{"deep": True}]}] * 6


def test_change_of_a_message_by_its_only_receiver_is_nowhere_else(join: Join) -> None:
    """Neither what a subscription has nor what a subclass's hook keeps is the receiver's."""

    class Constant(MessagingClient):
        def received(self, message: RoomMessage) -> RoomMessage:
            return dataclasses.replace(message, message=kept)

    kept: dict[str, Any] = {"list": []}
    seen = Ears()

    def change(event: meshsync.RoomMessageEvent) -> None:
        body: Any = event.message.message
        seen(copy.deepcopy(body))
        body["list"].append("changed")

    alice, bob = join("alice"), join("bob", messaging=Constant)
    for client in (alice, bob):
        client.messaging.on_message("chat", change)
        with client.messaging.messages() as inbox:
            for _ in range(2):
                alice.messaging.send_message(client.local_participant, "chat", {"list": []})
                assert seen.next() == inbox.get(PATIENCE).message == {"list": []}
    for client in (alice, bob):
        alice.messaging.send_message(client.local_participant, "chat", {"list": []})
        assert seen.next() == {"list": []}
    assert kept == {"list": []}


def test_signal_connected_by_the_only_receiver_waits_for_the_next_event(join: Join) -> None:
    """As a receiver that is registered meanwhile does."""
    alice, heard, end = join("alice"), Ears(), Ears()

    def connect(sender: object, event: meshsync.RoomMessageEvent) -> None:
        heard(event.message.message["n"])

    registration = alice.messaging.on_message("chat", lambda event: signals.message.connect(connect) and None)
    for n in range(2):
        alice.messaging.send_message(alice.local_participant, "chat", {"n": n})
    assert heard.next() == 1
    registration.cancel()
    alice.messaging.on_message("end", end)
    alice.messaging.send_message(alice.local_participant, "end", {"n": 2})
    end.next()
    assert heard.next() == 2


def test_change_of_an_event_does_not_reach_the_participant(join: Join) -> None:
    """What an event of a participant nests is not the participant's own."""
    alice, arrivals = join("alice"), Ears()
    alice.messaging.on("participant_added", arrivals)
    bob = join("bob", enable=False)
    bob.local_participant.set_attribute("tags", ["new"])
    bob.messaging.enable()
    event = arrivals.next()
    event.message.message["attributes"]["tags"].append("changed")
    assert event.participant.attributes == {"name": "bob", "tags": ["new"]}


# --- signals ----------------------------------------------------------------------------------------------------------


def test_signal_tells_of_every_client_and_who_it_was(join: Join) -> None:
    """A receiver connected to a signal is called for all clients of the process, with the client as the sender."""
    alice, bob, heard = join("alice"), join("bob"), Ears()

    def hear(sender: MessagingClient, event: meshsync.RoomMessageEvent) -> None:
        heard((sender, event.message.type))

    signals.message.connect(hear)
    alice.messaging.send_message(bob.local_participant, "to bob", {})
    assert heard.next() == (bob.messaging, "to bob")
    bob.messaging.send_message(alice.local_participant, "to alice", {})
    assert heard.next() == (alice.messaging, "to alice")


def test_signal_can_be_heard_for_one_client_or_for_a_while(join: Join) -> None:
    """``sender=``, ``connect_via`` and ``connected_to`` do what blinker says they do."""
    alice, bob = join("alice"), join("bob")
    by_sender, by_decorator, for_a_while = Ears(), Ears(), Ears()
    signals.message.connect(by_sender, sender=bob.messaging)
    signals.message.connect_via(bob.messaging)(by_decorator)
    with signals.message.connected_to(for_a_while, sender=alice.messaging):
        bob.messaging.send_message(alice.local_participant, "to alice", {})
        alice.messaging.send_message(bob.local_participant, "to bob", {})
        assert for_a_while.next().message.type == "to alice"
    assert by_sender.next().message.type == by_decorator.next().message.type == "to bob"
    end = Ears()
    signals.message.connect(end)
    bob.messaging.send_message(alice.local_participant, "to alice", {})
    end.next()
    assert for_a_while.is_silent and by_sender.is_silent and by_decorator.is_silent


def test_weak_receiver_is_let_go_when_asked_for(join: Join) -> None:
    """``weak=True`` is blinker's own behaviour: a receiver that nobody keeps is gone."""
    alice, gone, end = join("alice"), Ears(), Ears()
    signals.message.connect(lambda sender, event: gone(event), weak=True)
    signals.message.connect(end)
    gc.collect()
    alice.messaging.send_message(alice.local_participant, "chat", {})
    end.next()
    assert gone.is_silent


# --- subclasses -------------------------------------------------------------------------------------------------------

KEY = bytes(range(32))


def encrypted(room: meshsync.RoomClient) -> MessagingClient:
    """Make the example's messaging client."""
    return EncryptedMessaging(room, KEY)


@pytest.mark.parametrize("form", ["arguments", "mapping"])
def test_encrypting_client_sends_what_only_its_like_can_read(join: Join, form: str) -> None:
    """Whoever has the key gets body and attachment as they were; whoever has not sees neither."""
    alice, bob, eve = join("alice", messaging=encrypted), join("bob", messaging=encrypted), join("eve")
    content = {"type": "plan", "message": {"meet": "at noon"}, "attachment": b"a map"}
    with bob.messaging.messages() as inbox, eve.messaging.messages() as tapped:
        broadcast, send = alice.messaging.broadcast_message, alice.messaging.send_message
        _ = broadcast(**content) if form == "arguments" else broadcast(content)
        received, seen = inbox.get(PATIENCE), tapped.get(PATIENCE)
        to = {"to": bob.local_participant, **content}
        _ = send(**to) if form == "arguments" else send(to)
        assert inbox.get(PATIENCE) == received
    assert received == RoomMessage("plan", {"meet": "at noon"}, b"a map", alice.local_participant.id)
    assert seen.message == {}
    assert b"noon" not in seen.attachment
    assert b"map" not in seen.attachment


def test_encrypting_client_drops_and_reports_what_was_not_meant(join: Join) -> None:
    """A plain message, or one sealed for another type, reaches nobody; the next good one does."""
    alice, bob = join("alice", messaging=encrypted), join("bob", messaging=encrypted)
    mallory, failures, heard = join("mallory"), Ears(), Ears()
    bob.messaging.on("receiver_failed", failures)
    bob.messaging.on("message", heard)
    mallory.messaging.send_message(bob.local_participant, "plain", {"text": "hi"})
    sealed = alice.messaging.seal("plan", {}, b"")  # type: ignore[attr-defined]
    mallory.messaging.send_message(bob.local_participant, "other", {}, sealed)
    alice.messaging.send_message(bob.local_participant, "good", {"text": "hi"})
    assert heard.next().message.message == {"text": "hi"}
    assert [type(failures.next().error).__name__ for _ in range(2)] == ["ValueError", "InvalidTag"]


def test_example_runs_and_shows_what_eve_does_not_see(capsys: pytest.CaptureFixture[str]) -> None:
    """The example is a program that works, and its client has 20 lines of code."""
    from examples import encrypted_messages

    encrypted_messages.main()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "bob reads {'meet': 'at noon'}"
    assert shown[1].startswith("eve sees")
    code, documentation = inspect.getsource(EncryptedMessaging), EncryptedMessaging.__doc__ or ""
    assert len([line for line in code.replace(documentation, "").splitlines() if line.strip(' "')]) == 20


class Judging(MessagingClient):
    """Drops what it is told to, fails where it is told to, and takes its time for one message."""

    def __init__(self, room: meshsync.RoomClient) -> None:
        super().__init__(room)
        self.gate = threading.Event()

    def received(self, message: RoomMessage) -> RoomMessage | None:
        if message.type == "2":
            self.gate.wait(PATIENCE)
        if message.type == "fail":
            raise LookupError("no such thing")
        return None if message.type == "drop" else message


def test_hook_can_drop_and_fail_and_the_rest_keeps_its_order(join: Join) -> None:
    """What a hook drops reaches nobody, what it fails at is reported, and events stay in order around it."""
    alice, bob, heard, failures = join("alice"), join("bob", messaging=Judging), Ears(), Ears()
    bob.messaging.on("receiver_failed", failures)
    for name in ("message", "participant_attributes_updated"):
        bob.messaging.on(name, heard)
    for kind in ("1", "drop", "fail", "2"):
        alice.messaging.send_message(bob.local_participant, kind, {})
    alice.local_participant.set_attribute("mood", "calm")
    bob.messaging.wait_for_participant(where=lambda p: p.get_attribute("mood") == "calm", timeout=PATIENCE)
    bob.messaging.gate.set()  # type: ignore[attr-defined]
    alice.messaging.send_message(bob.local_participant, "3", {})
    got = heard.until(lambda event: event.message.type == "3")
    assert [event.message.type for event in got] == ["1", "2", "participant.attributes", "3"]
    failure = failures.next()
    assert failure.message.message["receiver"].endswith("Judging.received")
    assert type(failure.error) is LookupError


# --- the client itself ------------------------------------------------------------------------------------------------


def test_client_tells_where_it_is_and_how_it_fares(join: Join, emulated: Emulator) -> None:
    """Room, address, session and state can be read, before and after closing."""
    alice = join("alice")
    assert alice.room_name.startswith("room-")
    assert alice.room_url == f"{emulated.url}/rooms/{alice.room_name}"
    assert alice.session_id and alice.local_participant.id
    assert (alice.local_participant.name, alice.local_participant.role) == ("alice", "user")
    assert (alice.is_connected, alice.messaging.is_enabled) == (True, True)
    assert repr(alice) == f"<RoomClient 'alice' in {alice.room_name!r}: online>"
    alice.close()
    assert (alice.is_connected, alice.messaging.is_enabled) == (False, False)
    assert repr(alice) == f"<RoomClient 'alice' in {alice.room_name!r}: closed>"
    assert alice.wait_closed(0)


def test_figures_count_what_was_carried(join: Join) -> None:
    """Bytes and packets grow with what is sent and received; nothing stays pending or buffered."""
    alice = join("alice")
    before = alice.stats()
    with alice.messaging.messages() as inbox:
        alice.messaging.send_message(alice.local_participant, "data", {}, bytes(10_000))
        inbox.get(PATIENCE)
    after = alice.stats()
    # 10,000 bytes are 13,336 of base64, with a header of some hundreds: one packet of 64 KiB, behind a start packet.
    assert after.packets_sent - before.packets_sent == 2
    assert after.bytes_sent - before.bytes_sent > 10_000
    assert after.bytes_received - before.bytes_received > 10_000
    assert after.packets_received > before.packets_received
    assert (after.pending, after.bytes_buffered, after.events_dropped) == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "packets"), [({}, 4), ({"packet_size": 100_000}, 3), ({"packet_size": 200_000}, 2)]
)
def test_packets_have_the_size_that_the_room_asks_for_or_more(
    join: Join, options: dict[str, Any], packets: int
) -> None:
    """The start packet, and 133,336 bytes of base64 with some hundreds: in packets of 64 KiB, or of what is given."""
    alice = join("alice", **options)
    before = alice.stats().packets_sent
    alice.messaging.broadcast_message("data", {}, bytes(100_000))
    assert alice.stats().packets_sent - before == packets


def test_equal_tokens_make_two_participants(join: Join, emulated: Emulator) -> None:
    """Each connection is a participant of its own, with an id of its own."""
    first, second = join("twin"), join("twin")
    assert first.local_participant.id != second.local_participant.id
    assert other(first, "twin").id == second.local_participant.id


@pytest.mark.parametrize("dialect", ["A1", "A2", "A3", "B1", "B2", "B3"])
def test_every_dialect_talks_to_every_other(join: Join, dialect: str) -> None:
    """Clients of all dialects meet in one room: greeting, roster, attributes and messages."""
    bob, alice, heard = join("bob"), join("alice", dialect=dialect), Ears()
    bob.messaging.on("participant_attributes_updated", heard)
    alice.local_participant.set_attribute("mood", "calm")
    assert heard.next().message.message == {"attributes": {"mood": "calm"}}
    with alice.messaging.messages() as inbox:
        bob.messaging.send_message(other(bob, "alice"), "chat", {"text": "hi"}, b"\x01")
        assert (received := inbox.get(PATIENCE)).message == {"text": "hi"}
    assert received.attachment == b"\x01"
