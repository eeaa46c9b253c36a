"""`LinkRecorder`: each message ends up in the transcript once for each recipient, whatever became of it."""

from __future__ import annotations

from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import pytest

from meshsync.protocol.codec import encode_request
from meshsync.protocol.dialects import dialect
from meshsync.protocol.greeting import greeting_form
from meshsync.protocol.operations import Broadcast, Enable, Request, Send, SetAttributes
from meshsync.protocol.packets import split
from simulator.engine.kernel import Kernel
from simulator.engine.seeds import Seeds
from simulator.latency import constant
from simulator.network.frames import ControlFrame, framed
from simulator.network.links import Link
from simulator.network.network import Ended
from simulator.network.traffic import Traffic
from simulator.record.link_recorder import Line, LinkRecorder
from simulator.record.records import Packet, Record
from simulator.record.transcript import Transcript
from simulator.room.members import EMPTY
from simulator.room.rules import Member, Room, reply
from simulator.room.seat import Account, Held, Parcel

A3 = dialect("A3")
CHAT = {"text": "hi"}


class Tape:
    """A recorder, a room of participants who have enabled messaging, and a hand on the clock."""

    def __init__(self, *names: str) -> None:
        self.transcript = Transcript()
        self.kernel = Kernel()
        self.events: list[tuple[Any, ...]] = []
        self.recorder = LinkRecorder(self.transcript, lambda: self.kernel.now, self.notice)
        ids = iter(range(100))
        self.room = Room("lab", ids=lambda: f"p-{next(ids)}")
        self.links: dict[str, Link[Traffic]] = {}
        self.lines: dict[str, Line] = {}
        self.members = {name: self.join(name) for name in names}
        self.begin = len(self.transcript)

    def notice(self, event: str, **about: str | None) -> None:
        self.events.append((event, *(value for value in about.values() if value is not None)))

    def join(self, name: str) -> Member:
        member, _ = self.room.join(name, form=greeting_form(None))
        self.recorder.joined(member)
        for direction in ("up", "down"):
            stream = Seeds(0).stream("")
            self.links[name + direction] = Link(self.kernel, stream, delay=constant(0), name=f"{name}#1/{direction}")
            self.lines[name + direction] = Line(name, direction == "up", SimpleNamespace(ended=Ended.NEITHER))
        self.handle(member, Enable())
        return member

    def handle(self, member: Member, request: Request) -> list[Any]:
        sent = self.recorder.received(member)
        outputs = self.room.handle(member, 1, request)
        self.recorder.handled(member, sent, request, outputs)
        return outputs

    def tap(self, name: str, direction: str, what: str, *packets: Any, is_heard: bool = True) -> None:
        frames = [one if isinstance(one, tuple) else framed([one], is_masked=True)[0][0] for one in packets]
        key = name + direction
        self.lines[key].ends.ended = Ended.NEITHER if is_heard else Ended.CLIENT
        self.recorder.tap(self.lines[key], self.members[name].id, self.links[key], what, frames)

    def carry(self, name: str, what: str, *outputs: Any, is_heard: bool = True) -> None:
        packets = [packet for output in outputs for packet in Parcel(output, Account(), Held()).packets()]
        self.tap(name, "down", "sent", *packets)
        self.tap(name, "down", what, *packets, is_heard=is_heard)

    @property
    def news(self) -> list[Record]:
        return list(self.transcript)[self.begin :]

    def told(self) -> list[tuple[str, str, str, str]]:
        return [(record.kind, record.sender, record.recipient, record.outcome) for record in self.news]


def packets_of(request: Request, id: int = 1) -> list[bytes]:
    """Return a request as a client sends it."""
    return split(id, *encode_request(request, A3))


@pytest.fixture
def tape() -> Tape:
    """Return a tape with three participants."""
    return Tape("alice", "bob", "carol")


# --- delivered --------------------------------------------------------------------------------------------------------


def test_a_message_is_written_when_it_arrives_with_its_whole_way(tape: Tape) -> None:
    """The record's latency is from the first packet's leaving the sender to the last one's arrival."""
    request = Send(tape.members["bob"].id, "chat", CHAT, b"x" * 5000)
    packets = packets_of(request)
    tape.tap("alice", "up", "sent", *packets)
    tape.kernel.move(30)
    tape.tap("alice", "up", "arrived", *packets)
    push, _ = tape.handle(tape.members["alice"], request)
    tape.kernel.move(70)
    tape.carry("bob", "arrived", push)
    (record,) = tape.news
    assert (record.time_ns, record.latency_ns, record.outcome) == (70, 70, "delivered")
    assert (record.sender, record.recipient, record.detail) == ("alice", "bob", CHAT)
    assert record.size_bytes == push.size > 5000


