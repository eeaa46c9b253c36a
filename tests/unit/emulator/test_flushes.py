"""Tests of writing once a turn for all connections."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from meshsync.protocol.greeting import GreetingForm
from meshsync.protocol.operations import Push, Request
from simulator.emulator.flushes import Flushes, Lane
from simulator.emulator.framing import FramedParcel, frames_of
from simulator.room.members import Member, Output, Rights, push
from simulator.room.seat import Seat, SeatedRoom


class RecordingWriter:
    """A connection that notes when it was flushed, and may fail."""

    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self.name = name
        self.log = log
        self.error = error
        self.lane: Lane | None = None
        self.bytes_written = 0

    def flush(self) -> None:
        """Note it."""
        self.log.append(self.name)
        if self.error is not None:
            raise self.error

    def write_rest(self, rest: Sequence[bytes]) -> None:
        """Note how much it is."""
        self.lane = None
        self.log.append(f"{self.name} has {sum(map(len, rest))} left")
        if self.error is not None:
            raise self.error

    def end(self, code: int, reason: str) -> bool:
        """Note it."""
        self.log.append(f"{self.name} ends with {code}")
        return True


def test_all_that_were_added_in_a_turn_are_flushed_in_the_next_in_their_order() -> None:
    """One call serves all; those added later follow a turn later."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    for name in ("ada", "ben", "cleo"):
        flushes.add(RecordingWriter(name, log))
    assert (log, len(calls)) == ([], 1)
    calls.pop()()
    assert log == ["ada", "ben", "cleo"]
    flushes.add(RecordingWriter("dan", log))
    assert len(calls) == 1
    calls.pop()()
    assert log == ["ada", "ben", "cleo", "dan"]


def test_one_that_is_added_twice_is_flushed_once_in_its_first_place() -> None:
    """Its place is that of the first time."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    ada, ben = RecordingWriter("ada", log), RecordingWriter("ben", log)
    for writer in (ada, ben, ada):
        flushes.add(writer)
    calls.pop()()
    assert log == ["ada", "ben"]


def test_one_that_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The others are flushed all the same, and the log has the error."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    flushes.add(RecordingWriter("ada", log))
    flushes.add(RecordingWriter("ben", log, ValueError("planted")))
    flushes.add(RecordingWriter("cleo", log))
    with caplog.at_level(logging.ERROR):
        calls[0]()
    assert log == ["ada", "ben", "ben ends with 1011", "cleo"]
    assert "planted" in caplog.text


# --- where what was read is all that a turn has to do -----------------------------------------------------------------


def test_what_the_last_read_of_a_turn_leads_to_is_written_at_once() -> None:
    """The loop is not asked for a turn of its own."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append, lambda: log.append("first"), ready=[])
    flushes.begin_read(is_single=False)
    flushes.add(RecordingWriter("ada", log))
    flushes.end_read()
    assert (log, calls) == (["first", "ada"], [])
    flushes.add(RecordingWriter("ben", log))
    assert len(calls) == 1


