"""Participants without a thread in an emulator's rooms, among clients on real sockets; and who is there."""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

import meshsync
from meshsync import MeshsyncError, RoomClient, RoomNotFound, UsageError
from simulator import Emulator, faults, participants
from simulator.emulator import Limits
from simulator.participants import Message, Participant
from tests.support.rooms import PATIENCE, Ears


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return an emulator."""
    with Emulator(seed=7) as emulator:
        yield emulator


def join(emulator: Emulator, name: str, room: str = "lab") -> RoomClient:
    """Return a client in a room, with messaging enabled."""
    client = emulator.connect(room, name)
    client.messaging.enable()
    return client


def to(client: RoomClient, name: str) -> meshsync.RemoteParticipant:
    """Return a peer as a client sees it."""
    return client.messaging.wait_for_participant(name=name, timeout=PATIENCE)


def names(emulator: Emulator, room: str = "lab") -> list[str]:
    """Return the names of those in a room."""
    return [one.name for one in emulator.participants(room)]


# --- what they do -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_an_echo_answers_a_client_as_often_as_it_is_asked(emulator: Emulator, size: int) -> None:
    """Small messages and large ones come back whole and in order."""
    emulator.add("lab", participants.Echo("bot"))
    ada = join(emulator, "ada")
    with ada.messaging.messages(sender=to(ada, "bot")) as inbox:
        for number in range(10):
            ada.messaging.send_message_nowait(to(ada, "bot"), "ask", {"n": number}, bytes(size))
        answers = [inbox.get(PATIENCE) for _ in range(10)]
    assert [(answer.type, answer.message, len(answer.attachment)) for answer in answers] == [
        ("ask", {"n": number}, size) for number in range(10)
    ]


def test_a_chatter_broadcasts_and_stops_at_its_limit(emulator: Emulator) -> None:
    """Its interval is one of real seconds, and it sees who is there."""
    ada = join(emulator, "ada")
    with ada.messaging.messages("chat") as inbox:
        emulator.add("lab", participants.Chatter("joe", 0.01, limit=3))
        assert [inbox.get(PATIENCE).message for _ in range(3)] == [{"number": number} for number in (1, 2, 3)]


def test_streams_go_between_clients_and_participants(emulator: Emulator) -> None:
    """A sink reads all that a client writes, a client all that a streamer writes, and one rejects."""
    sink = participants.Sink("sink")
    emulator.add("lab", sink, participants.Rejecting("busy", "in a call"))
    ada = join(emulator, "ada")
    with ada.messaging.create_stream(to(ada, "sink"), {}) as writer:
        for _ in range(20):
            writer.write(meshsync.MessageStreamChunk({}, bytes(100_000)))
    assert sink.bytes_taken >= 20 * 100_000
    with pytest.raises(meshsync.StreamRejected, match="in a call"):
        ada.messaging.create_stream(to(ada, "busy"), {})
    with ada.messaging.streams() as offers:
        emulator.add("lab", participants.Streamer("streamer", "ada", [b"one", b"two"]))
        reader = offers.get(PATIENCE)
        assert [chunk.data for chunk in reader] == [b"one", b"two"]


def test_a_confirmed_message_reaches_a_participant(emulator: Emulator) -> None:
    """It confirms as a client of this package does."""
    heard: list[str] = []

    class Listening(Participant):
        def on_message(self, message: Message) -> None:
            heard.append(message.type)

    emulator.add("lab", Listening("bot"))
    ada = join(emulator, "ada")
    ada.messaging.send_message(to(ada, "bot"), "order", {}, confirm=True, timeout=PATIENCE)
    assert heard == ["order"]


def test_a_participant_that_raises_is_logged_and_disturbs_nobody(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has its traceback; the others in the room go on."""

    class Clumsy(Participant):
        def on_message(self, message: Message) -> None:
            raise ZeroDivisionError("clumsy")

    emulator.add("lab", Clumsy("clumsy"), participants.Echo("bot"))
    ada = join(emulator, "ada")
    with ada.messaging.messages() as inbox:
        ada.messaging.send_message(to(ada, "clumsy"), "hi", {})
        ada.messaging.send_message(to(ada, "bot"), "hi", {})
        assert inbox.get(PATIENCE).sender is to(ada, "bot")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert re.fullmatch("the scripted participant 'clumsy', in .*Clumsy.on_message, failed", record.getMessage())
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_one_that_reads_nothing_more_is_disconnected_when_too_much_waits() -> None:
    """The limit of a queue holds for participants too, so that a paused one costs no more than it."""
    with Emulator(limits=Limits(queue=1_000_000)) as emulator:
        emulator.add("lab", participants.Echo("bot"))
        ada = join(emulator, "ada")
        bot = to(ada, "bot")
        emulator.plan(faults.pause("bot", 1000))
        left = Ears()
        ada.messaging.on("participant_removed", left)
        with suppress(meshsync.ParticipantNotFound):  # It may be gone before the last of them is sent.
            for _ in range(12):
                ada.messaging.send_message_nowait(bot, "much", {}, bytes(1_000_000))
        assert left.next().participant is bot


