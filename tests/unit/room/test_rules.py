"""The rules of a room: what becomes of each request."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from meshsync.errors import InvalidMessage
from meshsync.protocol.codec import decode_push, decode_request, encode_request
from meshsync.protocol.content import Empty, Error
from meshsync.protocol.dialects import dialect
from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import (
    Broadcast,
    Connected,
    Disable,
    Enable,
    OpenCall,
    Push,
    Reply,
    RoomReady,
    Send,
    SetAttributes,
    UnknownRequest,
)
from meshsync.protocol.packets import MAX_MESSAGE_SIZE, Reassembler, WireMessage, split
from simulator.room.rules import MAX_ATTRIBUTES_SIZE, RESERVED_TYPES, Member, Output, Presence, Rights, Room

HALF_A_PAIR = json.loads('"\\ud83d"')


def make_room() -> Room:
    """Return a room whose ids are ``p-0``, ``p-1`` and so on; a participant's session takes the next."""
    numbers = itertools.count()
    return Room("lab", url="ws://test/rooms/lab", ids=lambda: f"p-{next(numbers)}")


def join(room: Room, name: str, *, enable: bool = True, **how: Any) -> Member:
    """Let somebody in."""
    member, _ = room.join(name, form=GreetingForm.ENVELOPE, **how)
    if enable:
        room.handle(member, 1, Enable())
    return member


def shown(outputs: list[Output]) -> list[tuple[list[str], object]]:
    """Return to whom each output goes, by name, and what it is."""
    return [([member.name for member in output.to], output.what) for output in outputs]


def refusal(outputs: list[Output]) -> tuple[int | None, str]:
    """Return code and text of the one error reply."""
    (output,) = outputs
    assert isinstance(output.what, Reply)
    assert isinstance(output.what.content, Error)
    return output.what.content.code, output.what.content.text


OK = Empty()


# --- joining and taking part ------------------------------------------------------------------------------------------


def test_newcomer_is_greeted_with_its_id_and_name():
    """Both halves of the greeting go out, to the newcomer alone."""
    member, greeting = make_room().join("ada", form=GreetingForm.ENVELOPE)

    assert shown(greeting) == [
        (["ada"], RoomReady("lab", "ws://test/rooms/lab", "p-1")),
        (["ada"], Connected("p-0", {"name": "ada"})),
    ]
    assert member.presence is Presence.CONNECTED


@pytest.mark.parametrize("form", GreetingForm)
def test_greeting_is_written_in_the_form_asked_for(form):
    """Whichever the form, the client reads the same."""
    _, greeting = make_room().join("ada", form=form)

    read = [decode_push(WireMessage(output.id, output.type, output.head)) for output in greeting]

    assert read == [output.what for output in greeting]
    assert greeting[0].head.startswith({"BARE": b"{", "ENVELOPE": b"\0", "BLANKS": b" " * 8 + b"{"}[form.name])


def test_name_that_cannot_be_written_is_refused():
    """A token may hold what no greeting can; then nobody has joined."""
    room = make_room()

    with pytest.raises(InvalidMessage):
        room.join(HALF_A_PAIR, form=GreetingForm.ENVELOPE)
    assert room.members == ()


def test_id_that_is_given_twice_is_a_defect_of_the_factory():
    """Two participants under one id would get each other's messages."""
    room = Room("lab", ids=lambda: "same")
    room.join("ada", form=GreetingForm.ENVELOPE)

    with pytest.raises(RuntimeError, match="given twice"):
        room.join("ben", form=GreetingForm.ENVELOPE)


def test_enabling_answers_then_lists_then_announces():
    """The reply comes first, then the roster in order of arrival, then the others hear of it."""
    room = make_room()
    join(room, "ada")
    join(room, "ben", role="agent")
    eve = join(room, "eve", enable=False)

    outputs = room.handle(eve, 7, Enable())

    assert shown(outputs) == [
        (["eve"], Reply(7, OK)),
        (
            ["eve"],
            Push(
                eve.id,
                "messaging.enabled",
                {
                    "participants": [
                        {"id": "p-0", "role": "user", "attributes": {"name": "ada"}},
                        {"id": "p-2", "role": "agent", "attributes": {"name": "ben"}},
                    ]
                },
            ),
        ),
        (
            ["ada", "ben"],
            Push(eve.id, "participant.enabled", {"id": "p-4", "role": "user", "attributes": {"name": "eve"}}),
        ),
    ]
    assert outputs[0].id == 7