def test_what_several_reads_of_a_turn_lead_to_is_written_together() -> None:
    """The first read asks for the next turn, the last one leaves it at that."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    ready = ["another read"]
    flushes = Flushes(calls.append, ready=ready)
    flushes.begin_read(is_single=False)
    flushes.add(RecordingWriter("ada", log))
    flushes.end_read()
    ready.clear()
    flushes.begin_read(is_single=False)
    flushes.add(RecordingWriter("ben", log))
    flushes.end_read()
    assert (log, len(calls)) == ([], 1)
    calls.pop()()
    assert log == ["ada", "ben"]


def test_a_loop_that_does_not_show_what_it_has_to_do_is_asked_for_a_turn() -> None:
    """As that of uvloop."""
    log: list[str] = []
    calls: list[Callable[[], None]] = []
    flushes = Flushes(calls.append)
    flushes.begin_read(is_single=False)
    flushes.add(RecordingWriter("ada", log))
    flushes.end_read()
    assert (log, len(calls)) == ([], 1)


# --- lanes ------------------------------------------------------------------------------------------------------------


class SilentRules:
    """A room without any answers."""

    def __init__(self) -> None:
        self._count = 0

    def join(
        self,
        name: str,
        *,
        form: GreetingForm,
        role: str = "user",
        rights: Rights | None = None,
        version: str | None = None,
    ) -> tuple[Member, list[Output]]:
        self._count += 1
        return Member(f"p-{self._count}", "s", name, role, Rights(), {}), []

    def leave(self, member: Member) -> list[Output]:
        return []

    def handle(self, member: Member, request_id: int, request: Request) -> list[Output]:
        return []


class Street:
    """A room, and lanes of connected sockets to its participants."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.calls: list[Callable[[], None]] = []
        self.flushes = Flushes(self.calls.append)
        self.room = SeatedRoom(SilentRules(), make_parcel=FramedParcel)
        self.sockets: list[socket.socket] = []

    def open(self, name: str) -> tuple[Seat, RecordingWriter, socket.socket]:
        """Return a participant's seat, its connection with a lane, and the other end."""
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        for end in (ours, theirs):
            end.setblocking(False)
        writer = RecordingWriter(name, self.log)
        seat = self.room.take(name, wake=lambda: self.flushes.add(writer))
        writer.lane = (ours.fileno(), seat)
        return seat, writer, theirs

    def send(self, sender: Seat, *to: Seat, size: int = 20) -> int:
        """Send a message, and return how many bytes its frames have."""
        output = push(tuple(seat.member for seat in to), 1, Push("p", "t", {}, bytes(size)))
        self.room.route([output], sender.account)
        parcel = FramedParcel(output, sender.account, self.room._held)
        return sum(map(len, parcel.frames)) if isinstance(parcel.frames, list) else len(parcel.frames)

    def turn(self) -> None:
        """Let the loop turn."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()


@pytest.fixture
def street() -> Iterator[Street]:
    """Return one, whose sockets are closed in the end."""
    street = Street()
    yield street
    for one in street.sockets:
        one.close()


def test_a_single_message_is_written_to_each_lane_and_counted_no_longer(street: Street) -> None:
    """All have it, nobody's transport was asked, and nothing is outstanding."""
    ada, _, _ = street.open("ada")
    others = [street.open(name) for name in ("ben", "cleo", "dan")]
    size = street.send(ada, *(seat for seat, _, _ in others))
    assert ada.account.outstanding > 0
    street.turn()
    assert [len(theirs.recv(4096)) for _, _, theirs in others] == [size] * 3
    assert [writer.bytes_written for _, writer, _ in others] == [size] * 3
    assert [seat.queued for seat, _, _ in others] == [0] * 3
    assert (street.log, ada.account.outstanding, street.room._held.size) == ([], 0, 0)


def test_a_sender_that_waits_for_room_is_told(street: Street) -> None:
    """It was held up by what is written now."""
    ada, _, _ = street.open("ada")
    ben, _, _ = street.open("ben")
    told: list[int] = []
    ada.account.relieved = lambda: told.append(ada.account.outstanding)
    street.send(ada, ben)
    street.turn()
    assert told == [0]


def test_what_a_socket_does_not_take_is_left_to_the_transport(street: Street) -> None:
    """Of a full socket all, of one that takes some the rest; the others have their message."""
    ada, _, _ = street.open("ada")
    full, half, free = (street.open(name) for name in ("full", "half", "free"))
    for seat, filled in ((full, True), (half, False)):
        ours = street.sockets[street.sockets.index(seat[2]) - 1]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        if filled:
            with pytest.raises(BlockingIOError):
                while True:
                    ours.send(bytes(65536))
    size = street.send(ada, full[0], half[0], free[0], size=60_000)
    street.turn()
    written = half[1].bytes_written
    assert street.log == [f"full has {size} left", f"half has {size - written} left"]
    assert 0 < written < size
    assert (full[1].bytes_written, free[1].bytes_written) == (0, size)


def test_a_lost_socket_is_left_to_the_transport(street: Street) -> None:
    """It meets the same error, and ends the connection."""
    ada, _, _ = street.open("ada")
    ben, _, theirs = street.open("ben")
    cleo, _, others = street.open("cleo")
    theirs.close()
    size = street.send(ada, ben, cleo)
    street.turn()
    assert street.log == [f"ben has {size} left"]
    assert len(others.recv(4096)) == size


@pytest.mark.parametrize("count", [0, 2])
def test_what_is_not_a_single_message_is_flushed_by_the_connection(street: Street, count: int) -> None:
    """Several are joined, and a connection without any may have other things to do."""
    ada, _, _ = street.open("ada")
    ben, writer, _ = street.open("ben")
    for _ in range(count):
        street.send(ada, ben)
    street.flushes.add(writer)
    street.turn()
    assert street.log == ["ben"]


