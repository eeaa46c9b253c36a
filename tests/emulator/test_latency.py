"""Latency on real sockets: each message takes its delay by the law, in order, and none is lost; no time is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

import meshsync
from meshsync import ConnectionLost, RoomClient, UsageError
from simulator import Emulator, faults, latency, participants
from simulator.emulator import Limits
from simulator.latency import Constant
from tests.support.rooms import PATIENCE, start

JITTERY = latency.lognormal(0.005, 1.5)
"""Of two delays in a row the second is often the shorter one, by far."""


def join(emulator: Emulator, name: str, **options: object) -> RoomClient:
    """Return a client in the room ``lab``, with messaging enabled."""
    client = emulator.connect("lab", name, **options)
    client.messaging.enable()
    return client


def to(client: RoomClient, name: str) -> meshsync.RemoteParticipant:
    """Return a peer as a client sees it."""
    return client.messaging.wait_for_participant(name=name, timeout=PATIENCE)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Return an emulator with delays that differ."""
    with Emulator(latency=JITTERY, seed=7) as emulator:
        yield emulator


@dataclass(frozen=True, slots=True)
class Counted(Constant):
    """A law that keeps how often it was drawn from."""

    draws: list[None] = field(default_factory=list, compare=False)

    def draw_us(self, stream: Random) -> int:
        self.draws.append(None)
        return Constant.draw_us(self, stream)


def test_messages_arrive_whole_and_in_order(emulator: Emulator) -> None:
    """Five hundred of many sizes, sent without waiting, and the answers to them."""
    ada, ben = join(emulator, "ada"), join(emulator, "ben")
    ben.messaging.on_message(
        "ask", lambda event: ben.messaging.send_message_nowait(event.participant, "answer", event.message.message)
    )
    sizes = [number * number * 7 % 90_000 for number in range(500)]
    with ben.messaging.messages("ask") as asked, ada.messaging.messages("answer") as answers:
        for number, size in enumerate(sizes):
            ada.messaging.send_message_nowait(to(ada, "ben"), "ask", {"n": number}, bytes(size))
        got = [asked.get(PATIENCE) for _ in sizes]
        assert [(one.message["n"], len(one.attachment)) for one in got] == list(enumerate(sizes))
        assert [answers.get(PATIENCE).message["n"] for _ in sizes] == list(range(500))


def test_more_than_fits_into_a_connection_arrives_unharmed(emulator: Emulator) -> None:
    """Fifteen times 2.75 MiB, more than a connection holds in transit, both ways at once."""
    emulator.add("lab", participants.Echo("bot"))
    ada = join(emulator, "ada")
    block = bytes(range(256)) * 11 * 1024
    digest = hashlib.sha256(block).digest()
    with ada.messaging.messages(maxsize=15) as inbox:
        for _ in range(15):
            ada.messaging.send_message_nowait(to(ada, "bot"), "much", {}, block, timeout=PATIENCE)
            assert hashlib.sha256(inbox.get(PATIENCE).attachment).digest() == digest


def test_streams_bear_it(emulator: Emulator) -> None:
    """A stream's chunks, its credits and its end."""
    ada, ben = join(emulator, "ada"), join(emulator, "ben")

    def write() -> None:
        with ada.messaging.create_stream(to(ada, "ben"), {"of": "numbers"}) as writer:
            for number in range(200):
                writer.write(meshsync.MessageStreamChunk({"n": number}, bytes(10_000)))

    with ben.messaging.streams() as offers:
        written = start(write)
        assert [chunk.header["n"] for chunk in offers.get(PATIENCE)] == list(range(200))
        written.result(PATIENCE)


def test_each_message_takes_a_delay_of_its_own_each_way() -> None:
    """With each acknowledged send the law is drawn from for the message, its delivery and its acknowledgement."""
    law = Counted(0.0)
    with Emulator(latency=law) as emulator:
        ada, ben = join(emulator, "ada"), join(emulator, "ben")
        with ben.messaging.messages() as inbox:
            to(ada, "ben")
            before = len(law.draws)
            for _ in range(50):
                ada.messaging.send_message(to(ada, "ben"), "hi", {})
                inbox.get(PATIENCE)
    assert len(law.draws) - before >= 150


def test_an_attempt_to_connect_takes_one_delay_each_way() -> None:
    """Before the handshake is answered; what follows takes its own."""
    law = Counted(0.0)
    with Emulator(latency=law) as emulator:
        with pytest.raises(meshsync.AuthenticationFailed):
            meshsync.connect("lab", url=emulator.url, token="none")
        assert law.draws == []  # Who has no name has no links.
        emulator.plan(faults.at(0, faults.refuse_connect("ada")))
        with pytest.raises(meshsync.RoomUnavailable):
            emulator.connect("lab", "ada")
    assert len(law.draws) == 1


def test_a_close_frame_arrives_behind_what_is_in_transit() -> None:
    """However long that takes: longer here than a socket is kept for a client without a delay."""
    with Emulator(latency=0.5, limits=Limits(linger=0.2)) as emulator:
        ada = emulator.connect("lab", "ada", reconnect=False)
        emulator.plan(faults.leave("ada"))
        with pytest.raises(ConnectionLost) as caught:
            ada.wait_closed(PATIENCE)
        assert caught.value.code == 1001


def test_closing_waits_for_no_delay() -> None:
    """What is in transit arrives at once, and so does the close frame."""
    with Emulator(latency=0) as emulator:
        ada = meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "ada"), reconnect=False)
        ada.messaging.enable()
        ben = join(emulator, "ben")
        inbox = ada.messaging.messages()
        emulator.plan(faults.latency(1e6, "ada", direction="down"), faults.partition({"ada"}))
        ben.messaging.send_message(to(ben, "ada"), "in transit", {})
    assert inbox.get(PATIENCE).type == "in transit"
    with pytest.raises(ConnectionLost) as caught:
        ada.wait_closed(PATIENCE)
    assert (caught.value.code, caught.value.reason) == (1001, "the emulator was closed")


def test_seeds_decide_the_delays() -> None:
    """Two emulators with one seed draw the same delays for a participant's connection, and another seed others."""

    def drawn(seed: int) -> list[float]:
        with Emulator(latency=JITTERY, seed=seed) as emulator:
            thread = emulator._thread
            assert thread is not None
            stream = thread.gateway._stage.seeds.new_stream("network/ada#1/up")
            return [JITTERY.draw(stream) for _ in range(5)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_clients_are_where_a_matrix_has_them() -> None:
    """A message of one that is far away arrives behind a later one; a name that nobody knew has the default."""
    places = {"ada": "far", "ben": "here", "room": "here"}
    table = latency.matrix({("far", "here"): 1.5, ("here", "here"): 0.0}, regions=places, default=0.0)
    with Emulator(latency=table, seed=7) as emulator:
        ada, ben, eve = (join(emulator, name) for name in ("ada", "ben", "eve"))
        with ben.messaging.messages() as inbox:
            ada.messaging.send_message_nowait(to(ada, "ben"), "far", {})
            eve.messaging.send_message_nowait(to(eve, "ben"), "near", {})
            assert [inbox.get(PATIENCE).type for _ in range(2)] == ["near", "far"]
            emulator.plan(faults.reset("far"))
        while [one.name for one in emulator.participants("lab")][:2] != ["ben", "eve"]:
            pass


def test_a_matrix_without_a_default_is_refused() -> None:
    """Any name may join an emulator."""
    with pytest.raises(UsageError, match="latency: a matrix needs a default= here"):
        Emulator(latency=latency.matrix({("far", "here"): 1}))
