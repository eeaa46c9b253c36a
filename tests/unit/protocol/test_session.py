"""One conversation from the client's side: what it reports of what arrives, and what it sends."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from meshsync.errors import InvalidMessage, ProtocolError
from meshsync.protocol import events
from meshsync.protocol.codec import decode_request
from meshsync.protocol.content import Content, Control, Empty, Error, Text
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Broadcast,
    Call,
    CallChunk,
    CallMessage,
    Connected,
    Disable,
    Enable,
    Push,
    Reply,
    Request,
    RoomReady,
    Send,
    SetAttributes,
    Status,
)
from meshsync.protocol.packets import LARGEST_PACKET, Reassembler, split
from meshsync.protocol.roster import RosterEntry
from meshsync.protocol.session import Participation, Session
from tests.support.scripted import Said, packets_of
from tests.support.statuses import encode_status

READY = RoomReady("lab", "ws://lab.test/rooms/lab", "s-1")
CONNECTED = Connected("p-1", {"name": "me"})
CHAT = Send("p-2", "chat", {"text": "hi"}, b"\x01")
BOB = {"id": "p-2", "role": "user", "attributes": {"name": "bob"}}
EVE = {"id": "p-3", "role": "agent", "attributes": {"name": "eve"}}
BOB_MEMBER = RosterEntry("p-2", "user", {"name": "bob"})
EVE_MEMBER = RosterEntry("p-3", "agent", {"name": "eve"})


def hear(session: Session, *messages: Said) -> list[events.Event]:
    """Have messages arrive, and return what is reported."""
    return list(session.receive(packets_of(*messages)))


def ask(session: Session, request: Request) -> int:
    """Send a request and return its id."""
    return session.issue(request, session.encode(request))[0]


def push(type: str, message: dict[str, Any], sender: str = "p-2") -> Push:
    """Return a push."""
    return Push(sender, type, message)


def roster(*members: dict[str, Any]) -> Push:
    """Return the list of those who take part."""
    return push("messaging.enabled", {"participants": list(members)}, "p-1")


@pytest.fixture
def session() -> Session:
    """Return a session that has been greeted."""
    session = Session(dialect("A3"))
    hear(session, READY, CONNECTED)
    return session


@pytest.fixture
def enabled(session: Session) -> Session:
    """Return a session that takes part, with bob."""
    hear(session, Reply(ask(session, Enable()), Empty()), roster(BOB))
    return session


def skipped(found: list[events.Event]) -> str:
    """Return why the one thing that arrived was skipped."""
    (event,) = found
    assert isinstance(event, events.Skipped)
    return event.reason


# --- greeting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(READY, CONNECTED), (CONNECTED, READY)])
def test_greeting_is_complete_with_both_halves_in_either_order(order: tuple[Any, Any]) -> None:
    """Nothing is reported at the first half, and all of both at the second."""
    session = Session(dialect("A3"))
    assert hear(session, order[0]) == []
    assert not session.is_ready
    expected = events.Ready("lab", "ws://lab.test/rooms/lab", "s-1", "p-1", {"name": "me"})
    assert hear(session, order[1]) == [expected]
    assert (session.is_ready, session.participant_id) == (True, "p-1")


def test_second_greeting_is_skipped(session: Session) -> None:
    """Who this client is does not change under way."""
    assert skipped(hear(session, Connected("p-9", {}))) == "a second greeting"
    assert session.participant_id == "p-1"


def test_push_before_the_greeting_is_skipped() -> None:
    """A room that speaks of messages too early is not believed, and the greeting still works."""
    session = Session(dialect("A3"))
    assert skipped(hear(session, push("chat", {}))) == "a message of type 'chat' before the greeting"
    assert [type(event) for event in hear(session, READY, CONNECTED)] == [events.Ready]


def test_broken_greeting_ends_the_conversation() -> None:
    """Before readiness a message that makes no sense leaves nothing to go on with."""
    session = Session(dialect("A3"))
    with pytest.raises(ProtocolError, match="room_ready"):
        list(session.receive(split(0, "room_ready", b"{}")))


def test_status_is_reported(session: Session) -> None:
    """What the room says of itself is handed on as it is."""
    packets = split(0, *encode_status(Status({"status": "ready"})))
    assert list(session.receive(packets)) == [events.StatusReported({"status": "ready"})]


# --- requests ---------------------------------------------------------------------------------------------------------


def test_requests_are_numbered_from_one_in_the_order_of_issue(session: Session) -> None:
    """Every request uses an id, also the one that is not answered."""
    assert [ask(session, request) for request in (Enable(), SetAttributes({"a": 1}), CHAT)] == [1, 2, 3]


def test_request_travels_in_packets_of_the_chosen_size() -> None:
    """A body of 100 bytes and more in packets of 64 takes two, and decodes to what was sent."""
    session = Session(dialect("A3"), packet_size=64)
    _, packets = session.issue(CHAT, session.encode(CHAT))
    (message,) = Reassembler().feed(packets)
    assert decode_request(message) == CHAT
    assert [len(packet) - 12 for packet in packets[1:-1]] == [64] * (len(packets) - 2)
    assert len(packets) == 3


@pytest.mark.parametrize(
    ("asked", "given", "size"),
    [
        (65536, 1024, 65536), (500, 1024, 1024), (65536, 100_000, 100_000), (2**40, 1024, LARGEST_PACKET),
        (True, 1024, 1024), ("65536", 1024, 1024), (None, 1024, 1024), (-1, 1024, 1024),
    ],
)  # fmt: skip
def test_packets_are_as_large_as_the_room_asks_for(asked: object, given: int, size: int) -> None:
    """No smaller than its program wants them, no larger than a ping can wait for; another connection begins anew."""
    session = Session(dialect("A3"), packet_size=given)
    own = {"participants": [], "meshsync": {"bridges": True, "packet_size": asked}}
    hear(session, READY, CONNECTED, push("messaging.enabled", own, "p-1"))
    large = Send("p", "data", {}, bytes(600_000))
    for each, expected in ((session, size), (session.anew(), given)):
        _, packets = each.issue(large, each.encode(large))
        assert len(packets[1]) - 12 == expected


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        # 3/4 of what is left of 20 KiB beside the data, or a quarter of all if that is more.
        (None, 3_130_368), (2**40, 3_130_368), ("9", 3_130_368), (True, 3_130_368), (100_000, 59_640), (8000, 2000),
        (3, 1), (-5, 1),
    ],
)  # fmt: skip
def test_streams_have_no_more_data_in_a_message_than_the_room_takes(told: object, limit: int) -> None:
    """It tells its limit beside the size of packets; another connection begins anew."""
    session = Session(dialect("A3"))
    own = {"participants": [], "meshsync": {"bridges": True, "message_size": told}}
    hear(session, READY, CONNECTED, push("messaging.enabled", own, "p-1"))
    # 4 MiB without 20 KiB are 4,173,824 bytes, and 3/4 of that 3,130,368.
    assert (session.data_limit, session.anew().data_limit) == (limit, 3_130_368)


@pytest.mark.parametrize("name", ["A1", "A3", "B1", "B3"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 70_000])
def test_size_is_known_without_a_copy(name: str, size: int) -> None:
    """What may be sent in parts is judged as a whole, to the byte, as if it were encoded."""
    request = Send("p-2", "chat", {"text": 'hé"'}, memoryview(bytes(size)))
    _, body, more = Session(dialect(name)).encode(request)
    exact = len(body) + sum(map(len, more))
    Session(dialect(name), max_message_size=exact).check(request)
    for refuse in (Session.check, Session.encode):
        with pytest.raises(InvalidMessage, match=f"the message has {exact} bytes once encoded"):
            refuse(Session(dialect(name), max_message_size=exact - 1), request)


def test_what_json_cannot_carry_is_found_without_the_attachment() -> None:
    """Where it stands in the message."""
    with pytest.raises(InvalidMessage, match=r"message\['a'\]"):
        Session(dialect("B3")).check(Send("p-2", "chat", {"a": {1}}, bytes(100_000)))


def test_packets_without_room_for_a_byte_are_refused_from_the_start() -> None:
    """A packet size of zero fails where it is given, not at the first message."""
    with pytest.raises(ValueError, match="a packet takes at least 1 body byte, not 0"):
        Session(dialect("A3"), packet_size=0)


def test_message_as_large_as_the_room_takes_is_encoded_and_one_byte_more_is_not() -> None:
    """The bound counts the whole body; the error says what to do."""
    # The length (8), the header {"type":"t","message":{}} (25 bytes) and the attachment: 8 + 25 + 67 = 100.
    session = Session(dialect("A3"), max_message_size=100)
    assert len(session.encode(Broadcast("t", {}, bytes(67)))[1]) == 100
    with pytest.raises(InvalidMessage, match="has 101 bytes once encoded, and a room takes at most 100: send it in"):
        session.encode(Broadcast("t", {}, bytes(68)))


def test_answer_is_reported_once(session: Session) -> None:
    """The second answer to one request is skipped, as is one to a request that was never made; if it says anything."""
    number = ask(session, CHAT)
    assert hear(session, Reply(number, Empty())) == [events.Answered(number, Empty())]
    assert skipped(hear(session, Reply(number, Text("so")))) == "an answer to request 1, which is not pending"
    assert skipped(hear(session, Reply(99, Error("no")))) == "an answer to request 99, which is not pending"
    assert hear(session, Reply(number, Empty())) == []


def test_words_on_calls_bear_the_call_s_id_and_await_no_answer(session: Session) -> None:
    """The recipient answers under the id of the call; ids of requests go on; a careful room's answer is no news."""
    assert ask(session, CHAT) == 1
    assert ask(session, AnswerCall(41, Control("open"))) == 41
    assert ask(session, AnswerChunk(41, "x", CallMessage("chunk", {}))) == 41
    chunk = ask(session, CallChunk("x", CallMessage("chunk", {})))
    assert chunk == 2
    assert hear(session, Reply(chunk, Empty())) == []
    assert session.stats().pending == 1
    assert hear(session, Reply(1, Empty())) == [events.Answered(1, Empty())]