def test_enabling_again_lists_again_and_announces_nothing():
    """A client that waits for the roster gets it; the others have seen it come."""
    room = make_room()
    ada = join(room, "ada")
    join(room, "ben")

    assert [output.what.type for output in room.handle(ada, 2, Enable())[1:]] == ["messaging.enabled"]


def test_client_that_says_what_it_understands_is_told_that_the_room_bridges():
    """It need not find out what others understand then; official clients are told nothing new."""
    room = make_room()
    ada, ben = join(room, "ada", enable=False), join(room, "ben", enable=False)

    rosters = [room.handle(ada, 1, Enable(("classic", "duplex")))[1].what, room.handle(ben, 1, Enable())[1].what]

    assert [push.message.get("meshsync") for push in rosters] == [{"bridges": True}, None]


def test_room_asks_for_packets_of_a_size_where_it_has_one():
    """It is told beside the rest, and what goes out as text is the same."""
    room = Room("lab", ids=iter(("s", "p")).__next__, told={"packet_size": 65536, "message_size": 4096})
    ada = join(room, "ada", enable=False)

    output = room.handle(ada, 1, Enable(("classic",)))[1]

    assert output.what.message["meshsync"] == {"bridges": True, "packet_size": 65536, "message_size": 4096}
    assert json.loads(bytes(output.head[8:]))["message"] == output.what.message


def test_one_alone_is_announced_to_nobody():
    """There is no message without a recipient."""
    room = make_room()
    ada = join(room, "ada", enable=False)

    assert len(room.handle(ada, 1, Enable())) == 2


def test_roster_is_in_the_order_of_enabling():
    """Who joined first and enabled last comes last, as the others saw it."""
    room = make_room()
    ada = join(room, "ada", enable=False)
    join(room, "ben")
    room.handle(ada, 1, Enable())

    assert [member.name for member in room.members] == ["ada", "ben"]
    assert [member.name for member in room.enabled] == ["ben", "ada"]


def test_disabling_tells_the_others_once():
    """The second time there is only the reply."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    first, second = room.handle(ada, 2, Disable()), room.handle(ada, 3, Disable())

    assert shown(first) == [(["ada"], Reply(2, OK)), (["ben"], Push("p-0", "participant.disabled", {"id": "p-0"}))]
    assert shown(second) == [(["ada"], Reply(3, OK))]


def test_leaving_tells_the_others():
    """Who enabled messaging and leaves is reported as gone."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    assert shown(room.leave(ada)) == [(["ben"], Push("p-0", "participant.disabled", {"id": "p-0"}))]
    assert room.enabled == room.members == (room.members[0],)
    assert ada.presence is Presence.GONE


def test_leaving_unseen_tells_nobody():
    """Who never enabled messaging was never there."""
    room = make_room()
    ada, _ = join(room, "ada", enable=False), join(room, "ben")

    assert room.leave(ada) == []


def test_leaving_twice_is_a_defect_of_the_caller():
    """The table of states has no way out of being gone."""
    room = make_room()
    ada = join(room, "ada")
    room.leave(ada)

    with pytest.raises(RuntimeError, match="cannot go from GONE to GONE"):
        room.leave(ada)


# --- messages ---------------------------------------------------------------------------------------------------------