# --- rooms ------------------------------------------------------------------------------------------------------------


def test_rooms_and_participants_are_told_as_they_are(emulator: Emulator) -> None:
    """Names, roles and attributes, as values that do not change; a room ends with its last client."""
    assert emulator.rooms == ()
    assert emulator.participants("lab") == ()
    ada = emulator.connect("lab", "ada", role="agent")
    ada.local_participant.set_attribute("mood", {"now": "calm"})
    ada.messaging.enable()
    (seen,) = emulator.participants("lab")
    assert (seen.id, seen.name, seen.role) == (ada.local_participant.id, "ada", "agent")
    assert (seen.attributes, seen.is_enabled) == ({"name": "ada", "mood": {"now": "calm"}}, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.name = "eve"  # type: ignore[misc]
    ada.local_participant.set_attribute("mood", "wild")
    assert seen.attributes["mood"] == {"now": "calm"}
    ben = emulator.connect("den", "ben")
    assert emulator.rooms == ("lab", "den")
    assert [one.is_enabled for one in emulator.participants("den")] == [False]
    for client in (ada, ben):
        client.close()
    while emulator.rooms:
        pass


def test_a_room_with_added_participants_stays_open(emulator: Emulator) -> None:
    """The same participant is there for the next client; one that has left comes back to the same room."""
    bot = participants.Echo("bot")
    emulator.add("lab", bot)
    join(emulator, "ada").close()
    while names(emulator) != ["bot"]:
        pass
    ben = join(emulator, "ben")
    assert to(ben, "bot").id == emulator.participants("lab")[0].id


def test_a_room_begins_with_its_participants_and_ends_with_its_last_client() -> None:
    """Each room has its own, there before the client is; a visitor that is away does not come back to an ended one."""
    made: list[str] = []
    guests: list[participants.Visitor] = []

    def populate(room: str) -> list[Participant]:
        made.append(room)
        guests.append(participants.Visitor("guest", 0.05, 0.05))
        return [participants.Echo("bot"), guests[-1]]

    with Emulator(populate=populate) as emulator:
        ada, ben = join(emulator, "ada"), join(emulator, "ben", "den")
        assert {one.name for one in ada.messaging.remote_participants} >= {"bot"}
        with ben.messaging.messages() as inbox:
            ben.messaging.send_message(to(ben, "bot"), "hi", {})
            assert inbox.get(PATIENCE).type == "hi"
        assert made == ["lab", "den"]
        ada.close()
        while emulator.rooms != ("den",):
            pass
        guests[0].come_back()  # As its timer would.
        assert not guests[0].is_here
        assert to(join(emulator, "cleo"), "bot")
        assert made == ["lab", "den", "lab"]


def test_a_room_opens_though_its_participants_cannot_be_made(caplog: pytest.LogCaptureFixture) -> None:
    """The function's error is logged, and the client is let in."""

    def populate(room: str) -> list[Participant]:
        raise ZeroDivisionError

    with Emulator(populate=populate) as emulator:
        assert emulator.connect("lab", "ada").is_connected
    assert "begins without" in caplog.text


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_by_the_call(emulator: Emulator) -> None:
    """A participant is in one room at a time, a room has a name that it can have, an emulator runs."""
    bot = participants.Echo("bot")
    emulator.add("lab", bot)
    with pytest.raises(UsageError, match="'bot' is in a room already"):
        emulator.add("den", bot)
    with pytest.raises(RoomNotFound):
        emulator.add("no such/room", participants.Echo("bot"))
    with pytest.raises(UsageError, match="url: the emulator's own is used"):
        emulator.connect("lab", "ada", url="ws://elsewhere.invalid")
    uses: list[Callable[[Emulator], object]] = [
        lambda closed: closed.add("lab", participants.Echo("bot")),
        lambda closed: closed.connect("lab", "ada"),
        lambda closed: closed.participants("lab"),
        lambda closed: closed.rooms,
    ]
    for use in uses:
        with pytest.raises(UsageError, match="not running"):
            use(Emulator())


def test_the_emulators_own_thread_cannot_wait_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A participant's method that calls the emulator is told so at once, and the emulator goes on."""

    class Curious(Participant):
        def on_message(self, message: Message) -> None:
            assert emulator.rooms

    with Emulator() as emulator:
        emulator.add("lab", Curious("curious"), participants.Echo("bot"))
        ada = join(emulator, "ada")
        with ada.messaging.messages() as inbox:
            ada.messaging.send_message(to(ada, "curious"), "hi", {})
            ada.messaging.send_message(to(ada, "bot"), "hi", {})
            inbox.get(PATIENCE)
    assert "this is the emulator's own thread" in caplog.text


# --- clients ----------------------------------------------------------------------------------------------------------


def test_clients_are_closed_with_the_emulator() -> None:
    """Those of ``connect`` end as if the program had closed them, also one that only a receiver keeps alive."""
    with Emulator() as emulator:
        ada = emulator.connect("lab", "ada")
        emulator.connect("lab", "ben").messaging.on("message", Ears())
        assert names(emulator) == ["ada", "ben"]
    assert ada.state == "closed"
    assert not [thread for thread in threading.enumerate() if "ben in lab" in thread.name]


def test_participants_are_free_when_the_emulator_is_closed() -> None:
    """The same one can be added to another."""
    bot = participants.Echo("bot")
    for _ in range(2):
        with Emulator() as emulator:
            emulator.add("lab", bot)
            assert names(emulator) == ["bot"]
        assert not bot.is_here


def test_departures_of_participants_are_told_with_a_reason(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """As those of clients are."""
    caplog.set_level(logging.INFO, "simulator.emulator")
    emulator.add("lab", participants.Scripted("joe", [(0, lambda joe: joe.leave())]))
    while names(emulator):
        pass
    assert "lab: joe leaves: its connection has ended; there are 0" in caplog.text


def test_all_of_it_can_be_used_from_several_threads(emulator: Emulator) -> None:
    """Clients and participants that come at once are all there."""
    failures: list[BaseException] = []

    def come(number: int) -> None:
        try:
            emulator.connect("lab", f"ada-{number}")
            emulator.add("lab", participants.Echo(f"bot-{number}"))
            assert "lab" in emulator.rooms
        except (MeshsyncError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    assert sorted(names(emulator)) == sorted(f"{who}-{number}" for who in ("ada", "bot") for number in range(8))


def test_a_participant_comes_back_by_itself_after_a_fault_and_after_leaving(emulator: Emulator) -> None:
    """With another id and the same handlers; when its room is no more, it stays away."""
    bot = participants.Echo("bot", returns_after=0.05)
    emulator.add("lab", bot)
    ada = join(emulator, "ada")
    known = {to(ada, "bot").id}
    for fault in (faults.reset("bot"), faults.drop("bot"), faults.leave("bot")):
        emulator.plan(fault)
        back = ada.messaging.wait_for_participant(name="bot", where=lambda one: one.id not in known, timeout=PATIENCE)
        known.add(back.id)
    with ada.messaging.messages(sender=back) as inbox:
        ada.messaging.send_message(back, "ask", {})
        assert inbox.get(PATIENCE).type == "ask"
