"""Faults on real sockets: each kind does what its row in docs/emulator-faults.md says, to clients and to participants.

What a fault does is seen by what arrives, and in which order; no test measures a time.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

import meshsync
from meshsync import (
    ConnectionLost,
    ParticipantNotFound,
    ProtocolError,
    RoomClient,
    RoomError,
    RoomUnavailable,
    StreamRejected,
    UsageError,
)
from simulator import Emulator, faults, participants
from simulator.emulator import Limits
from simulator.emulator.wire import Wire
from simulator.faults import fields
from simulator.faults.layers import PASS, ConnectionFault, Limit, NetworkFault, Pass, StruckConnection
from simulator.faults.registry import KINDS, register
from simulator.room.rules import Room
from tests.support.rooms import PATIENCE, Ears, start


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return an emulator whose plans draw on one seed."""
    with Emulator(seed=7) as emulator:
        yield emulator


def join(emulator: Emulator, name: str, **options: Any) -> RoomClient:
    """Return a client in the room ``lab``, with messaging enabled."""
    client = emulator.connect("lab", name, **options)
    client.messaging.enable()
    return client


def to(client: RoomClient, name: str) -> meshsync.RemoteParticipant:
    """Return a peer as a client sees it."""
    return client.messaging.wait_for_participant(name=name, timeout=PATIENCE)


def names(emulator: Emulator) -> list[str]:
    """Return the names of those in the room."""
    return [one.name for one in emulator.participants("lab")]


class Trio:
    """ada, ben and cleo; ben keeps what he gets."""

    def __init__(self, emulator: Emulator, **options: Any) -> None:
        self.ada, self.ben, self.cleo = (join(emulator, name, **options) for name in ("ada", "ben", "cleo"))
        self.inbox = self.ben.messaging.messages()

    def send(self, name: str, size: int = 0) -> None:
        """Let ada or cleo send ben a message of that type, without waiting for the acknowledgement."""
        client = getattr(self, name)
        client.messaging.send_message_nowait(to(client, "ben"), name, {}, bytes(size))

    def next(self) -> str:
        """Return the type of the next message that ben gets."""
        return self.inbox.get(PATIENCE).type


# --- connections ------------------------------------------------------------------------------------------------------


def reset(emulator: Emulator) -> None:
    """Both ends notice: the client loses its connection, its peers see it leave; it may come back."""
    ada, ben = join(emulator, "ada", reconnect=False), join(emulator, "ben")
    to(ben, "ada")
    emulator.plan(faults.reset("ada"))
    with pytest.raises(ConnectionLost) as caught:
        ada.wait_closed(PATIENCE)
    assert (caught.value.code, caught.value.clean) == (None, False)
    while names(emulator) != ["ben"]:
        pass


def leave(emulator: Emulator) -> None:
    """The client gets a close frame with its code."""
    ada = join(emulator, "ada", reconnect=False)
    emulator.plan(faults.leave("ada"))
    with pytest.raises(ConnectionLost) as caught:
        ada.wait_closed(PATIENCE)
    assert caught.value.code == 1001


def drop(emulator: Emulator) -> None:
    """The client's connection ends without a close frame, behind what was sent; it may come back."""
    ada, ben = join(emulator, "ada", reconnect=False), join(emulator, "ben")
    with ada.messaging.messages() as inbox:
        emulator.plan(faults.latency(0.5, "ada", direction="down"))
        ben.messaging.send_message(to(ben, "ada"), "before", {})
        emulator.plan(faults.drop("ada"))
        assert inbox.get(PATIENCE).type == "before"
    with pytest.raises(ConnectionLost, match="dropped the connection without a close frame") as caught:
        ada.wait_closed(PATIENCE)
    assert (caught.value.code, caught.value.clean) == (None, False)
    while names(emulator) != ["ben"]:
        pass


