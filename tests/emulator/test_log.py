"""What an emulator logs of real clients: why they leave, who is refused, and streams that are never answered."""

from __future__ import annotations

import http.client
import logging
import re
from collections.abc import Callable

import pytest

import meshsync
from meshsync import RoomClient
from simulator import Emulator
from simulator.emulator import Limits

PATIENCE = 30.0
"""Seconds."""


def join(emulator: Emulator, name: str, room: str = "lab") -> RoomClient:
    """Connect a client that does not come back."""
    token = emulator.token(room, name)
    return meshsync.connect(room, url=emulator.url, token=token, reconnect=False, timeout=PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    """Wait for what an emulator does by itself."""
    while not holds():
        pass


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    """Log at INFO."""
    caplog.set_level(logging.INFO, "simulator.emulator")


def events(caplog: pytest.LogCaptureFixture, event: str) -> list[logging.LogRecord]:
    """Return what was logged of an event."""
    return [record for record in caplog.records if getattr(record, "event", "") == event]


def test_departures_have_their_reason(caplog: pytest.LogCaptureFixture) -> None:
    """Closed, cut on purpose, disconnected for a fault, and told to go with all others."""
    with Emulator(limits=Limits(rate=1.0)) as emulator:
        ada, ben, eve = (join(emulator, name) for name in ("ada", "ben", "eve"))
        ada.close()
        emulator.drop("ben")
        until(lambda: emulator.stats().participants == 1)
        eve.messaging.enable()
        with pytest.raises(meshsync.MeshsyncError):
            for _ in range(100):
                eve.messaging.broadcast_message("news", {})
        until(lambda: not emulator.stats().connections)
        zoe = join(emulator, "zoe")
    for client in (ben, eve, zoe):
        client.close()
    reasons = {vars(record)["participant"]: vars(record)["reason"] for record in events(caplog, "left")}
    assert reasons["ada"] == "closed with code 1000"
    assert reasons["ben"] == "cut by drop()"
    assert "1008" in reasons["eve"]
    assert "sends more than 1 messages a second" in reasons["eve"]
    assert reasons["zoe"] == "disconnected with code 1001: the emulator was closed"
    (cut,) = events(caplog, "fault")
    assert cut.getMessage() == "the connection of ben is cut by drop()"
    assert [vars(record)["participant"] for record in events(caplog, "refused")] == ["eve"]


def test_who_is_refused_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """A token for another room, and one of another secret; counted by kind, without the tokens."""
    with Emulator() as emulator, Emulator(secret="another secret of more than 32 bytes") as other:
        tokens = [emulator.token("hall", "eve\n"), other.token("lab", "mal")]
        for token in tokens:
            with pytest.raises(meshsync.ConnectFailed):
                meshsync.connect("lab", url=emulator.url, token=token, timeout=PATIENCE)
        assert emulator.stats().refused == {"token": 2}
    assert caplog.messages == [
        r"lab: 'eve\n' is refused with status 403: the token is for another room",
        "lab: mal is refused with status 401: the token's signature does not fit the secret",
    ]
    assert not any(token in caplog.text for token in tokens)


def test_a_token_in_the_place_of_a_room_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the sentence nor for programs."""
    with Emulator() as emulator:
        token = emulator.token("lab", "ada")
        connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=PATIENCE)
        connection.request("GET", f"/rooms/{token}?token={token}")
        assert connection.getresponse().status == 404
        connection.close()
    (record,) = events(caplog, "refused")
    assert (vars(record)["kind"], vars(record)["room"]) == ("name", "[hidden]")
    assert not any(part in caplog.text for part in token.split("."))


def test_a_stream_that_is_never_answered(caplog: pytest.LogCaptureFixture) -> None:
    """The room rejects it when its time is over, and says so."""
    with Emulator(limits=Limits(answer=0.2)) as emulator, join(emulator, "ada") as ada, join(emulator, "ben") as ben:
        with ben.messaging.streams():
            ben.messaging.enable()
            ada.messaging.enable()
            to = ada.messaging.wait_for_participant(name="ben", timeout=PATIENCE)
            with pytest.raises(meshsync.StreamTimeout):
                ada.messaging.create_stream(to, {}, kind="duplex")
    opened, rejected = events(caplog, "stream_opened"), events(caplog, "stream_rejected")
    assert [re.sub("stream .*? to", "stream ID to", record.getMessage()) for record in opened] == [
        "lab: ada opens stream ID to ben"
    ]
    assert [record.getMessage() for record in rejected] == [
        "lab: a stream of ada comes to nothing: the participant did not answer within 0.2 s"
    ]


def test_a_room_that_opens_without_a_log_has_none(caplog: pytest.LogCaptureFixture) -> None:
    """It costs its messages nothing; a room that opens later is watched."""
    caplog.set_level(logging.WARNING, "simulator.emulator")
    with Emulator() as emulator, join(emulator, "ada"):
        caplog.set_level(logging.INFO, "simulator.emulator")
        join(emulator, "ben").close()
        assert caplog.messages == []
        with join(emulator, "ben", "hall"):
            assert caplog.messages == ["hall: ben arrives as user; there are 1"]