def test_message_reaches_its_recipient_and_is_acknowledged():
    """The push names its sender; the reply follows it."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    outputs = room.handle(ada, 9, Send(ben.id, "chat", {"text": "hé"}, b"\x01"))

    assert shown(outputs) == [
        (["ben"], Push(ada.id, "chat", {"text": "hé"}, b"\x01")),
        (["ada"], Reply(9, OK)),
    ]
    body = outputs[0].head + outputs[0].payload
    assert decode_push(WireMessage(1, outputs[0].type, body)) == outputs[0].what


def test_message_to_oneself_works():
    """A participant can write to itself."""
    room = make_room()
    ada = join(room, "ada")

    assert shown(room.handle(ada, 2, Send(ada.id, "note", {}))) == [
        (["ada"], Push(ada.id, "note", {})),
        (["ada"], Reply(2, OK)),
    ]


def test_broadcast_reaches_all_others_in_one_output():
    """The sender gets no echo, and who has not enabled gets nothing."""
    room = make_room()
    ada = join(room, "ada")
    join(room, "ben")
    join(room, "zoe", enable=False)
    join(room, "ada")

    outputs = room.handle(ada, 5, Broadcast("news", {"n": 1}, b"xyz"))

    assert shown(outputs) == [(["ben", "ada"], Push(ada.id, "news", {"n": 1}, b"xyz")), (["ada"], Reply(5, OK))]
    assert ada not in outputs[0].to


def test_broadcast_to_nobody_is_acknowledged():
    """Being alone is no error."""
    room = make_room()
    ada = join(room, "ada")

    assert shown(room.handle(ada, 5, Broadcast("news", {}))) == [(["ada"], Reply(5, OK))]


@pytest.mark.parametrize("to", ["p-99", "", "ben"])
def test_unknown_recipient_is_not_found(to):
    """Code and text are those that official clients look for; a name is no id."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    assert refusal(room.handle(ada, 2, Send(to, "chat", {}))) == (1003, "the participant was not found")


@pytest.mark.parametrize("absence", ["never enabled", "disabled", "left"])
def test_recipient_that_does_not_take_part_is_not_found(absence):
    """To others, who has not enabled messaging is not there."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben", enable=absence != "never enabled")
    if absence == "disabled":
        room.handle(ben, 2, Disable())
    elif absence == "left":
        room.leave(ben)

    assert refusal(room.handle(ada, 2, Send(ben.id, "chat", {})))[0] == 1003


@pytest.mark.parametrize("request_", [Send("p-0", "chat", {}), Broadcast("chat", {})])
def test_sender_has_to_enable_messaging_first(request_):
    """Invalid state, in words that say what to do."""
    room = make_room()
    join(room, "ada")
    ben = join(room, "ben", enable=False)

    code, text = refusal(room.handle(ben, 2, request_))

    assert code == 1006
    assert "messaging is not enabled" in text


@pytest.mark.parametrize("type", sorted(RESERVED_TYPES))
def test_presence_cannot_be_forged(type):
    """The types by which the room speaks are refused, sent or broadcast."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    for request in (Send(ben.id, type, {"id": "p-9"}), Broadcast(type, {"id": "p-9"})):
        code, text = refusal(room.handle(ada, 2, request))
        assert code == 1002
        assert type in text


def test_reserved_types_are_the_four_of_the_protocol():
    """No more and no fewer: other types belong to programs."""
    assert sorted(RESERVED_TYPES) == [
        "messaging.enabled",
        "participant.attributes",
        "participant.disabled",
        "participant.enabled",
    ]


@pytest.mark.parametrize("type", ["stream.open", "disconnected", "participant", "__response__", "room_ready"])
def test_other_types_are_passed_on(type):
    """Also those that look like ours: messages are a namespace of their own."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    assert room.handle(ada, 2, Send(ben.id, type, {}))[0].what == Push(ada.id, type, {})


def nested(levels: int) -> Any:
    """Return an object nested so deep."""
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("type", "message"),
    [("chat", {"n": float("inf")}), ("chat", nested(200))],
    ids=["infinite", "deep"],
)
def test_what_cannot_be_passed_on_is_refused_and_the_sender_stays(type, message):
    """The sender is told, and its next message goes through."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    assert refusal(room.handle(ada, 2, Send(ben.id, type, message)))[0] == 1002
    assert refusal(room.handle(ada, 3, Broadcast(type, message)))[0] == 1002
    assert len(room.handle(ada, 4, Send(ben.id, "chat", {}))) == 2