def test_messages_that_arrive_together_keep_their_own_times_of_sending(tape: Tape) -> None:
    """Two messages that were sent at two instants and arrive at one have different latencies."""
    alice = tape.members["alice"]
    requests = [Send(tape.members["bob"].id, "chat", {"n": number}) for number in range(2)]
    for request in requests:
        tape.tap("alice", "up", "sent", *packets_of(request))
        tape.kernel.move(tape.kernel.now + 10)
    for request in requests:
        tape.tap("alice", "up", "arrived", *packets_of(request))
    for request in requests:
        tape.carry("bob", "arrived", tape.handle(alice, request)[0])
    assert [record.latency_ns for record in tape.news] == [20, 10]


def test_a_broadcast_has_one_record_for_each_recipient(tape: Tape) -> None:
    """Each recipient's record tells its own latency and fate."""
    push, _ = tape.handle(tape.members["alice"], Broadcast("news", CHAT))
    tape.kernel.move(5)
    tape.carry("bob", "arrived", push)
    tape.kernel.move(9)
    tape.carry("carol", "lost", push)
    assert [(record.recipient, record.latency_ns, record.outcome) for record in tape.news] == [
        ("bob", 5, "delivered"),
        ("carol", None, "lost"),
    ]


def test_a_broadcast_to_nobody_is_written_down_without_a_recipient() -> None:
    """It has come as far as the room."""
    tape = Tape("alice")
    tape.handle(tape.members["alice"], Broadcast("news", CHAT))
    assert tape.told() == [("message", "alice", "", "delivered")]


def test_what_reaches_a_client_that_is_gone_is_lost(tape: Tape) -> None:
    """Bytes that come to a closed socket are not delivered."""
    push, _ = tape.handle(tape.members["alice"], Send(tape.members["bob"].id, "chat", CHAT))
    tape.carry("bob", "arrived", push, is_heard=False)
    assert tape.told() == [("message", "alice", "bob", "lost")]


@pytest.mark.parametrize("together", [True, False])
def test_a_reply_is_not_taken_for_a_message_of_the_same_number(tape: Tape, together: bool) -> None:
    """A reply has its request's id, and a message on its way to the same participant may have that id, too."""
    push, _ = tape.handle(tape.members["alice"], Send(tape.members["bob"].id, "chat", CHAT))
    packets = Parcel(reply(tape.members["bob"], push.id, EMPTY), Account(), Held()).packets()
    for bundle in [packets] if together else [[packet] for packet in packets]:
        tape.tap("bob", "down", "arrived", *bundle)
    assert tape.news == []
    tape.carry("bob", "arrived", push)
    assert tape.told() == [("message", "alice", "bob", "delivered")]


@pytest.mark.parametrize("size", [0, 5000])
def test_records_do_not_depend_on_how_packets_are_bundled(size: int) -> None:
    """A message of two packets, and one of more, are recorded alike whether its packets go together or one by one."""

    def record(bundle: int) -> tuple[list[Record], list[Packet]]:
        tape = Tape("alice", "bob")
        request = Send(tape.members["bob"].id, "chat", CHAT, bytes(size))
        for name, direction, packets in (("alice", "up", packets_of(request)), ("bob", "down", [])):
            packets = packets or Parcel(tape.handle(tape.members["alice"], request)[0], Account(), Held()).packets()
            bundles = [packets[begin : begin + bundle] for begin in range(0, len(packets), bundle)]
            for what in ("sent", "arrived"):
                for together in bundles:
                    tape.tap(name, direction, what, *together)
                tape.kernel.move(tape.kernel.now + 10)
        return tape.news, list(tape.transcript.packets)

    records, packets = record(1)
    assert [(one.outcome, one.latency_ns) for one in records] == [("delivered", 30)]
    assert [record(bundle) for bundle in (2, 3, 100)] == [(records, packets)] * 3


# --- lost -------------------------------------------------------------------------------------------------------------