def test_calls_are_passed_on(session: Session) -> None:
    """As they came; before the greeting they are skipped."""
    call = Call(7, "x", "p-2", "stream", Control("open"))
    first = CallChunk("x", CallMessage("open", {}, sender="p-2"))
    words: list[Said] = [call, first, AnswerChunk(0, "y", Accepted("y"))]
    assert [event for word in words for event in hear(session, word)] == words
    assert "before the greeting" in skipped(hear(Session(dialect("B")), call))


def test_withdrawn_request_is_not_pending(session: Session) -> None:
    """A request of which nothing was sent has no answer."""
    number = ask(session, Enable())
    session.withdraw(number)
    session.withdraw(number)
    assert "not pending" in skipped(hear(session, Reply(number, Text("so"))))
    assert session.participation is Participation.OUT


def test_attributes_await_no_answer(session: Session) -> None:
    """An answer to attributes would be ignored."""
    assert "not pending" in skipped(hear(session, Reply(ask(session, SetAttributes({"a": 1})), Text("so"))))


def test_attachments_are_not_kept_until_the_answer(session: Session) -> None:
    """The content of a request is released when it is sent, though its answer is still to come."""

    class Attachment(bytearray):
        """Bytes that can be observed."""

    attachment = Attachment(10)
    observed = weakref.ref(attachment)
    number = ask(session, Send("p-2", "chat", {}, attachment))
    del attachment
    gc.collect()
    assert observed() is None
    assert hear(session, Reply(number, Empty())) == [events.Answered(number, Empty())]