@pytest.mark.parametrize(
    ("type", "message"), [("", {}), (HALF_A_PAIR, {}), ("chat", {"text": HALF_A_PAIR, HALF_A_PAIR: "é"})]
)
def test_what_came_as_json_is_passed_on(type, message):
    """Half a surrogate pair is nothing that we would write, but what JavaScript may send."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    output = room.handle(ada, 2, Send(ben.id, type, message))[0]

    assert decode_push(WireMessage(1, output.type, output.head)) == Push(ada.id, type, message)


def test_what_cannot_be_broadcast_is_refused_when_alone_too():
    """The verdict does not depend on who is there."""
    room = make_room()
    ada = join(room, "ada")

    assert refusal(room.handle(ada, 2, Broadcast("chat", {"n": float("inf")})))[0] == 1002


def test_message_that_outgrows_the_limit_on_its_way_is_refused():
    """A push names the sender where the request named the recipient, and must be readable too."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")
    head = room.handle(ada, 2, Send(ben.id, "chat", {}))[0].size
    fits = bytes(MAX_MESSAGE_SIZE - head)

    assert room.handle(ada, 3, Send(ben.id, "chat", {}, fits))[0].size == MAX_MESSAGE_SIZE
    code, text = refusal(room.handle(ada, 4, Send(ben.id, "chat", {}, fits + b"x")))
    assert (code, "4194305 bytes" in text) == (1002, True)


def test_unknown_request_is_answered():
    """Clients wait for ever, so there is an error for what the room does not know."""
    room = make_room()
    ada = join(room, "ada")

    code, text = refusal(room.handle(ada, 2, UnknownRequest("storage.open")))

    assert code == 1002
    assert "storage.open" in text


def test_pushes_have_ids_that_grow():
    """They mean nothing to clients, and no two that follow each other are equal."""
    room = make_room()
    ada, ben = join(room, "ada"), join(room, "ben")

    ids = [room.handle(ada, 2, Send(ben.id, "chat", {}))[0].id for _ in range(3)]

    assert ids == list(range(ids[0], ids[0] + 3))


# --- attributes -------------------------------------------------------------------------------------------------------


def test_attributes_are_merged_and_the_changes_told_to_the_others():
    """The room keeps all, the others hear what was set; there is no reply."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")
    room.handle(ada, 2, SetAttributes({"mood": "calm"}))

    outputs = room.handle(ada, 3, SetAttributes({"mood": None, "n": [1]}))

    assert shown(outputs) == [
        (["ben"], Push("p-0", "participant.attributes", {"attributes": {"mood": None, "n": [1]}}))
    ]
    assert ada.attributes == {"name": "ada", "mood": None, "n": [1]}


def test_attributes_set_before_enabling_are_told_with_it():
    """Nobody hears of them before; then they are in the announcement."""
    room = make_room()
    join(room, "ada")
    ben = join(room, "ben", enable=False)

    assert room.handle(ben, 1, SetAttributes({"mood": "calm"})) == []
    assert room.handle(ben, 2, Enable())[2].what.message["attributes"] == {"name": "ben", "mood": "calm"}


def test_announcement_does_not_change_when_attributes_do():
    """What was said stays said, also in a record kept of it."""
    room = make_room()
    join(room, "ada")
    ben = join(room, "ben", enable=False)
    announcement = room.handle(ben, 1, Enable())[2].what
    room.handle(ben, 2, SetAttributes({"mood": "calm"}))

    assert announcement.message["attributes"] == {"name": "ben"}


def test_no_attributes_are_told_to_nobody():
    """An empty update is no news."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    assert room.handle(ada, 2, SetAttributes({})) == []