def test_a_message_lost_on_the_way_up_is_written_once(tape: Tape) -> None:
    """It is decoded from its packets, of which the first had arrived, and is as large as it would have been."""
    request = Send(tape.members["bob"].id, "chat", CHAT, b"x" * 3000)
    first, *rest = packets_of(request)
    tape.tap("alice", "up", "sent", first, *rest)
    tape.tap("alice", "up", "arrived", first)
    tape.tap("alice", "up", "lost", *rest)
    tape.recorder.left(tape.members["alice"])
    assert tape.told() == [("message", "alice", "bob", "lost"), ("disconnected", "alice", "", "")]
    assert tape.news[0].size_bytes == tape.handle(tape.members["carol"], request)[0].size


def test_a_message_whose_rest_was_never_sent_is_lost_with_its_sender(tape: Tape) -> None:
    """Its header tells what it was; packets that come later are not taken for another one's."""
    packets = packets_of(Send(tape.members["bob"].id, "chat", CHAT, b"x" * 5000))
    tape.tap("alice", "up", "sent", *packets)
    tape.tap("alice", "up", "arrived", *packets[:3])
    tape.recorder.left(tape.members["alice"])
    tape.tap("alice", "up", "lost", *packets[3:])
    assert tape.told() == [("message", "alice", "bob", "lost"), ("disconnected", "alice", "", "")]


def test_what_arrives_behind_the_end_of_a_seat_is_lost(tape: Tape) -> None:
    """The room reads no more from one it has sent away."""
    packets = packets_of(Send(tape.members["bob"].id, "chat", CHAT))
    tape.tap("alice", "up", "sent", *packets)
    tape.recorder.left(tape.members["alice"])
    tape.tap("alice", "up", "arrived", *packets)
    assert tape.told()[1:] == [("message", "alice", "bob", "lost")]


def test_what_was_not_handled_before_the_end_of_a_seat_is_lost(tape: Tape) -> None:
    """Two requests arrive in one burst, and the first one costs the seat."""
    tape.tap("alice", "up", "sent", *packets_of(Enable()), *packets_of(SetAttributes({"a": 1})))
    tape.tap("alice", "up", "arrived", *packets_of(Enable()), *packets_of(SetAttributes({"a": 1})))
    tape.handle(tape.members["alice"], Enable())
    tape.recorder.left(tape.members["alice"])
    assert tape.told() == [("attributes", "alice", "", "lost"), ("disconnected", "alice", "", "")]


def test_messages_in_a_queue_that_was_dropped_are_lost_when_the_link_ends(tape: Tape) -> None:
    """A slow reader loses its seat with all that waits; what is in flight still arrives."""
    bob = tape.members["bob"]
    first, _ = tape.handle(tape.members["alice"], Send(bob.id, "chat", {"n": 1}))
    tape.handle(tape.members["alice"], Send(bob.id, "chat", {"n": 2}))
    tape.tap("bob", "down", "sent", *Parcel(first, Account(), Held()).packets())
    tape.recorder.left(bob)
    tape.tap("bob", "down", "arrived", *Parcel(first, Account(), Held()).packets(), (ControlFrame.END, 0))
    assert [(record.detail, record.outcome) for record in tape.news[1:]] == [
        ({"n": 1}, "delivered"),
        ({"n": 2}, "lost"),
    ]


def test_a_reset_loses_what_waits_in_the_room_too(tape: Tape) -> None:
    """When somebody leaves whose link is broken, everything on its way to them is lost, once."""
    bob = tape.members["bob"]
    push, _ = tape.handle(tape.members["alice"], Send(bob.id, "chat", CHAT))
    tape.handle(tape.members["alice"], Send(bob.id, "chat", CHAT))
    tape.tap("bob", "down", "sent", *Parcel(push, Account(), Held()).packets())
    tape.links["bobdown"].reset()
    tape.tap("bob", "down", "lost", *Parcel(push, Account(), Held()).packets())
    tape.recorder.left(bob)
    assert Counter(tape.told()) == {("message", "alice", "bob", "lost"): 2, ("disconnected", "bob", "", ""): 1}


# --- refused, streams, people -----------------------------------------------------------------------------------------