def test_answer_that_cannot_be_understood_fails_its_request(session: Session) -> None:
    """A task waits for it, and nothing else will come: it is an error with the code of an unexpected response."""
    number = ask(session, CHAT)
    header = b'{"type":"riddle"}'
    found = list(session.receive(split(number, "__response__", len(header).to_bytes(8, "big") + header)))
    assert [type(event) for event in found] == [events.Skipped, events.Answered]
    text = "the room's answer cannot be understood: content of an unknown type: 'riddle'"
    assert found[1] == events.Answered(number, Error(text, 1100))


# --- messages ---------------------------------------------------------------------------------------------------------


def test_message_is_reported_with_its_attachment(enabled: Session) -> None:
    """A message of a type that is not the room's own goes to the program."""
    found = hear(enabled, Push("p-2", "chat", {"text": "hi"}, b"\x01"))
    assert found == [events.Received("p-2", "chat", {"text": "hi"}, b"\x01")]
    assert isinstance(found[0], events.Received)
    assert type(found[0].attachment) is bytes


def test_unknown_and_broken_messages_are_skipped(enabled: Session) -> None:
    """What is behind them in the same read still arrives."""
    packets = [*split(0, "room.news", b""), *split(0, "messaging.send", b"{}"), *packets_of(push("chat", {}))]
    found = list(enabled.receive(packets))
    assert [type(event) for event in found] == [events.Skipped, events.Skipped, events.Received]