@pytest.mark.parametrize(
    "attributes",
    [{"a": "x" * MAX_ATTRIBUTES_SIZE}, {"a": float("inf")}, {"a": nested(106)}],
    ids=["too large", "infinite", "too deep for a roster"],
)
def test_attributes_that_cannot_be_kept_are_refused(attributes):
    """No client waits for the reply, and one that reads it knows; the others see nothing."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    assert refusal(room.handle(ada, 2, SetAttributes(attributes)))[0] == 1002
    assert ada.attributes == {"name": "ada"}


def test_deepest_attributes_that_are_kept_can_be_listed():
    """Four levels lie around them in a roster, of 110 that a header may have: 106 remain, their own object included."""
    room = make_room()
    ada = join(room, "ada")
    room.handle(ada, 2, SetAttributes({"a": nested(104)}))

    ben = join(room, "ben", enable=False)
    roster = room.handle(ben, 1, Enable())[1]

    assert decode_push(WireMessage(1, roster.type, roster.head)) == roster.what
    assert refusal(room.handle(ada, 3, SetAttributes({"a": nested(105)})))[0] == 1002


def test_attributes_are_limited_in_total():
    """Many small updates are as much as one large."""
    room = make_room()
    ada = join(room, "ada")
    room.handle(ada, 2, SetAttributes({"a": "x" * (MAX_ATTRIBUTES_SIZE - 200)}))

    assert "at most 65536" in refusal(room.handle(ada, 3, SetAttributes({"b": "x" * 200})))[1]


def test_roster_larger_than_a_message_is_sent_in_parts():
    """65 participants with nearly 64 KiB each are more than the 4 MiB of a message: the last ones follow one by one."""
    room = make_room()
    for number in range(65):
        member = join(room, f"member-{number}", enable=False)
        room.handle(member, 1, SetAttributes({"a": "x" * (MAX_ATTRIBUTES_SIZE - 200)}))
        room.handle(member, 2, Enable())
    late = join(room, "late", enable=False)

    answer, roster, *others = room.handle(late, 1, Enable())
    parts = [output.what for output in others if output.to == (late,)]

    assert answer.what == Reply(1, OK)
    assert max(output.size for output in (roster, *others)) <= MAX_MESSAGE_SIZE
    listed = [entry["attributes"]["name"] for entry in roster.what.message["participants"]]
    assert {part.type for part in parts} == {"participant.enabled"}
    listed += [part.message["attributes"]["name"] for part in parts]
    assert listed == [f"member-{number}" for number in range(65)]
    for output in (roster, *others):
        assert decode_push(WireMessage(1, output.type, output.head)) == output.what
    assert late.presence is Presence.ENABLED


@pytest.mark.parametrize(
    "updates",
    [
        [{}],
        [{"a": 1}, {"b": "é"}, {"a": [[], {"x": None}]}],
        [{"name": "Ada", "": ""}, {"": 5}],
        [{str(n): n for n in range(1000)}, {str(n): -n for n in range(500, 1500)}],
    ],
)
def test_size_of_attributes_that_is_kept_is_that_of_their_json(updates):
    """After each update, whatever it adds and replaces; the roster entry that is kept is that of the attributes."""
    room = make_room()
    ada = join(room, "ada")
    expected = {"name": "ada"}

    for number, update in enumerate(updates):
        room.handle(ada, number, SetAttributes(update))
        expected |= update
        text = json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()
        assert (ada.attributes_size, ada.attributes) == (len(text), expected)
        assert ada.entry == b'{"id":"p-0","role":"user","attributes":' + text + b"}"


def test_attribute_cut_between_halves_of_a_pair_can_be_listed():
    """It goes on as the escape that it came as, and its neighbours as they are."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")

    (update,) = room.handle(ada, 2, SetAttributes({"a": HALF_A_PAIR, "b": "é"}))
    roster = room.handle(ada, 3, Enable())[1]
    listed = room.handle(join(room, "eve", enable=False), 1, Enable())[1]

    assert decode_push(WireMessage(1, update.type, update.head)) == update.what
    assert decode_push(WireMessage(1, roster.type, roster.head)) == roster.what
    assert decode_push(WireMessage(1, listed.type, listed.head)) == listed.what


def test_update_costs_what_it_holds_and_not_what_is_there():
    """Of attributes of 60,000 bytes, an update of one writes that one alone: nothing of its size is made."""
    room = make_room()
    ada, _ = join(room, "ada"), join(room, "ben")
    room.handle(ada, 2, SetAttributes({str(n): [[]] * 10 for n in range(1400)}))
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        room.handle(ada, 3, SetAttributes({"mood": "calm"}))
    finally:
        sys.setprofile(None)

    assert ada.attributes_size > 50_000
    assert calls < 300  # Each of the lists alone would be one call or more.


