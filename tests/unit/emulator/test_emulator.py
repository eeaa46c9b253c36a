"""The emulator's life: starting, what it tells, dropping, closing."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Coroutine
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

import simulator
from meshsync.errors import UsageError
from meshsync.protocol.operations import Enable, Push
from meshsync.tokens import ApiKey, ParticipantToken
from simulator.emulator import CLEARED, DEVELOPMENT_SECRET, Emulator, EmulatorStats, Limits
from simulator.emulator.emulator import has_failed
from simulator.emulator.gateway import Gateway
from tests.support.sockets import PATIENCE, PlainSocket, RawClient


def threads() -> list[str]:
    """Return the names of the emulators' threads that are alive and were not before the test."""
    return [
        thread.name for thread in threading.enumerate() if thread.name == "simulator.emulator" and thread not in BEFORE
    ]


BEFORE: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def note_other_emulators() -> None:
    """Leave out the emulators of other tests: one may live through the session."""
    BEFORE.clear()
    BEFORE.update(threading.enumerate())


def test_package_hands_on_the_emulator():
    """``simulator.Emulator`` is it, and what the package does not have is an attribute error."""
    assert simulator.Emulator is Emulator
    with pytest.raises(AttributeError, match="no attribute 'Emulators'"):
        _ = simulator.Emulators


@pytest.mark.parametrize(
    ("loop", "reason"),
    [
        ("trio", "it is one of 'asyncio', 'uvloop', not 'trio'"),
        ("uvloop", "uvloop is not installed; pip install uvloop"),
    ],
)
def test_a_loop_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, loop: str, reason: str):
    """The error tells which there are, or what to install."""
    monkeypatch.setattr("simulator.emulator.emulator.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=reason):
        Emulator(loop=loop)


def test_emulator_runs_on_the_loop_that_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    """Its thread alone: uvloop is given the gateway to run, and sets nothing for others."""
    given: list[str] = []

    def run(work: Coroutine[Any, Any, None]) -> None:
        given.append(threading.current_thread().name)
        asyncio.run(work)

    monkeypatch.setitem(sys.modules, "uvloop", cast(ModuleType, SimpleNamespace(run=run, __spec__=object())))
    before = asyncio.get_event_loop_policy()
    with Emulator(loop="uvloop") as emulator:
        assert emulator.rooms == ()
    assert given == ["simulator.emulator"]
    assert asyncio.get_event_loop_policy() is before


def test_emulator_listens_on_the_loopback_from_start_to_close():
    """Before and after, nobody answers; its thread ends with it."""
    emulator = Emulator()
    assert (emulator.is_open, repr(emulator)) == (False, "<Emulator closed>")
    with emulator:
        address = ("127.0.0.1", emulator.port)
        assert emulator.url == f"ws://127.0.0.1:{emulator.port}"
        assert repr(emulator) == f"<Emulator {emulator.url}>"
        socket.create_connection(address, timeout=PATIENCE).close()
        assert threads() == ["simulator.emulator"]
    assert threads() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=PATIENCE)


def test_emulator_can_be_started_and_closed_again():
    """Each twice in a row does nothing the second time; after a close it starts afresh."""
    emulator = Emulator()
    assert emulator.start() is emulator.start()
    port = emulator.port
    assert emulator.port == port
    emulator.close()
    emulator.close()
    with emulator, RawClient(emulator, "ada") as ada:
        assert ada.id


def test_block_that_raises_still_closes():
    """The exception goes on, the thread does not."""
    with pytest.raises(ZeroDivisionError):
        with Emulator():
            raise ZeroDivisionError
    assert threads() == []


def test_two_emulators_run_at_once():
    """Each has its rooms: the same name in both is two rooms."""
    with Emulator() as one, Emulator() as other:
        with RawClient(one, "ada") as ada, RawClient(other, "ada", enable=False) as twin:
            twin.ask(Enable())
            assert [twin.read(), twin.read()][1].message == {"participants": []}
            assert ada.id != twin.id


def test_taken_port_is_a_clear_error():
    """It names host and port, says what to do, and leaves no thread."""
    with Emulator() as emulator:
        with pytest.raises(UsageError, match=f"127.0.0.1 port {emulator.port}: .+; port=0 picks"):
            Emulator(port=emulator.port).start()
        assert threads() == ["simulator.emulator"]


def test_foreign_address_is_a_clear_error():
    """An address of nobody here. Source: RFC 5737, which reserves it."""
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        Emulator(host="192.0.2.1").start()
    assert threads() == []


@pytest.mark.parametrize("arguments", [{"secret": ""}, {"acknowledge": "delivered"}])
def test_arguments_that_make_no_sense_are_refused_at_once(arguments):
    """The error names the argument."""
    with pytest.raises(UsageError, match=next(iter(arguments))):
        Emulator(**arguments)


