"""Seats: packets in, packets out, and an end with a reason that leaves the others alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from meshsync.errors import ProtocolError
from meshsync.protocol.codec import decode_push
from meshsync.protocol.content import Empty, Error
from meshsync.protocol.operations import Broadcast, Connected, Enable, Push, Reply, RoomReady, Send, SetAttributes
from meshsync.protocol.packets import Reassembler
from simulator.room.seat import PACKET_SIZE, Seat, SeatState
from tests.support.seats import FAULTS, LARGEST, REFUSED, Hall, body, packets_of, read, start


def test_greeting_waits_in_a_new_seat():
    """The client is woken once for both halves."""
    hall = Hall()
    seat = hall.take("ada")

    assert hall.woken == ["ada"]
    assert read(seat) == [RoomReady("lab", "", "p-1"), Connected("p-0", {"name": "ada"})]


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("0.0.2", b"{"),
        ("0.0.30", b"{"),
        ("0.0.31", b"\0"),
        ("0.10.0", b"\0"),
        ("0.56.0", b"\0"),
        (None, b" "),
        ("", b" "),
    ],
)
def test_greeting_suits_the_release(version, first):
    """Bare JSON for the oldest, an envelope for the others, blanks where nothing is known."""
    seat = Hall().take("ada", version=version)

    assert [parcel.output.head[:1] for parcel in seat.drain(LARGEST)] == [first, first]


def test_message_goes_from_seat_to_seat():
    """The recipient reads the push, the sender the reply, under the request's id."""
    hall = Hall("ada", "ben")

    hall["ada"].feed(packets_of(Send("p-2", "chat", {"text": "hi"}, b"\x01"), 41))

    assert read(hall["ben"]) == [Push("p-0", "chat", {"text": "hi"}, b"\x01")]
    assert read(hall["ada"]) == [Reply(41, Empty())]
    assert hall.woken == ["ben", "ada"]


def test_requests_are_handled_in_the_order_they_came():
    """Three in one batch of packets: three pushes and three replies, in order."""
    hall = Hall("ada", "ben")

    hall["ada"].feed([p for n in (1, 2, 3) for p in packets_of(Send("p-2", "chat", {"n": n}), n)])

    assert [push.message["n"] for push in read(hall["ben"])] == [1, 2, 3]
    assert [reply.request_id for reply in read(hall["ada"])] == [1, 2, 3]


def test_client_is_woken_once_until_it_has_drained():
    """A carrier that was told to look is not told again."""
    hall = Hall("ada", "ben")

    for _ in range(3):
        hall["ada"].feed(packets_of(Send("p-2", "chat", {})))
    assert hall.woken == ["ben", "ada"]
    read(hall["ben"])
    hall["ada"].feed(packets_of(Send("p-2", "chat", {})))
    assert hall.woken == ["ben", "ada", "ben"]