def test_a_refused_message_is_written_with_its_error(tape: Tape) -> None:
    """It has no latency, since it went nowhere."""
    tape.handle(tape.members["alice"], Send("nobody", "chat", CHAT))
    assert tape.told() == [("message", "alice", "nobody", "error 1003: the participant was not found")]
    assert tape.news[0].latency_ns is None


def test_streams_are_numbered_in_the_order_of_opening(tape: Tape) -> None:
    """The numbers follow from the openings, not from arrivals, and a rejection is told as one."""
    alice, bob = tape.members["alice"], tape.members["bob"]
    opens = [tape.handle(alice, Send(bob.id, "stream.open", {"stream_id": id}))[0] for id in ("zz", "aa")]
    for output in reversed(opens):
        tape.carry("bob", "arrived", output)
    tape.carry("alice", "arrived", tape.handle(bob, Send(alice.id, "stream.accept", {"stream_id": "zz"}))[0])
    body = {"stream_id": "aa", "error": "busy"}
    tape.carry("alice", "arrived", tape.handle(bob, Send(alice.id, "stream.reject", body))[0])
    tape.carry("bob", "arrived", tape.handle(alice, Send(bob.id, "stream.chunk", {"stream_id": "zz"}, b"x"))[0])
    assert [(record.kind, record.type, record.stream_id, record.outcome) for record in tape.news] == [
        ("stream", "stream.open", "stream 2", "delivered"),
        ("stream", "stream.open", "stream 1", "delivered"),
        ("stream", "stream.accept", "stream 1", "delivered"),
        ("stream", "stream.reject", "stream 2", "rejected: busy"),
        ("message", "stream.chunk", "stream 1", "delivered"),
    ]


def test_a_second_participant_of_a_name_gets_a_number_while_the_first_is_here() -> None:
    """Labels tell participants apart; the number is free again when its bearer has gone."""
    tape = Tape()
    first = tape.join("bob")
    tape.join("bob")
    tape.recorder.left(first)
    tape.join("bob")
    assert [record.sender for record in tape.news if record.kind == "connected"] == ["bob", "bob#2", "bob"]
    assert list(tape.recorder.names) == ["bob"]


def test_enabling_again_is_no_news(tape: Tape) -> None:
    """Only changes of the roster are written down."""
    tape.handle(tape.members["alice"], Enable())
    assert tape.told() == []


def test_attributes_are_written_down(tape: Tape) -> None:
    """The record holds what was set."""
    tape.handle(tape.members["alice"], SetAttributes({"mood": "calm"}))
    assert [(record.kind, record.sender, record.detail) for record in tape.news] == [
        ("attributes", "alice", {"mood": "calm"})
    ]


def test_events_that_a_fault_can_follow_are_told_by_name(tape: Tape) -> None:
    """Sender and recipient are named as their participants call themselves."""
    tape.events.clear()
    tape.handle(tape.members["alice"], Send(tape.members["bob"].id, "chat", CHAT))
    tape.handle(tape.members["alice"], Broadcast("news", CHAT))
    tape.recorder.left(tape.members["alice"])
    assert tape.events == [
        ("reply", "alice"),
        ("message", "alice", "bob", "chat"),
        ("reply", "alice"),
        ("broadcast", "alice", "news"),
        ("leave", "alice"),
    ]


def test_whoever_waits_for_delivery_is_told(tape: Tape) -> None:
    """The end of each trip is reported with the push's id and whether it arrived."""
    settled: deque[tuple[int, bool]] = deque()
    tape.recorder.settled = lambda push_id, is_delivered: settled.append((push_id, is_delivered))
    push, _ = tape.handle(tape.members["alice"], Broadcast("news", CHAT))
    tape.carry("bob", "arrived", push)
    tape.carry("carol", "lost", push)
    assert list(settled) == [(push.id, True), (push.id, False)]


def test_packets_are_logged_in_both_directions_once(tape: Tape) -> None:
    """Up when they arrive at the room, down when they leave it."""
    push, _ = tape.handle(tape.members["alice"], Send(tape.members["bob"].id, "chat", CHAT))
    packets = packets_of(Enable())
    tape.tap("alice", "up", "sent", *packets)
    tape.tap("alice", "up", "arrived", *packets)
    tape.carry("bob", "arrived", push)
    assert [(packet.link, packet.direction) for packet in tape.transcript.packets] == [("alice", "up")] * 2 + [
        ("bob", "down")
    ] * 2