def half_open(emulator: Emulator) -> None:
    """The room's heartbeat finds out; the client, whose own is slower, is told nothing meanwhile."""
    with Emulator(limits=Limits(heartbeat=2)) as impatient:
        ada = join(impatient, "ada")
        impatient.plan(faults.half_open("ada"))
        while names(impatient):
            pass
        assert ada.is_connected
        ada.close(0)


def pause(emulator: Emulator) -> None:
    """What a paused client sends arrives once it goes on, and so does what is sent to it."""
    trio = Trio(emulator)
    emulator.plan(faults.pause("ada", 1e6))
    trio.send("ada")
    trio.send("cleo")
    assert trio.next() == "cleo"
    with trio.ada.messaging.messages() as inbox:
        trio.ben.messaging.send_message(to(trio.ben, "ada"), "back", {})  # The room has it.
        assert inbox.pending == 0
        emulator.plan(faults.quiet(after=0))
        assert trio.next() == "ada"
        assert inbox.get(PATIENCE).type == "back"


def malformed_push(emulator: Emulator) -> None:
    """The client ends its connection."""
    ada = join(emulator, "ada", reconnect=False)
    emulator.plan(faults.malformed_push("ada", "packet"))
    with pytest.raises(ProtocolError):
        ada.wait_closed(PATIENCE)


def oversized_push(emulator: Emulator) -> None:
    """One of 5 MiB does no harm, and what is sent behind it arrives; one of 65 MiB is too much."""
    ada, ben = join(emulator, "ada", reconnect=False), join(emulator, "ben")
    with ada.messaging.messages() as inbox:
        emulator.plan(faults.oversized_push("ada", 5 * 1024 * 1024))
        ben.messaging.send_message(to(ben, "ada"), "after that", {})
        assert inbox.get(PATIENCE).type == "after that"
    emulator.plan(faults.oversized_push("ada", 65 * 1024 * 1024))
    with pytest.raises(ProtocolError):
        ada.wait_closed(PATIENCE)


# --- the network ------------------------------------------------------------------------------------------------------


def partition(emulator: Emulator) -> None:
    """Both directions stand still until repair, and nothing is lost."""
    trio = Trio(emulator)
    emulator.plan(faults.partition({"ada"}))
    trio.send("ada")
    trio.send("cleo")
    assert trio.next() == "cleo"
    with trio.ada.messaging.messages() as inbox:
        trio.ben.messaging.send_message(to(trio.ben, "ada"), "back", {})  # The room has it.
        assert inbox.pending == 0
        emulator.plan(faults.quiet(after=0))
        assert trio.next() == "ada"
        assert inbox.get(PATIENCE).type == "back"


def partition_of_one_direction(emulator: Emulator) -> None:
    """The room gets nothing, and what it sends arrives; and the other way round."""
    trio = Trio(emulator)
    emulator.plan(faults.partition({"ada"}, direction="up"))
    with trio.ada.messaging.messages() as inbox:
        trio.send("ada")
        trio.ben.messaging.send_message(to(trio.ben, "ada"), "there", {})
        assert inbox.get(PATIENCE).type == "there"
        trio.send("cleo")
        assert trio.next() == "cleo"
        emulator.plan(faults.quiet(after=0))
        emulator.plan(faults.partition({"ada"}, direction="down"))
        assert trio.next() == "ada"
        trio.ben.messaging.send_message(to(trio.ben, "ada"), "back", {})
        trio.send("ada")
        assert trio.next() == "ada"
        assert inbox.pending == 0
        emulator.plan(faults.quiet(after=0))
        assert inbox.get(PATIENCE).type == "back"


