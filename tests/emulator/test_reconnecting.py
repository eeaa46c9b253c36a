"""Coming back over real sockets: a dropped connection, a restarted server, and ends that interrupt the attempts."""

from __future__ import annotations

import threading

import pytest

import meshsync
from meshsync import AuthenticationFailed, ConnectionLost, ConnectTimeout, RoomUnavailable
from simulator import Emulator
from tests.support.scripted import PATIENCE, wait_until


class Events:
    """The events of a client, each of which can be waited for."""

    def __init__(self, room: meshsync.RoomClient) -> None:
        self.names: list[str] = []
        self._changed = threading.Condition()
        for name in ("disconnected", "reconnected", "participant_added"):
            room.messaging.on(name, self._note)

    def _note(self, event: meshsync.RoomMessageEvent) -> None:
        with self._changed:
            self.names.append(event.name)
            self._changed.notify_all()

    def wait_for(self, name: str, count: int = 1) -> None:
        """Return when an event has been heard so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.names.count(name) >= count, PATIENCE), self.names


def test_dropped_client_comes_back_and_goes_on() -> None:
    """With a new id, its attributes, and the messages that waited."""
    with Emulator() as emulator:
        alice = meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "alice"))
        bob = meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", "bob"))
        with alice, bob, bob.messaging.messages("chat") as messages:
            events = Events(alice)
            alice.local_participant.set_attribute("mood", "calm")
            for room in (alice, bob):
                room.messaging.enable()
            before, peer = alice.local_participant.id, alice.messaging.wait_for_participant("bob", timeout=PATIENCE)
            emulator.drop("alice")
            events.wait_for("disconnected")
            alice.messaging.send_message(peer, "chat", {"n": 1})
            events.wait_for("reconnected")
            assert messages.get(PATIENCE).message == {"n": 1}
            assert (alice.state, alice.local_participant.id == before) == ("online", False)
            assert alice.messaging.get_participant_by_name("bob") is peer
            back = bob.messaging.wait_for_participant(
                where=lambda p: p.id == alice.local_participant.id, timeout=PATIENCE
            )
            assert back.attributes["mood"] == "calm"


def test_restarted_server_is_come_back_to() -> None:
    """Its close code says that it goes away, and not that this client is to stay away."""
    with Emulator() as first:
        token = first.token("lab", "alice")
        alice = meshsync.connect("lab", url=first.url, token=token)
        events = Events(alice)
        port = first.port
    events.wait_for("disconnected")
    assert alice.state == "offline"
    with Emulator(port=port):
        alice.reconnect_now()
        events.wait_for("reconnected")
        alice.close()
    assert alice.wait_closed(PATIENCE)


def test_token_that_is_no_longer_good_is_the_end() -> None:
    """A fixed one is not tried for ever."""
    with Emulator() as first:
        alice = meshsync.connect("lab", url=first.url, token=first.token("lab", "alice"))
        port = first.port
    with Emulator(port=port, secret="another"):
        with pytest.raises(ConnectionLost, match=r"cannot be made again: .* rejected the token") as caught:
            alice.wait_closed(PATIENCE)
    assert caught.value.http_status == 401
    assert isinstance(caught.value.__cause__, AuthenticationFailed)
    assert alice.state == "lost"


def test_closing_waits_for_no_token_function() -> None:
    """The program's function may take any time; the client is gone at once, and the function's result is ignored."""
    with Emulator() as emulator:
        good, is_asked, may_answer = emulator.token("lab", "alice"), threading.Event(), threading.Event()
        asked: list[int] = []

        def token() -> str:
            asked.append(1)
            if len(asked) > 1:
                is_asked.set()
                assert may_answer.wait(PATIENCE)
            return good

        alice = meshsync.connect("lab", url=emulator.url, token=token)
        emulator.drop("alice")
        assert is_asked.wait(PATIENCE)
        alice.close(timeout=PATIENCE * 10)  # It would wait for that long.
        assert alice.wait_closed(0)
        assert alice.state == "closed"
        may_answer.set()
        for task in alice._meshsync.connection.tasks:
            assert task.join(PATIENCE)
        wait_until(lambda: emulator.stats().connections == 0)


def test_first_connect_is_retried_if_asked_for() -> None:
    """By default a room that is not there is an error at once; with ``retry`` it is waited for, within the time-out."""
    with Emulator() as first:
        token, url, port = first.token("lab", "alice"), first.url, first.port
    with pytest.raises(RoomUnavailable):
        meshsync.connect("lab", url=url, token=token)
    with pytest.raises((RoomUnavailable, ConnectTimeout)):
        meshsync.connect("lab", url=url, token=token, retry=True, timeout=1)
    rooms: list[meshsync.RoomClient] = []
    connecting = threading.Thread(
        target=lambda: rooms.append(meshsync.connect("lab", url=url, token=token, retry=True, timeout=PATIENCE))
    )
    connecting.start()
    with Emulator(port=port):
        connecting.join(PATIENCE)
        assert [room.state for room in rooms] == ["online"]
        rooms[0].close()