def test_broken_packets_end_the_conversation(enabled: Session) -> None:
    """Interleaved messages leave everything behind them in doubt; what came before is reported."""
    found = []
    with pytest.raises(ProtocolError):
        for event in enabled.receive([*packets_of(push("chat", {})), b"\0" * 8 + b"\0\0\0\x01" + b"body"]):
            found.append(event)
    assert [type(event) for event in found] == [events.Received]


# --- taking part ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_roster_first", [False, True])
def test_taking_part_begins_with_answer_and_roster_in_either_order(session: Session, is_roster_first: bool) -> None:
    """Only the second of them says so, before whoever waits for the answer can look."""
    number = ask(session, Enable())
    both: list[Said] = [Reply(number, Empty()), roster(BOB, EVE)]
    first, second = reversed(both) if is_roster_first else both
    answered = events.Answered(number, Empty())
    began = [
        events.Enabled((BOB_MEMBER, EVE_MEMBER)),
        events.MemberAdded(BOB_MEMBER),
        events.MemberAdded(EVE_MEMBER),
    ]
    assert hear(session, first) == ([] if is_roster_first else [answered])
    assert hear(session, second) == ([*began, answered] if is_roster_first else began)
    assert session.participation is Participation.IN


def test_own_entry_in_the_roster_is_left_out(session: Session) -> None:
    """The others are meant."""
    me = {"id": "p-1", "role": "user", "attributes": {"name": "me"}}
    hear(session, Reply(ask(session, Enable()), Empty()), roster(me, BOB))
    assert list(session.roster) == [BOB_MEMBER]
    assert hear(session, push("participant.enabled", me)) == []


def test_arrivals_between_answer_and_roster_are_told_with_the_roster(session: Session) -> None:
    """Nothing is reported before taking part, and no participant twice."""
    number = ask(session, Enable())
    assert hear(session, Reply(number, Empty()), push("participant.enabled", EVE))[1:] == []
    found = hear(session, roster(BOB, EVE))
    assert found[0] == events.Enabled((EVE_MEMBER, BOB_MEMBER))
    assert len(found) == 3


def test_refused_enabling_changes_nothing(session: Session) -> None:
    """The refusal is the answer, and a roster that came before it is forgotten without a word."""
    number = ask(session, Enable())
    refusal = Error("no", 1001)
    assert hear(session, roster(BOB), Reply(number, refusal)) == [events.Answered(number, refusal)]
    assert (session.participation, len(session.roster)) == (Participation.OUT, 0)


@pytest.mark.parametrize("content", [Empty(), Error("already", 1004)])
def test_enabling_again_adds_only_who_is_new(enabled: Session, content: Content) -> None:
    """A second enable, agreed to or refused, keeps the roster; its list may bring a new participant."""
    number = ask(enabled, Enable())
    found = hear(enabled, Reply(number, content), roster(BOB, EVE))
    assert found == [events.Answered(number, content), events.MemberAdded(EVE_MEMBER)]


def test_leaving_reports_everybodys_removal_before_the_answer(enabled: Session) -> None:
    """Whoever waits for the answer finds the roster empty."""
    number = ask(enabled, Disable())
    found = hear(enabled, Reply(number, Empty()))
    assert found == [events.MemberRemoved(BOB_MEMBER), events.Disabled(), events.Answered(number, Empty())]
    assert (enabled.participation, len(enabled.roster)) == (Participation.OUT, 0)


def test_refused_leaving_changes_nothing(enabled: Session) -> None:
    """Who may not leave still takes part."""
    number = ask(enabled, Disable())
    assert hear(enabled, Reply(number, Error("no"))) == [events.Answered(number, Error("no"))]
    assert enabled.participation is Participation.IN