def block(emulator: Emulator) -> None:
    """What ada sends ben waits in the room, and reaches cleo; what was lost between them never comes."""
    trio = Trio(emulator)
    emulator.plan(faults.block("ada", "ben"))
    ada = trio.ada
    with trio.cleo.messaging.messages() as inbox:
        ada.messaging.broadcast_message("all", {})
        assert inbox.get(PATIENCE).type == "all"
    ada.messaging.send_message(to(ada, "ben"), "held", {})
    trio.send("cleo")
    assert trio.next() == "cleo"
    emulator.plan(faults.quiet(after=0))
    assert [trio.next(), trio.next()] == ["all", "held"]
    emulator.plan(faults.block("ada", "ben", loses=True))
    ada.messaging.send_message(to(ada, "ben"), "lost", {})
    emulator.plan(faults.quiet(after=0))
    ada.messaging.send_message(to(ada, "ben"), "next", {})
    assert trio.next() == "next"


def throttle(emulator: Emulator) -> None:
    """A large message of a slow connection arrives behind a later one of a fast connection."""
    trio = Trio(emulator)
    emulator.plan(faults.throttle("ada", 2000, direction="up"))
    trio.send("ada", 1_000_000)
    trio.send("cleo")
    assert trio.next() == "cleo"
    emulator.plan(faults.quiet(after=0))
    assert trio.next() == "ada"


def latency(emulator: Emulator) -> None:
    """The messages of the delayed one arrive behind later ones of others."""
    trio = Trio(emulator)
    emulator.plan(faults.latency(2.0, "ada", direction="up"))
    trio.send("ada")
    trio.send("cleo")
    assert [trio.next(), trio.next()] == ["cleo", "ada"]


def refuse_connect(emulator: Emulator) -> None:
    """An attempt fails as long as the fault holds."""
    join(emulator, "ada").close()
    emulator.plan(faults.refuse_connect("ada"))
    with pytest.raises(RoomUnavailable, match="reset"):
        emulator.connect("lab", "ada")
    emulator.plan(faults.quiet(after=0))
    assert emulator.connect("lab", "ada").is_connected


def delay_connect(emulator: Emulator) -> None:
    """Who begins to connect later is there first."""
    join(emulator, "ada").close()
    emulator.plan(faults.delay_connect("ada", 3.0), faults.on("connect", sender="ada").do(faults.join("witness")))
    late = threading.Thread(target=join, args=(emulator, "ada"))
    late.start()
    while "witness" not in names(emulator):
        pass
    join(emulator, "ben")
    late.join()
    assert [name for name in names(emulator) if name != "witness"] == ["ben", "ada"]


# --- rooms ------------------------------------------------------------------------------------------------------------


def reject_streams(emulator: Emulator) -> None:
    """The opener gets the reason, and the recipient no offer."""
    ada, ben = join(emulator, "ada"), join(emulator, "ben")
    offered = Ears()
    ben.messaging.on("stream_opened", offered)
    emulator.plan(faults.reject_streams("ben", "on holiday"))
    with pytest.raises(StreamRejected, match="on holiday"):
        ada.messaging.create_stream(to(ada, "ben"), {})
    assert offered.is_silent


def delay_accept(emulator: Emulator) -> None:
    """What the acceptor sends behind its acceptance arrives before it."""
    ada, ben = join(emulator, "ada"), join(emulator, "ben")
    happened: queue.SimpleQueue[str] = queue.SimpleQueue()
    ada.messaging.on_message("later", lambda event: happened.put(event.name))

    def open_stream() -> None:
        ada.messaging.create_stream(to(ada, "ben"), {}, timeout=PATIENCE)
        happened.put("accepted")

    emulator.plan(faults.delay_accept("ben", 2.0))
    with ben.messaging.streams() as offers:
        opening = start(open_stream)
        offers.get(PATIENCE).accept()
        ben.messaging.send_message(to(ben, "ada"), "later", {})
        assert [happened.get(timeout=PATIENCE) for _ in range(2)] == ["message", "accepted"]
    opening.result(PATIENCE)


def error_replies(emulator: Emulator) -> None:
    """A request fails with the code, and has no other effect."""
    trio = Trio(emulator)
    emulator.plan(faults.error_replies("ada", 1234))
    with pytest.raises(RoomError) as caught:
        trio.ada.messaging.send_message(to(trio.ada, "ben"), "ada", {})
    assert caught.value.code == 1234
    trio.send("cleo")
    assert trio.next() == "cleo"