@pytest.mark.parametrize("size", [0, 1, PACKET_SIZE - 200, PACKET_SIZE, 3 * PACKET_SIZE + 7, 3_000_000])
def test_large_messages_are_cut_into_packets_of_64_kib(size):
    """Each packet but the last is full, and the pieces make the message again."""
    hall = Hall("ada", "ben")
    attachment = bytes(range(256)) * (size // 256) + bytes(size % 256)

    hall["ada"].feed(packets_of(Send("p-2", "chat", {"text": "é" * 50}, attachment)))

    (parcel,) = hall["ben"].drain(LARGEST)
    packets = parcel.packets()
    assert all(len(packet) == PACKET_SIZE + 12 for packet in packets[1:-1])
    assert len(packets[-1]) <= PACKET_SIZE + 12
    (message,) = Reassembler(LARGEST).feed(packets)
    assert decode_push(message) == Push("p-0", "chat", {"text": "é" * 50}, attachment)


def test_broadcast_is_one_parcel_for_all():
    """What a carrier made of it for one recipient is there for the next."""
    hall = Hall("ada", "ben", "eve")

    hall["ada"].feed(packets_of(Broadcast("news", {})))

    (of_ben,), (of_eve,) = hall["ben"].drain(LARGEST), hall["eve"].drain(LARGEST)
    assert of_ben is of_eve


def test_draining_takes_as_much_as_is_asked_for_and_at_least_one():
    """The rest waits, and is counted."""
    hall = Hall("ada", "ben")
    for n in range(4):
        hall["ada"].feed(packets_of(Send("p-2", "chat", {"n": n}, bytes(1000))))
    ben = hall["ben"]

    assert [len(ben.drain(1)), len(ben.drain(2000)), len(ben.drain(10**6)), len(ben.drain(10**6))] == [1, 2, 1, 0]
    assert ben.queued == 0


def test_leaving_vacates_the_seat_and_tells_the_others_once():
    """However often the carrier says so."""
    hall = Hall("ada", "ben")
    ada = hall["ada"]

    ada.leave()
    ada.leave()

    assert read(hall["ben"]) == [Push("p-0", "participant.disabled", {"id": "p-0"})]
    assert (ada.state, ada.fault) == (SeatState.LEFT, None)
    assert [seat.member.name for seat in hall.room.seats] == ["ben"]


def test_room_is_empty_when_the_last_has_left():
    """Then it can be forgotten."""
    hall = Hall("ada")
    assert not hall.room.is_empty
    hall["ada"].leave()
    assert hall.room.is_empty


def test_packets_after_the_end_are_ignored():
    """Whatever is still in the pipe of one who has left does nothing."""
    hall = Hall("ada", "ben")
    ada = hall["ada"]
    ada.leave()
    read(hall["ben"])

    ada.feed([*packets_of(Send("p-2", "chat", {})), b"nonsense"])

    assert read(hall["ben"]) == []
    assert ada.fault is None


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_value_costs_its_request_and_nothing_else(fault):
    """It is refused under its id, the others see nothing, and the next request is served."""
    packets, reason = REFUSED[fault]
    hall = Hall("ada", "ben")
    ada = hall["ada"]

    ada.feed([*packets, *packets_of(Send("p-2", "chat", {}), 3)])

    assert ada.is_taken
    refusal, answer = read(ada)
    assert (refusal.request_id, refusal.content.code) == (2, 1002)
    assert reason in refusal.content.text
    assert len(refusal.content.text) <= 500
    assert answer == Reply(3, Empty())
    assert read(hall["ben"]) == [Push("p-0", "chat", {})]


def test_bytes_of_a_message_that_is_too_large_are_not_kept():
    """40 MiB in pieces of 1 MiB: no more than the largest message is held, and nothing once it is refused."""
    hall = Hall("ada")
    ada, piece = hall["ada"], bytes(1 << 20)
    ada.feed([start(2, 40, b"messaging.send"), body(2, 1, piece)])
    tracemalloc.start()

    ada.feed(body(2, index, piece) for index in range(2, 41))

    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (held < 1 << 20, peak < 16 << 20) == (True, True), (held, peak)
    assert read(ada)[0].content.code == 1002


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_costs_the_seat_and_nothing_else(fault):
    """The seat is lost with a reason and a fitting close code; the others see it leave and go on."""
    packets, code, reason = FAULTS[fault]
    hall = Hall("ada", "ben", "eve")
    ada = hall["ada"]

    ada.feed(packets)

    assert ada.state is SeatState.LOST
    assert isinstance(ada.fault, ProtocolError)
    assert (ada.fault.code, reason in str(ada.fault)) == (code, True), str(ada.fault)
    assert hall.woken[-1] == "ada"
    assert read(hall["ben"]) == [Push("p-0", "participant.disabled", {"id": "p-0"})]
    hall["ben"].feed(packets_of(Send("p-4", "chat", {})))
    assert read(hall["eve"])[-1] == Push("p-2", "chat", {})


def test_requests_before_a_fault_are_answered():
    """What was right is done, and its reply can still be drained."""
    hall = Hall("ada", "ben")
    ada = hall["ada"]

    ada.feed([*packets_of(Send("p-2", "chat", {}), 5), b"", *packets_of(Send("p-2", "chat", {}), 6)])

    assert read(ada) == [Reply(5, Empty())]
    assert [push.type for push in read(hall["ben"])] == ["chat", "participant.disabled"]


def test_wrong_request_is_refused_without_losing_the_seat():
    """An error that the rules have an answer for is no fault of the protocol."""
    hall = Hall("ada")

    hall["ada"].feed([start(3, 1, b"storage.open"), body(3, 1)])

    (reply,) = read(hall["ada"])
    assert isinstance(reply.content, Error)
    assert hall["ada"].is_taken


# --- slow readers -----------------------------------------------------------------------------------------------------


def fill(hall: Hall, count: int, size: int, to: str = "p-2") -> list[type]:
    """Let Ada send Ben ``count`` messages of ``size`` bytes, and return what kinds of reply she reads."""
    ada, replies = hall["ada"], []
    for _ in range(count):
        ada.feed(packets_of(Send(to, "chat", {}, bytes(size))))
        replies += [type(item.content) for item in read(ada) if isinstance(item, Reply)]
    return replies


def test_slow_reader_loses_its_seat_and_its_queue():
    """11 messages of 10,000 bytes do not fit into 100,000: nobody but the reader notices."""
    hall = Hall("ada", "ben", "eve", queue_limit=100_000)
    ben = hall["ben"]

    assert fill(hall, 9, 10_000) == [Empty] * 9
    assert ben.is_taken
    assert fill(hall, 2, 10_000) == [Empty, Error]

    assert ben.state is SeatState.LOST
    assert (ben.fault.code, "reads too slowly" in str(ben.fault)) == (1008, True)
    assert (ben.queued, ben.drain(LARGEST)) == (0, [])
    assert read(hall["eve"]) == [Push("p-2", "participant.disabled", {"id": "p-2"})]


def test_one_message_larger_than_the_queue_is_taken_when_it_is_empty():
    """A limit on what waits is no limit on a message."""
    hall = Hall("ada", "ben", queue_limit=100_000)

    fill(hall, 1, 1_000_000)

    assert hall["ben"].is_taken
    assert len(read(hall["ben"])) == 1


def test_many_empty_messages_fill_a_queue_too():
    """Each counts 256 bytes besides its body, so 1,000 of them are more than 256,000."""
    hall = Hall("ada", "ben", queue_limit=256_000)
    ben = hall["ben"]

    fill(hall, 1000, 0)

    assert ben.state is SeatState.LOST


def test_one_who_reads_no_replies_loses_its_own_seat():
    """It asks and never reads: its own queue fills, in the midst of its own batch."""
    hall = Hall("ada", queue_limit=10_000)
    ada = hall["ada"]

    ada.feed([packet for n in range(100) for packet in packets_of(Enable(), n)])

    assert ada.state is SeatState.LOST
    assert "reads too slowly" in str(ada.fault)


def test_broadcast_passes_over_the_slow_to_the_others():
    """Ben's queue is full: Eve gets the message all the same, and only then hears that Ben is gone."""
    hall = Hall("ada", "ben", "eve", queue_limit=100_000)
    fill(hall, 9, 10_000)

    hall["ada"].feed(packets_of(Broadcast("news", {}, bytes(20_000))))

    assert [push.type for push in read(hall["eve"])] == ["news", "participant.disabled"]


def test_two_slow_readers_are_lost_by_one_broadcast():
    """Each is told to those who remain, and nobody to those who are gone."""
    hall = Hall("ada", "ben", "eve", "zoe", queue_limit=100_000)
    for id in ("p-2", "p-4"):
        fill(hall, 9, 10_000, to=id)

    hall["ada"].feed(packets_of(Broadcast("news", {}, bytes(20_000))))

    assert [seat.member.name for seat in hall.room.seats] == ["ada", "zoe"]
    gone = [push.message for push in read(hall["zoe"]) if push.type == "participant.disabled"]
    assert gone == [{"id": "p-2"}, {"id": "p-4"}]


@pytest.mark.parametrize("end", [Seat.leave, lambda seat: seat.lose(ProtocolError("again"))])
def test_end_comes_once(end: Callable[[Seat], None]):
    """A seat that was lost stays lost, for the first reason."""
    hall = Hall("ada")
    ada = hall["ada"]
    ada.lose(ProtocolError("first"))

    end(ada)

    assert (ada.state, str(ada.fault)) == (SeatState.LOST, "first")


# --- budgets and accounts ---------------------------------------------------------------------------------------------


def test_budget_ends_reading_behind_a_message_and_leaves_the_rest_in_the_iterator():
    """Each message costs at least a kilobyte of it; the next call reads on where this one ended."""
    hall = Hall("ada", "ben")
    ada = hall["ada"]
    packets = iter([packet for n in range(100) for packet in packets_of(Send("p-2", "chat", {"n": n}), n)])

    assert ada.feed(packets, 10_000) <= 0
    first = [push.message["n"] for push in read(hall["ben"])]
    assert first == list(range(len(first)))
    assert 1 < len(first) < 10

    ada.feed(packets)
    assert [push.message["n"] for push in read(hall["ben"])] == list(range(len(first), 100))


def test_large_output_costs_budget_as_a_large_message_does():
    """A few bytes that have a roster of 60 KB written end the reading as soon as 60 KB of messages."""
    hall = Hall("ada", "ben")
    hall["ben"].feed(packets_of(SetAttributes({"a": "x" * 60_000})))
    read(hall["ada"])

    hall["ada"].feed(iter([packet for n in range(100) for packet in packets_of(Enable(), n)]), 100_000)

    assert len(read(hall["ada"])) == 4


def test_account_is_of_the_sender_and_of_what_is_not_drained():
    """A broadcast counts for each of its recipients, the acknowledgement for the sender too."""
    hall = Hall("ada", "ben", "eve")
    ada, ben, eve = hall["ada"], hall["ben"], hall["eve"]

    ada.feed(packets_of(Broadcast("news", {}, bytes(10_000))))

    assert ada.account.outstanding == ben.queued + eve.queued + ada.queued
    for seat in (ben, eve, ada):
        seat.drain(LARGEST)
    assert [seat.account.outstanding for seat in (ada, ben, eve)] == [0, 0, 0]


def test_relief_is_reported_once_when_no_more_than_the_limit_is_outstanding():
    """A carrier that waits is called back by whoever drains."""
    hall = Hall("ada", "ben")
    ada, ben, relieved = hall["ada"], hall["ben"], []
    fill(hall, 10, 10_000)
    ada.account.limit, ada.account.relieved = 30_000, lambda: relieved.append(ada.account.outstanding)

    ben.drain(50_000)
    assert relieved == []
    ben.drain(25_000)
    assert len(relieved) == 1
    assert relieved[0] <= 30_000
    ben.drain(LARGEST)
    assert len(relieved) == 1


def test_what_waits_for_one_that_does_not_read_does_not_count():
    """Neither what was there nor what comes; once it reads, what comes counts, and what was there still does not."""
    hall = Hall("ada", "ben")
    ada, ben = hall["ada"], hall["ben"]
    fill(hall, 3, 10_000)

    ben.count(False)
    assert ada.account.outstanding == 0
    fill(hall, 2, 10_000)
    assert ada.account.outstanding == 0
    ben.count(True)
    fill(hall, 1, 10_000)
    counted = ada.account.outstanding
    assert 10_000 < counted < 11_000
    for _ in range(5):
        ben.drain(0)
    assert ada.account.outstanding == counted
    ben.drain(0)
    assert (ada.account.outstanding, ben.queued) == (0, 0)


def test_patient_room_leaves_it_to_the_carrier_who_reads_too_slowly():
    """More than the limit waits: the carrier is woken, and nothing is lost until it decides."""
    hall = Hall("ada", "ben", queue_limit=100_000)
    hall.room.is_patient = True
    ben = hall["ben"]

    fill(hall, 12, 10_000)
    assert (ben.is_taken, ben.is_overfull) == (True, True)
    assert hall.woken.count("ben") > 1
    assert len(read(ben)) == 12
    assert not ben.is_overfull

    fill(hall, 12, 10_000)
    ben.overflow()
    assert ben.state is SeatState.LOST
    assert hall["ada"].account.outstanding == 0


def test_message_for_several_is_held_once():
    """Until the last of its recipients has drained it, or is gone."""
    hall = Hall("ada", "ben", "eve")
    held = hall.room._held
    assert held.size == 0

    hall["ada"].feed(packets_of(Broadcast("news", {}, bytes(10_000))))
    read(hall["ada"])
    assert 10_000 < held.size < 11_000
    hall["ben"].drain(LARGEST)
    assert 10_000 < held.size < 11_000
    eve = hall["eve"]
    eve.leave()
    eve.clear()
    hall["ben"].drain(LARGEST)
    hall["ada"].drain(LARGEST)
    assert held.size == 0
