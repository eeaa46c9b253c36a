"""What the client logs: its life at INFO, and at DEBUG what each message means."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

import meshsync
from meshsync import MessageStreamChunk, RoomClient
from simulator import Simulation, faults

LOGGERS = ("meshsync.client", "meshsync.traffic")


def lines(caplog: pytest.LogCaptureFixture, logger: str, client: str) -> list[str]:
    """Return what one client has logged, with a word in the place of ids."""
    begin = f"{client} in lab: "
    texts = [record.getMessage() for record in caplog.records if record.name == logger]
    found = [text.removeprefix(begin) for text in texts if text.startswith(begin)]
    return [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[a-z]+-[0-9a-f]{6,}", "ID", text) for text in found]


def join(name: str) -> RoomClient:
    """Connect as a program does."""
    return meshsync.connect("lab", name=name)


def test_life_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """Connected, enabled, lost and why, back and after how long, enabled again, ended; no word more."""
    caplog.set_level(logging.INFO, "meshsync")
    with Simulation(seed=1, latency=0.01) as sim:
        ada, ben = join("ada"), join("ben")
        ben.messaging.enable()
        ada.messaging.enable()
        sim.plan(faults.reset("ada"))
        sim.sleep(10)
        ada.close()
        sim.plan(faults.restart(down=1))
        sim.sleep(0.5)
        ben.close()
    life = lines(caplog, "meshsync.client", "ada")
    assert len(life) == 6
    assert life[0].startswith("connected to room lab as participant ")
    assert life[1:3] == [
        "messaging is enabled, others there: 1",
        "lost its connection, and reconnects: the connection broke: Connection reset by peer",
    ]
    assert life[3] == "messaging is enabled, others there: 1"
    assert re.fullmatch(r"reconnected after 0\.\d s", life[4])
    assert life[5] == "ended: closed by this program"
    assert lines(caplog, "meshsync.client", "ben")[-1] == "ended: closed by this program"
    assert lines(caplog, "meshsync.traffic", "ada") == []


def test_the_end_for_good_has_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """A client that does not reconnect ends with its connection."""
    caplog.set_level(logging.INFO, "meshsync")
    with Simulation(seed=1) as sim:
        ada = meshsync.connect("lab", name="ada", reconnect=False)
        sim.plan(faults.reset("ada"))
        sim.sleep(1)
        assert ada.state == "lost"
    assert lines(caplog, "meshsync.client", "ada")[-1] == "ended: the connection broke: Connection reset by peer"


def test_a_name_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its own name and its peers'."""
    caplog.set_level(logging.DEBUG, "meshsync")
    with Simulation(seed=1):
        evil, ada = join("evil\nINFO"), join("ada")
        evil.messaging.enable()
        ada.messaging.enable()
        evil.messaging.broadcast_message("a\nb", {"c\nd": "e\nf"})
        ada.messaging.wait_for_participant(name="evil\nINFO")
    assert "evil" in caplog.text
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


def conversation(caplog: pytest.LogCaptureFixture, level: int, kind: str) -> str:
    """Let two clients talk, and return the digest of the transcript."""
    for logger in LOGGERS:
        caplog.set_level(level, logger)

    def read(reader: meshsync.StreamReader) -> None:
        reader.read_all()

    with Simulation(seed=1, latency=0.01) as sim:
        ada, ben = join("ada"), join("ben")
        ben.messaging.enable(read)
        ada.messaging.enable()
        sim.sleep(1)
        caplog.clear()
        to = ada.messaging.wait_for_participant(name="ben")
        ada.messaging.send_message(to, "ask", {"password": "1", "n": 1}, attachment=b"abc")
        ada.messaging.broadcast_message("news", {"token": "x"})
        with pytest.raises(meshsync.RoomError):
            ada.messaging.send_message("nobody", "ask", {})
        ada.local_participant.set_attribute("mood", "calm")
        with ada.messaging.create_stream(to, {"h": 1}, kind=kind) as writer:
            writer.write(MessageStreamChunk({"part": 1}, b"data"))
        sim.sleep(1)
        ada.close()
        sim.sleep(1)
        ben.close()
        return sim.room("lab").transcript.digest()


def test_each_message_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Those sent and those received, with their type, peer, size and the beginning of the body, without secrets."""
    conversation(caplog, logging.DEBUG, "classic")
    sent = [line for line in lines(caplog, "meshsync.traffic", "ada") if ": sends" in line or "broad" in line]
    assert re.fullmatch(
        r'request 3, \d+ bytes: sends ask to ben: \{"password": "\[hidden\]", "n": 1\}, 3 bytes attached', sent[0]
    )
    assert re.fullmatch(r'request 4, \d+ bytes: broadcasts news: \{"token": "\[hidden\]"\}', sent[1])
    told = lines(caplog, "meshsync.traffic", "ada")
    assert "request 3 is acknowledged" in told
    assert "request 5 is refused: error 1003, the participant was not found" in told
    assert any(line.endswith('sets attributes {"mood": "calm"}') for line in told)
    assert any("sends stream.open to ben" in line and '"secret": "[hidden]"' in line for line in told)

    heard = lines(caplog, "meshsync.traffic", "ben")
    assert 'receives ask from ada: {"password": "[hidden]", "n": 1}, 3 bytes attached' in heard
    assert 'ada sets attributes {"mood": "calm"}' in heard
    assert "ada takes part in messaging no more" in heard


def test_messages_on_calls_are_lines_too(caplog: pytest.LogCaptureFixture) -> None:
    """Opening, answer, chunks and close of a duplex stream, at both ends."""
    conversation(caplog, logging.DEBUG, "duplex")
    told = "\n".join(lines(caplog, "meshsync.traffic", "ada"))
    for pattern in (r"opens stream ", r'sends on stream .*: \{"h": 1\}', r"receives on stream .*: Accepted"):
        assert re.search(pattern, told), pattern
    heard = "\n".join(lines(caplog, "meshsync.traffic", "ben"))
    for pattern in (r"receives stream .* of ada, to be answered as \d+", r"answers stream \d+: Control\(.*open"):
        assert re.search(pattern, heard), pattern
    assert re.search(r'receives on stream .*: \{"part": 1\}, 4 bytes attached', heard)


def test_a_log_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The same run, to the byte, with and without it; without it, no line is made."""
    quiet = conversation(caplog, logging.WARNING, "classic")
    assert caplog.records == []
    assert conversation(caplog, logging.DEBUG, "classic") == quiet


class Failing(logging.Handler):
    """A handler that raises, as one of a program may."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("no disk")


@pytest.fixture
def failing() -> Iterator[None]:
    """Give the client's loggers a handler that raises."""
    handler = Failing()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("failing")
def test_a_handler_that_fails_costs_nothing() -> None:
    """Neither the connection nor a call."""
    with Simulation(seed=1, latency=0.01) as sim:
        ada, ben = join("ada"), join("ben")
        ben.messaging.enable()
        ada.messaging.enable()
        sim.plan(faults.reset("ada"))
        sim.sleep(10)
        with ben.messaging.messages("ask") as asked:
            ada.messaging.send_message(ada.messaging.wait_for_participant(name="ben"), "ask", {"n": 1})
            assert asked.get(timeout=5).message == {"n": 1}
        ada.close()
        ben.close()