def late_replies(emulator: Emulator) -> None:
    """The effect of a request is there before its reply."""
    trio = Trio(emulator)
    emulator.plan(faults.late_replies("ada", 2.0))
    delivery = trio.ada.messaging.send_message_nowait(to(trio.ada, "ben"), "ada", {})
    assert trio.next() == "ada"
    assert not delivery.is_done
    delivery.wait(PATIENCE)


# --- everything -------------------------------------------------------------------------------------------------------


def join_(emulator: Emulator) -> None:
    """A new name is a participant that does nothing; one that was added and has left comes back."""
    ada = join(emulator, "ada")
    emulator.add("lab", participants.Echo("bot"))
    emulator.plan(faults.join("zoe", "agent"), faults.reset("bot"))
    assert to(ada, "zoe").role == "agent"
    while "bot" in names(emulator):
        pass
    emulator.plan(faults.join("bot"))
    with ada.messaging.messages() as inbox:
        ada.messaging.send_message(to(ada, "bot"), "back", {})
        assert inbox.get(PATIENCE).type == "back"


def restart(emulator: Emulator) -> None:
    """All connections break; clients and participants come back after it, and not before."""
    ada = join(emulator, "ada")
    emulator.add("lab", participants.Echo("bot"))
    before = {one.id for one in emulator.participants("lab")}
    emulator.plan(faults.restart(down=0.5))
    with pytest.raises(RoomUnavailable):
        emulator.connect("lab", "ben")
    while len(now := {one.id for one in emulator.participants("lab")}) < 2:
        pass
    assert not before & now
    while to(ada, "bot").id not in now:
        pass


ACTS: dict[str, Callable[[Emulator], None]] = {
    **{
        act.__name__: act
        for act in (
            *(reset, drop, leave, half_open, pause, malformed_push, oversized_push),
            *(partition, throttle, latency, refuse_connect, delay_connect),
            *(reject_streams, delay_accept, error_replies, late_replies, restart, block),
        )
    },
    "join": join_,
}
ROOT = Path(__file__).parents[2]
OURS = {
    word
    for word, kind in KINDS.items()
    if kind.__module__.startswith("simulator.") and not kind.is_of_programs  # of which an emulator has none
} - {"crash"}
"""A program of an emulator is a process of its own, which no plan ends."""


@pytest.mark.parametrize("word", sorted(OURS))
def test_each_kind_acts_on_a_real_connection(emulator: Emulator, word: str) -> None:
    """Every kind there is, as its function above says."""
    ACTS[word](emulator)


def test_a_partition_of_one_direction_acts_on_a_real_connection(emulator: Emulator) -> None:
    """As its function above says."""
    partition_of_one_direction(emulator)


def test_who_is_not_heard_is_given_up_although_it_gets_all(emulator: Emulator) -> None:
    """By the room's heartbeat, since no pong comes; the client learns of it at once."""
    with Emulator(limits=Limits(heartbeat=1)) as impatient:
        ada, ben = join(impatient, "ada", reconnect=False), join(impatient, "ben")
        peer = to(ben, "ada")
        impatient.plan(faults.partition({"ada"}, direction="up"))
        with ada.messaging.messages() as inbox, pytest.raises(ConnectionLost, match="dropped the connection"):
            for _ in range(20_000):
                with suppress(ParticipantNotFound):  # Ben may know it first.
                    ben.messaging.send_message_nowait(peer, "tick", {})
                inbox.get(PATIENCE)
        assert names(impatient) == ["ben"]


def test_the_table_of_the_docs_has_every_kind() -> None:
    """A kind that is added has to say what it does to a real connection."""
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "emulator-faults.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(OURS) == sorted(ACTS)


