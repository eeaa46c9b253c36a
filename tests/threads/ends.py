"""Calls during which the client ends in another task, at one place of its code after the other.

A call that looks whether it may, and enters what it waits for in a list behind the task that has emptied it, would wait
for its time limit. `Interrupt` counts the places.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from typing import Any

import meshsync
from meshsync import MeshsyncError, MessageStreamChunk, MessageStreamReader, ReceiveTimeout, RoomClient
from simulator import Emulator
from tests.support.interrupts import Interrupt
from tests.support.rooms import start
from tests.support.tcp_proxy import TcpProxy

__all__ = ["CALLS", "WAYS", "Stage", "sweep"]

LIMIT = 15.0
"""The time limit of each call, in seconds: one that ends by it has failed."""
IN_VAIN = 0.1
"""That of a wait for what never comes."""
LOOKS = 40
"""How often the end is looked for before the call goes on. It may be the call itself that keeps it from coming."""

_rooms = count(1)


class Stage:
    """An emulator, and two clients that are made anew for each call: Ada, who calls, and Ben."""

    def __init__(self, emulator: Emulator, proxy: TcpProxy) -> None:
        self.emulator = emulator
        self.proxy = proxy
        self.ada: RoomClient
        self.ben: RoomClient
        self.peer: Any = None
        """Ben, as Ada sees him."""
        self.writer: Any = None
        self.under_way: list[Future[Any]] = []

    def set_up(self) -> None:
        """Connect both."""
        room = f"ends-{next(_rooms)}"
        self.ben = self.join(room, "ben", self.emulator.port)
        self.ben.messaging.on_request("question", lambda event: {"n": 42})
        self.ben.messaging.enable(_read)
        self.ada = self.join(room, "ada", self.proxy.port)
        self.ada.messaging.enable()
        self.peer = self.ada.messaging.wait_for_participant("ben", timeout=LIMIT)

    def join(self, room: str, name: str, port: int) -> RoomClient:
        """Return a client that does not come back."""
        token, url = self.emulator.token(room, name), f"ws://127.0.0.1:{port}"
        return meshsync.connect(room, url=url, token=token, timeout=LIMIT, default_timeout=LIMIT, reconnect=False)

    def create_stream(self) -> Any:
        """Open a stream whose reader waits no longer than for a moment for what was lost."""
        return self.ada.messaging.create_stream(self.peer, resume_for=0.2)

    def tear_down(self) -> None:
        """End both, and what was begun elsewhere."""
        for client in (self.ada, self.ben):
            client.close(0)
        for one in self.under_way:
            one.exception(LIMIT)
        self.under_way.clear()


def _read(reader: MessageStreamReader) -> None:
    with suppress(MeshsyncError):  # Its writer's client may end.
        for _ in reader:
            pass


# --- how it ends ------------------------------------------------------------------------------------------------------


def lose(stage: Stage) -> None:
    """Lose the connection, for good."""
    stage.proxy.reset()


def close(stage: Stage) -> None:
    """Close the client."""
    stage.under_way.append(start(stage.ada.close, LIMIT))


def disable(stage: Stage) -> None:
    """Leave messaging."""
    stage.under_way.append(start(stage.ada.messaging.disable))


Way = tuple[Callable[[Stage], None], Callable[[Stage], bool]]

WAYS: dict[str, Way] = {
    "lost": (lose, lambda stage: stage.ada.state in ("lost", "closed")),
    "closed": (close, lambda stage: stage.ada.state in ("lost", "closed")),
    "disabled": (disable, lambda stage: not stage.ada.messaging.is_enabled),
}
"""What another task does, and whether that is done."""


class Ending(Interrupt):
    """Ends the client at a place, in place of raising there."""

    def __init__(self, at: int, stage: Stage, way: Way) -> None:
        super().__init__(at)
        self.has_struck = False
        self._stage = stage
        self._way = way

    def strike(self) -> None:
        self.has_struck = True
        act, is_done = self._way
        act(self._stage)
        for _ in range(LOOKS):
            if is_done(self._stage):
                break
            time.sleep(0.0005)


# --- the calls --------------------------------------------------------------------------------------------------------


def send(stage: Stage) -> None:
    stage.ada.messaging.send_message(stage.peer, "chat", {"n": 1})


def send_confirmed(stage: Stage) -> None:
    stage.ada.messaging.send_message(stage.peer, "chat", {"n": 1}, confirm=True)


def broadcast(stage: Stage) -> None:
    stage.ada.messaging.broadcast_message("chat", {"n": 1})


def ask(stage: Stage) -> None:
    stage.ada.messaging.ask(stage.peer, "question", {})


def create_stream(stage: Stage) -> None:
    stage.create_stream()


def create_brief_stream(stage: Stage) -> None:
    stage.ada.messaging.create_stream(stage.peer, resume_for=0)


def create_duplex_stream(stage: Stage) -> None:
    stage.ada.messaging.create_stream(stage.peer, kind="duplex")


def write(stage: Stage) -> None:
    stage.writer.write(MessageStreamChunk({}, bytes(1000)))
    stage.writer.flush()


def close_stream(stage: Stage) -> None:
    stage.writer.close()


def get_message(stage: Stage) -> None:
    with stage.ada.messaging.messages("news") as inbox:
        inbox.get(IN_VAIN)


def get_stream(stage: Stage) -> None:
    with stage.ada.messaging.streams() as offers:
        offers.get(IN_VAIN)


def wait_for_participant(stage: Stage) -> None:
    stage.ada.messaging.wait_for_participant("zoe", timeout=IN_VAIN)


def set_attribute(stage: Stage) -> None:
    stage.ada.local_participant.set_attribute("mood", 1)


def enable_again(stage: Stage) -> None:
    stage.ada.messaging.disable()
    stage.ada.messaging.enable()


CALLS: dict[str, Callable[[Stage], None]] = {
    call.__name__: call
    for call in (
        send,
        send_confirmed,
        broadcast,
        ask,
        create_stream,
        create_brief_stream,
        create_duplex_stream,
        write,
        close_stream,
        get_message,
        get_stream,
        wait_for_participant,
        set_attribute,
        enable_again,
    )
}

_WITH_A_STREAM = (write, close_stream)


def sweep(name: str, way: str, *, first: int = 1, step: int = 1) -> list[str]:
    """Make a call again and again, during which the client ends at the first place, and at each ``step``-th behind it.

    Returns:
        What each call raised, by its name; "" where it returned. The last ones were not struck.
    """
    call, outcomes = CALLS[name], []
    with Emulator() as emulator, TcpProxy(emulator.port) as proxy:
        stage = Stage(emulator, proxy)
        for place in count(first, step):
            stage.set_up()
            try:
                if call in _WITH_A_STREAM:
                    stage.writer = stage.create_stream()
                ending = Ending(place, stage, WAYS[way])
                outcomes.append(_outcome(call, stage, ending))
            finally:
                stage.tear_down()
            if not ending.has_struck:
                break
    return outcomes


def _outcome(call: Callable[[Stage], None], stage: Stage, ending: Ending) -> str:
    sys.setprofile(ending)
    try:
        call(stage)
    except MeshsyncError as error:
        return "in vain" if isinstance(error, ReceiveTimeout) else type(error).__name__
    finally:
        sys.setprofile(None)
    return ""