def test_a_large_message_is_written_by_the_connection_in_pieces(street: Street) -> None:
    """So that pings overtake it; its buffers are handed over as they are."""
    ada, _, _ = street.open("ada")
    ben, writer, _ = street.open("ben")
    size = street.send(ada, ben, size=200_000)
    street.turn()
    assert street.log == [f"ben has {size} left"]
    assert (writer.bytes_written, ada.account.outstanding) == (0, 0)


def test_a_seat_that_is_lost_or_not_counted_is_left_to_its_connection(street: Street) -> None:
    """The one has to be told why, of the other nothing is outstanding."""
    ada, _, _ = street.open("ada")
    ben, _, _ = street.open("ben")
    cleo, _, _ = street.open("cleo")
    ben.count(False)
    street.send(ada, ben, cleo)
    cleo.overflow()
    street.turn()
    assert street.log == ["ben", "cleo"]


def test_one_whose_rest_cannot_be_written_ends_alone(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    """The others have their message all the same."""
    ada, _, _ = street.open("ada")
    ben, writer, theirs = street.open("ben")
    cleo, _, others = street.open("cleo")
    writer.error = ValueError("planted")
    theirs.close()
    size = street.send(ada, ben, cleo)
    with caplog.at_level(logging.ERROR):
        street.turn()
    assert street.log == [f"ben has {size} left", "ben ends with 1011"]
    assert len(others.recv(4096)) == size
    assert "planted" in caplog.text


# --- a message that comes alone ---------------------------------------------------------------------------------------


def test_a_single_message_is_alone_where_the_turn_has_nothing_else_to_do() -> None:
    """Not beside another read or another message, nor where the loop does not tell, nor where records come first."""
    cases: list[tuple[Flushes, bool]] = [
        (Flushes(lambda call: None, ready=[]), True),
        (Flushes(lambda call: None, ready=[]), False),
        (Flushes(lambda call: None, ready=["another read"]), True),
        (Flushes(lambda call: None), True),
        (Flushes(lambda call: None, lambda: None, ready=[]), True),
        (Flushes(lambda call: None, ready=[]), True),
    ]
    cases[-1][0].add(RecordingWriter("ada", []))
    found = []
    for flushes, is_single in cases:
        flushes.begin_read(is_single=is_single)
        found.append(flushes.is_alone)
        flushes.end_read()
        assert not flushes.is_alone
    assert found == [True, False, False, False, False, False]


def test_who_has_something_waiting_or_no_lane_is_left_over(street: Street) -> None:
    """The others have the message, and nothing of it is counted."""
    ada, _, _ = street.open("ada")
    ben, cleo, dan, eve = (street.open(name) for name in ("ben", "cleo", "dan", "eve"))
    for seat, writer, _ in (ben, cleo, dan, eve):
        seat.carrier = writer
    street.send(ada, cleo[0])
    dan[1].lane = None
    before = ada.account.outstanding
    to = tuple(seat.member for seat, _, _ in (ben, cleo, dan, eve))
    left = street.flushes.write_at_once(push((*to, ada.member), 2, Push("p", "t", {})))
    assert list(left) == [cleo[0].member, dan[0].member, ada.member]
    assert len(ben[2].recv(4096)) == len(eve[2].recv(4096)) == ben[1].bytes_written
    assert ada.account.outstanding == before


def test_what_a_socket_does_not_take_at_once_is_not_lost(street: Street) -> None:
    """Nothing of it: it is left over; some of it: the rest goes to the transport; lost ones are left over too."""
    full, half, gone = (street.open(name) for name in ("full", "half", "gone"))
    for seat, writer, theirs in (full, half, gone):
        seat.carrier = writer
        street.sockets[street.sockets.index(theirs) - 1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    with pytest.raises(BlockingIOError):
        while True:
            street.sockets[street.sockets.index(full[2]) - 1].send(bytes(65536))
    gone[2].close()
    output = push(tuple(seat.member for seat, _, _ in (full, half, gone)), 1, Push("p", "t", {}, bytes(60_000)))
    left = street.flushes.write_at_once(output)
    assert list(left) == [full[0].member, gone[0].member]
    written = half[1].bytes_written
    frames = frames_of(output)
    assert street.log == [f"half has {len(frames) - written} left"]
    assert 0 < written < len(frames)


def test_a_large_message_is_not_written_at_once(street: Street) -> None:
    """It goes in pieces, so that pings overtake it."""
    ben, writer, _ = street.open("ben")
    ben.carrier = writer
    output = push((ben.member,), 1, Push("p", "t", {}, bytes(200_000)))
    assert list(street.flushes.write_at_once(output)) == [ben.member]
    assert writer.bytes_written == 0