def test_no_program_crashes_by_a_plan(emulator: Emulator) -> None:
    """It is refused when it is planned, and nothing else of the plan is added."""
    with pytest.raises(UsageError, match=r"^crash: by a plan only programs in a simulation crash"):
        emulator.plan(faults.reset("zoe"), faults.at(5, faults.crash("server")))


@pytest.mark.parametrize(
    "fault", [faults.pause_program("ada", 1), faults.slow_program("ada", by=1), faults.skew_clock("ada", 1)], ids=str
)
def test_faults_of_programs_are_refused(emulator: Emulator, fault: faults.Fault) -> None:
    """Nothing of such a plan is added."""
    with pytest.raises(UsageError) as refused:
        emulator.plan(faults.reset("ada"), faults.at(1, fault))
    assert str(refused.value) == (
        f"{fault.word} is about a program of a simulation; a client of an emulator is a process of its own, which is"
        " stopped and slowed by its own system"
    )


# --- when -------------------------------------------------------------------------------------------------------------


def test_faults_begin_and_end_by_the_real_clock_from_the_call(emulator: Emulator) -> None:
    """What holds for a while ends, and what is repeated strikes again."""
    ada, lost = join(emulator, "ada"), Ears()
    ada.messaging.on("disconnected", lost)
    emulator.plan(faults.every(0.05, faults.reset("ada")), faults.during(0, 0.3, faults.error_replies("ben", 1)))
    for _ in range(3):
        lost.next()
    emulator.plan(faults.quiet(after=0))
    ada.messaging.send_message(ada.local_participant, "still here", {}, timeout=PATIENCE)


def test_a_fault_follows_an_event(emulator: Emulator) -> None:
    """The second message of ada costs ben his connection; cleo's are no events of hers."""
    trio = Trio(emulator, reconnect=False)
    emulator.plan(faults.on("message", sender="ada", to="ben", type="ada", nth=2).do(faults.reset("ben")))
    for name in ("cleo", "cleo", "ada"):
        trio.send(name)
        assert trio.next() == name
    trio.send("ada")
    with pytest.raises(ConnectionLost):
        trio.ben.wait_closed(PATIENCE)


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ("connect", lambda emulator, ada: emulator.connect("lab", "ada")),
        ("join", lambda emulator, ada: emulator.connect("lab", "ada")),
        ("leave", lambda emulator, ada: ada.close()),
        ("disable", lambda emulator, ada: ada.messaging.disable()),
        ("enable", lambda emulator, ada: (ada.messaging.disable(), ada.messaging.enable())),
        ("attributes", lambda emulator, ada: ada.local_participant.set_attribute("mood", "calm")),
        ("broadcast", lambda emulator, ada: ada.messaging.broadcast_message("news", {})),
        ("fault", lambda emulator, ada: emulator.plan(faults.late_replies("ada", 0))),
    ],
)
def test_events_of_rooms_that_were_open_before_the_plan(
    emulator: Emulator, event: str, cause: Callable[[Emulator, RoomClient], object]
) -> None:
    """Each is noticed for a participant that was there when the plan was made."""
    ada = join(emulator, "ada")
    who = {"to": "ada"} if event == "fault" else {"sender": "ada"}
    emulator.plan(faults.on(event, **who).do(faults.join("witness")))
    assert names(emulator) == ["ada"]
    cause(emulator, ada)
    while "witness" not in names(emulator) and "ada" in names(emulator):
        pass
    assert event == "leave" or "witness" in names(emulator)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_fault_that_strikes_now_needs_a_participant_that_a_room_knows(emulator: Emulator) -> None:
    """One that has left is known; the others are named."""
    join(emulator, "ada").close()
    emulator.plan(faults.reset("ada"))
    with pytest.raises(UsageError, match="reset is about 'zoe', which no room knows; there are ada"):
        emulator.plan(faults.reset("zoe"))