# --- rights -----------------------------------------------------------------------------------------------------------


def test_without_any_right_messaging_cannot_be_enabled():
    """A token with an ``api`` grant that does not name messaging."""
    room = make_room()
    ada = join(room, "ada", enable=False, rights=Rights(send=False, broadcast=False, list=False))

    assert refusal(room.handle(ada, 1, Enable()))[0] == 1001
    assert ada.presence is Presence.CONNECTED


@pytest.mark.parametrize(("rights", "refused"), [(Rights(send=False), "send"), (Rights(broadcast=False), "broadcast")])
def test_right_that_was_not_given_is_enforced(rights, refused):
    """What is forbidden is refused, what is not works."""
    room = make_room()
    ada, ben = join(room, "ada", rights=rights), join(room, "ben")
    answers = {
        "send": room.handle(ada, 2, Send(ben.id, "chat", {})),
        "broadcast": room.handle(ada, 3, Broadcast("chat", {})),
    }

    code, text = refusal(answers.pop(refused))

    assert (code, refused in text) == (1001, True)
    assert [len(outputs) for outputs in answers.values()] == [2]


def test_without_the_right_to_list_nobody_is_told_of():
    """No roster, no coming, going or changing; messages arrive all the same."""
    room = make_room()
    ada = join(room, "ada")
    spy = join(room, "spy", enable=False, rights=Rights(list=False))

    assert room.handle(spy, 1, Enable())[1].what.message == {"participants": []}
    ben = join(room, "ben", enable=False)
    told = [
        *room.handle(ben, 1, Enable())[2:],
        *room.handle(ben, 2, SetAttributes({"a": 1})),
        *room.handle(ben, 3, Disable())[1:],
    ]
    assert [[member.name for member in output.to] for output in told] == [["ada"]] * 3
    assert shown(room.handle(ada, 2, Send(spy.id, "chat", {})))[0] == (["spy"], Push(ada.id, "chat", {}))


# --- what a decoder made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1,2.5,null,true,{"b":"é"}]}',
        '{"":{}}',
        '{"a":"\\ud83d"}',
        '{"a":%s}' % ("[" * 98 + "]" * 98),
        '{"a":1e300}',
    ],
    ids=["plain", "empty name", "half a pair", "as deep as may be", "large number"],
)
@pytest.mark.parametrize("speaks", ["A3", "B3"])
def test_decoded_message_goes_on_the_same_without_a_second_check(text, speaks):
    """A room whose requests are all decoded writes the bytes that a room writes which checks them."""
    sent = split(1, *encode_request(Send("p-2", "chat", json.loads(text.replace("\\ud83d", "x"))), dialect(speaks)))
    (message,) = Reassembler().feed(sent)
    request = decode_request(message)
    request = replace(request, message=json.loads(text))
    outputs = []
    for is_decoded in (False, True):
        numbers = itertools.count()
        room = Room("lab", ids=lambda numbers=numbers: f"p-{next(numbers)}", is_decoded=is_decoded)
        ada, _ = join(room, "ada"), join(room, "ben")
        outputs.append([(output.type, output.head) for output in room.handle(ada, 1, request)])
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 2


def test_what_is_held_for_a_participant_is_counted_and_free_when_its_streams_are_over():
    """Calls with their ids, classic streams, and attributes."""
    room = make_room()
    ada, ben = join(room, "ada", version="0.56.0"), join(room, "ben", version="0.0.21")
    before = ada.held, ben.held
    for number in range(10):
        room.handle(ada, 1, OpenCall(f"{number}" * 200))
        opening = Send(ada.id, "stream.open", {"stream_id": f"{number}" * 200, "header": {}})
        room._classic.note(ben, opening, ada)
    assert ada.held - before[0] > 20_000
    assert ben.held - before[1] > 15_000

    room.handle(ben, 2, Disable())
    room.handle(ada, 2, Disable())
    assert (ada.held, ben.held) == before
    room.handle(ada, 3, SetAttributes({"a": "x" * 10_000}))
    assert ada.held > before[0] + 10_000