@pytest.mark.parametrize(
    "use",
    [lambda e: e.url, lambda e: e.port, lambda e: e.env, lambda e: e.drop("ada")],
    ids=["url", "port", "env", "drop"],
)
def test_what_needs_a_running_emulator_says_so(use):
    """Before it was started there is no port to tell."""
    with pytest.raises(UsageError, match="not running"):
        use(Emulator())


def test_environment_leads_here_with_a_secret_that_is_believed():
    """Address, ids, secret and a key of the same; what would lead elsewhere is not among them."""
    with Emulator() as emulator:
        env = emulator.env
        assert env["MESHAGENT_API_URL"] == f"http://127.0.0.1:{emulator.port}"
        assert env["MESHAGENT_SECRET"] == DEVELOPMENT_SECRET == emulator.secret
        key = ApiKey.parse(env["MESHAGENT_API_KEY"])
        assert (key.secret, key.project_id, key.key_id) == (
            DEVELOPMENT_SECRET,
            env["MESHAGENT_PROJECT_ID"],
            env["MESHAGENT_KEY_ID"],
        )
        assert not set(CLEARED) & set(env)


def test_development_secret_is_long_enough_for_its_algorithm():
    """Below 32 bytes PyJWT warns. Source: RFC 7518, section 3.2."""
    assert len(DEVELOPMENT_SECRET.encode()) >= 32


def test_tokens_are_signed_with_its_secret():
    """They say what was asked for."""
    emulator = Emulator(secret="some-other-secret-of-more-than-32-bytes")

    text = emulator.token("lab", "ada", role="agent", version="0.29.4", expires=50, messaging=False)
    token = ParticipantToken.decode(text, emulator.secret, now=0)

    assert (token.room, token.name, token.role, token.version) == ("lab", "ada", "agent", "0.29.4")
    assert (token.expires, token.messaging.send) == (50, False)


def test_drop_cuts_the_connection_without_a_close_frame():
    """Everybody of that name, in whatever room, and nobody else; their peers see them leave."""
    with Emulator() as emulator:
        with RawClient(emulator, "ada") as ada, RawClient(emulator, "ben") as ben:
            with RawClient(emulator, "ada", room="other") as twin:
                emulator.drop("ada")
                assert ada.ending() == (None, "")
                assert twin.ending() == (None, "")
                assert ben.read() == Push(ada.id, "participant.disabled", {"id": ada.id})


def test_stats_count_what_there_is():
    """A participant has a seat; one that was sent a close frame has but a connection, until that is cut."""
    emulator = Emulator(limits=Limits(linger=PATIENCE))
    assert emulator.stats() == EmulatorStats()
    with emulator, PlainSocket(emulator, "mal") as mal:
        assert emulator.stats() == EmulatorStats(rooms=1, participants=1, connections=1)
        mal.socket.sendall(b"\x81\x81\0\0\0\0x")  # text, where packets are binary
        while (figures := emulator.stats()).participants:
            pass
        assert figures == EmulatorStats(rooms=1, connections=1)
        emulator.drop("mal")
        while emulator.stats() != EmulatorStats():
            pass
    assert emulator.stats() == EmulatorStats()


def test_drop_of_nobody_is_an_error():
    """A test that drops nobody would prove nothing."""
    with Emulator() as emulator:
        with pytest.raises(UsageError, match="no participant 'ada'"):
            emulator.drop("ada")


def test_close_says_goodbye():
    """Whoever is connected reads a close frame: going away."""
    with Emulator() as emulator, RawClient(emulator, "ada") as ada:
        emulator.close()
        assert ada.ending() == (1001, "the emulator was closed")


def test_close_does_not_wait_for_those_who_do_not_read():
    """A peer that neither reads nor closes is cut after the time it is given; this test would take 30 s otherwise."""
    with Emulator(limits=Limits(linger=0.1)) as emulator, PlainSocket(emulator, "mal") as mal:
        emulator.close()
        assert threads() == []
        assert b"the emulator was closed" in mal.rest()


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/rooms/", 404), ("/rooms/lab", 401)])
def test_plain_http_is_answered_with_a_status(path, status):
    """Somebody who looks at the address with a browser gets an answer."""
    with Emulator() as emulator, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{emulator.port}{path}", timeout=PATIENCE
        )
    assert caught.value.code == status
    caught.value.close()


def test_emulator_that_ends_by_a_fault_of_its_own_is_not_open_any_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The log has the fault; closing raises nothing, and it is known for the exit status."""

    async def fail(self: Gateway) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Gateway, "close", fail)
    with Emulator() as emulator:
        assert not has_failed(emulator)
    assert has_failed(emulator)
    assert not emulator.is_open
    assert "a fault of ours" in caplog.text