def test_a_planned_fault_waits_for_its_participant(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A lasting one holds when the participant comes; one that is over by itself is logged, and struck nobody."""
    with Emulator(plan=[faults.refuse_connect("zoe"), faults.at(0, faults.reset("yan"))]) as planned:
        ada = join(planned, "ada")
        assert ada.is_connected
        with pytest.raises(RoomUnavailable):
            planned.connect("lab", "zoe")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["nothing is struck: reset is about 'yan', which no room knows; there are none"]


def test_what_is_no_fault_is_refused_before_anything_happens() -> None:
    """In the plan of the beginning as in a later one."""
    with pytest.raises(UsageError, match="on\\(…\\) needs"):
        Emulator(plan=[faults.on("join")])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="not running"):
        Emulator().plan(faults.restart())


# --- kinds of a program's own -----------------------------------------------------------------------------------------


@register
@dataclass(frozen=True, slots=True)
class Dismiss(ConnectionFault):
    """Closes a connection with a code of its own."""

    word: ClassVar[str] = "dismiss"
    name: str = field(metadata=fields.name)

    def strike(self, connection: StruckConnection) -> None:
        connection.close(4000, "dismissed")


@register
@dataclass(frozen=True, slots=True)
class Trickle(NetworkFault):
    """Makes all connections slow."""

    word: ClassVar[str] = "trickle"

    def on_link(self, name: str) -> Pass | Limit:
        return Limit(2000, "up") if name == "ada" else PASS


def test_kinds_of_a_program_act_as_in_a_simulation(emulator: Emulator) -> None:
    """A fault of connections and a rule of the network, neither of which knows of sockets."""
    trio = Trio(emulator, reconnect=False)
    emulator.plan(Trickle())
    trio.send("ada", 1_000_000)
    trio.send("cleo")
    assert trio.next() == "cleo"
    emulator.plan(Dismiss("ada"))
    with pytest.raises(ConnectionLost) as caught:
        trio.ada.wait_closed(PATIENCE)
    assert (caught.value.code, caught.value.reason) == (4000, "dismissed")


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_nothing_is_in_the_way_until_it_is_asked_for(emulator: Emulator) -> None:
    """Without a plan a room is a plain one and a connection its socket; faults of rooms leave connections alone."""
    join(emulator, "ada")
    thread = emulator._thread
    assert thread is not None
    (connection,) = thread.gateway._connections
    (room,) = thread.gateway._rooms.values()

    def seen() -> tuple[bool, bool]:
        return type(room.rules) is Room, isinstance(connection._transport, Wire)

    assert seen() == (True, False)
    emulator.plan(faults.late_replies("ada", 0))
    assert seen() == (False, False)
    emulator.plan(faults.latency(0, "ada"))
    assert seen() == (False, True)


# --- together with what is recorded -----------------------------------------------------------------------------------


def test_what_faults_do_is_in_the_transcript() -> None:
    """Faults, what they keep from a recipient or refuse, and events to follow, where the room records as well."""
    with Emulator(record=True) as emulator:
        ada, ben = join(emulator, "ada"), join(emulator, "ben")
        emulator.plan(
            faults.reject_streams("ben", "busy"),
            faults.on("message", sender="ada", nth=2).do(faults.error_replies("ada", 99)),
            faults.at(0, faults.refuse_connect("zoe")),
        )
        with pytest.raises(StreamRejected):
            ada.messaging.create_stream(to(ada, "ben"), {})
        with ben.messaging.messages() as inbox:
            for number in range(2):
                ada.messaging.send_message(to(ada, "ben"), f"message {number}", {})
                inbox.get(PATIENCE)
        with pytest.raises(RoomError):
            ada.messaging.send_message(to(ada, "ben"), "message 2", {})
        with pytest.raises(RoomUnavailable):
            emulator.connect("lab", "zoe")
        transcript = emulator.transcript("lab")
    assert [(one.type, one.recipient, one.outcome) for one in transcript.faults()] == [
        ("reject_streams", "ben", "began"),
        ("error_replies", "ada", "began"),
    ]
    assert [(one.type, one.recipient, one.outcome) for one in transcript.messages(sender="ada")] == [
        ("message 0", "ben", "delivered"),
        ("message 1", "ben", "delivered"),
        ("message 2", "ben", "error 99: a fault of this simulation"),
    ]
    assert ("stream.open", "rejected: busy") in [(one.type, one.outcome) for one in transcript]
    assert [(one.sender, one.outcome) for one in transcript if one.kind == "refused"] == [
        ("zoe", "reset while it connects")
    ]


def test_what_is_blocked_is_in_the_transcript(caplog: pytest.LogCaptureFixture) -> None:
    """What is held when it goes out, to each one that it was kept from, and what is lost at once; streams alike."""
    caplog.set_level(logging.DEBUG, "simulator.emulator")
    with Emulator(record=True) as emulator:
        trio, offers = Trio(emulator), queue.SimpleQueue[object]()
        ada, ben = trio.ada, to(trio.ada, "ben")
        trio.ben.messaging.enable(offers.put)
        emulator.plan(faults.block("ada", "ben"))
        ada.messaging.send_message(ben, "held", {})
        ada.messaging.broadcast_message("all", {})
        opening = threading.Thread(target=lambda: ada.messaging.create_stream(ben, {}).close(), daemon=True)
        opening.start()
        with trio.cleo.messaging.messages(type="now") as inbox:
            trio.cleo.messaging.send_message(trio.cleo.local_participant, "now", {})
            assert inbox.get(PATIENCE).type == "now"
        before = [(one.type, one.recipient) for one in emulator.transcript("lab").messages()]
        emulator.plan(faults.quiet(after=0))
        assert [trio.next(), trio.next()] == ["held", "all"]
        offers.get(timeout=PATIENCE)
        opening.join(PATIENCE)
        emulator.plan(faults.block("ada", "ben", loses=True))
        ada.messaging.send_message(ben, "lost", {})
        record = emulator.transcript("lab")
    assert before == [("all", "cleo"), ("now", "cleo")]
    assert [(one.type, one.recipient, one.outcome) for one in record.messages()] == [
        ("all", "cleo", "delivered"),
        ("now", "cleo", "delivered"),
        ("held", "ben", "delivered"),
        ("all", "ben", "delivered"),
        ("lost", "ben", "lost"),
    ]
    assert {one.stream_id for one in record.streams()} == {"stream 1"}
    assert [one.outcome for one in record.faults() if one.type == "block"] == ["began", "ended", "began"]
    assert "lab: a fault keeps from ben what ada has requested: send" in caplog.text


def test_faults_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line each, with members for programs."""
    caplog.set_level(logging.INFO, "simulator.emulator")
    with Emulator() as emulator:
        join(emulator, "ada")
        emulator.plan(faults.reset("ada"))
    (line,) = [record for record in caplog.records if getattr(record, "event", "") == "fault"]
    assert line.getMessage() == "lab: fault reset of ada struck"
    assert (line.room, line.fault, line.participants, line.outcome) == ("lab", "reset", ["ada"], "struck")  # type: ignore[attr-defined]


# --- a server that remembers ------------------------------------------------------------------------------------------


def test_after_a_restart_that_forgets_nothing_participants_are_listed_until_heartbeats_fail() -> None:
    """The client has lost its connection long before its peers see it leave; its messages go nowhere."""
    with Emulator(limits=Limits(heartbeat=3)) as emulator:
        ada = join(emulator, "ada", reconnect=False)
        emulator.plan(faults.restart(down=0, forgets=False))
        with pytest.raises(ConnectionLost):
            ada.wait_closed(PATIENCE)
        ben = join(emulator, "ben")
        assert names(emulator) == ["ada", "ben"]
        ben.messaging.send_message(to(ben, "ada"), "to a ghost", {})
        while names(emulator) != ["ben"]:
            pass
        ben.close()
        while emulator.rooms:
            pass
