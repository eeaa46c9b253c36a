"""Shared by tests of the whole client: rooms to join, scripts to run, and a receiver.

Most tests join rooms of one emulator. A `ScriptedServer` does what the emulator never does.
"""

from __future__ import annotations

import os
import queue
import random
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

import meshsync
from simulator import Emulator
from tests.support.scripted_server import LONG, ScriptedServer, start

__all__ = [
    "Ears",
    "Join",
    "emulated",
    "finish",
    "join",
    "own_port",
    "run",
    "server",
    "settle",
    "start",
]

ROOT = Path(__file__).parents[1]
PATIENCE = LONG
"""The longest wait for a due event, in seconds; a test that passes never waits so long."""

T = TypeVar("T")
Join = Callable[..., meshsync.RoomClient]

_rooms = count(1)


# --- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def emulated() -> Iterator[Emulator]:
    """Return an emulator that many tests share; each joins a room of its own."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def join(emulated: Emulator) -> Iterator[Join]:
    """Return a function that joins this test's room: ``join(name, enable=True, role="user", **options of connect)``."""
    room = f"room-{next(_rooms)}"
    clients: list[meshsync.RoomClient] = []

    def join(name: str, *, enable: bool = True, role: str = "user", **options: Any) -> meshsync.RoomClient:
        token = emulated.token(room, name, role=role)
        client = meshsync.connect(room, url=emulated.url, token=token, **options)
        clients.append(client)
        if enable:
            client.messaging.enable()
        return client

    yield join
    for client in clients:
        client.close(1)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server that only obeys the test."""
    server = ScriptedServer()
    yield server
    server.close()


# --- tools ------------------------------------------------------------------------------------------------------------


class Ears:
    """A receiver that keeps its events, in order, until the test asks for them. blinker may call it too."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, *arguments: Any, event: Any = None) -> None:
        self._events.put(event if event is not None else arguments[0])

    def next(self, timeout: float = PATIENCE) -> Any:
        """Return the earliest unread event; wait for it if need be."""
        return self._events.get(timeout=timeout)

    def until(self, is_last: Callable[[Any], bool]) -> list[Any]:
        """Return all events up to the first for which ``is_last`` holds, that included."""
        events = [self.next()]
        while not is_last(events[-1]):
            events.append(self.next())
        return events

    @property
    def is_silent(self) -> bool:
        """Whether no event is unread."""
        return self._events.empty()


def settle(room: meshsync.RoomClient) -> None:
    """Wait until a client has notified its receivers of all events so far."""
    told = Ears()
    with meshsync.signals.message.connected_to(told, sender=room.messaging):
        room.messaging.send_message(room.local_participant, "settle", {})
        told.next()


def run(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script in a fresh interpreter that finds this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def finish(process: subprocess.Popen[str], timeout: float = PATIENCE) -> str:
    """Wait for a script's end and return what it printed; fail with its traceback if it failed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"the script did not end within {timeout} s: {output}\n{errors}")
    assert process.returncode == 0, f"{output}\n{errors}"
    return output


def own_port() -> int:
    """Return a free port of 127.0.0.1 that stays free while no program listens there.

    The system could give a port of its own choice to any connection made meanwhile. These lie below
    those that it gives: from 32768 on Linux, from 49152 elsewhere.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all of a hundred ports are taken")