def test_leaving_while_out_is_no_event(session: Session) -> None:
    """Who did not take part does not stop doing so."""
    number = ask(session, Disable())
    assert hear(session, Reply(number, Empty())) == [events.Answered(number, Empty())]


def test_leaving_before_the_roster_came_is_no_event(session: Session) -> None:
    """Taking part that never began does not end."""
    hear(session, Reply(ask(session, Enable()), Empty()))
    number = ask(session, Disable())
    assert hear(session, Reply(number, Empty())) == [events.Answered(number, Empty())]
    assert session.participation is Participation.OUT


def test_what_a_room_says_of_others_while_out_leaves_no_trace(enabled: Session) -> None:
    """After leaving, arrivals and lists that were not asked for do not turn up at the next enabling."""
    hear(enabled, Reply(ask(enabled, Disable()), Empty()))
    assert hear(enabled, push("participant.enabled", EVE)) == []
    assert skipped(hear(enabled, roster(EVE))) == "a list of participants that was not asked for"
    found = hear(enabled, Reply(ask(enabled, Enable()), Empty()), roster())
    assert found[1:] == [events.Enabled(())]


# --- the others -------------------------------------------------------------------------------------------------------


def test_arrival_and_departure_are_reported_once(enabled: Session) -> None:
    """A departure of an unknown participant is nothing, an arrival of a known one at most a change."""
    assert hear(enabled, push("participant.enabled", EVE)) == [events.MemberAdded(EVE_MEMBER)]
    again = push("participant.enabled", EVE | {"attributes": {"mood": "calm"}})
    changed = RosterEntry("p-3", "agent", {"name": "eve", "mood": "calm"})
    assert hear(enabled, again) == [events.MemberChanged(changed, {"mood": "calm"})]
    assert hear(enabled, push("participant.disabled", {"id": "p-3"})) == [events.MemberRemoved(changed)]
    assert hear(enabled, push("participant.disabled", {"id": "p-3"})) == []


def test_attributes_are_merged_into_those_of_the_sender(enabled: Session) -> None:
    """The subject is the sender; an unknown one is ignored."""
    changed = RosterEntry("p-2", "user", {"name": "bob", "mood": "calm"})
    update = push("participant.attributes", {"attributes": {"mood": "calm"}})
    assert hear(enabled, update) == [events.MemberChanged(changed, {"mood": "calm"})]
    assert hear(enabled, push("participant.attributes", {"attributes": {"mood": "calm"}}, "p-9")) == []


@pytest.mark.parametrize(
    ("type", "message", "reason"),
    [
        ("messaging.enabled", {}, "messaging.enabled without a list of participants"),
        ("messaging.enabled", {"participants": [7]}, "a participant that is no JSON object"),
        ("participant.enabled", {"id": "p-3"}, "a participant without a proper id, role or attributes"),
        ("participant.enabled", EVE | {"attributes": [1]}, "a participant without a proper id, role or attributes"),
        ("participant.disabled", {}, "participant.disabled without an id"),
        ("participant.attributes", {"attributes": None}, "participant.attributes without attributes"),
    ],
)
def test_news_that_make_no_sense_are_skipped(enabled: Session, type: str, message: dict[str, Any], reason: str) -> None:
    """The roster stays as it was, and the conversation goes on."""
    assert skipped(hear(enabled, push(type, message))) == reason
    assert list(enabled.roster) == [BOB_MEMBER]


def test_participant_may_come_without_attributes(enabled: Session) -> None:
    """TypeScript takes that, so do we."""
    assert hear(enabled, push("participant.enabled", {"id": "p-3", "role": "user"})) == [
        events.MemberAdded(RosterEntry("p-3", "user", {}))
    ]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_end_removes_everybody_in_order(enabled: Session) -> None:
    """The end of the connection is everybody's departure, once."""
    hear(enabled, push("participant.enabled", EVE))
    assert list(enabled.end()) == [events.MemberRemoved(BOB_MEMBER), events.MemberRemoved(EVE_MEMBER)]
    assert list(enabled.end()) == []


def test_end_before_taking_part_reports_nobody(session: Session) -> None:
    """Who was never told of does not leave."""
    hear(session, Reply(ask(session, Enable()), Empty()), push("participant.enabled", EVE))
    assert list(session.end()) == []
