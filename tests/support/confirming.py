"""A room between exchanges of confirmed messages: queues that lose what is in them when a connection ends."""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from itertools import count
from typing import Any

from meshsync.confirming.bodies import ATTRIBUTE, Identity
from meshsync.confirming.exchange import Arrival, Direct, Exchange, Missed
from meshsync.confirming.proofs import Proven
from meshsync.confirming.sender import ConfirmedSend

__all__ = ["Endpoint", "Room", "entropy_of"]


def entropy_of(name: str) -> Any:
    """Return a source of bytes that are the same in every run, and different from those of other names."""
    numbers = count()
    return lambda size: sha256(f"{name} {next(numbers)}".encode()).digest()[:size]


class Endpoint:
    """One client: an exchange, what is under way on its connection, and what became of its messages."""

    def __init__(self, name: str, source: str = "") -> None:
        self.name = name
        self.exchange = Exchange(entropy_of(source or name))
        self.id = ""
        """Its participant id; empty while it has no connection."""
        self.up: deque[Direct] = deque()
        self.down: deque[tuple[Any, ...]] = deque()
        self.placed: list[Arrival] = []
        self.proven: list[Proven] = []
        self.missed = 0

    @property
    def identity(self) -> Identity:
        """Who it is to others."""
        return Identity(self.exchange.instance, self.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the room shows of it."""
        return {"name": self.name, ATTRIBUTE: self.exchange.attribute}


class Room:
    """A room and its clients, each on a connection that may end."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.ends = {name: Endpoint(name) for name in names}
        self.members: dict[str, dict[str, Any]] = {}
        """Attributes by participant id, those of connections that the room has not missed included."""
        self._ids = count(1)
        for end in self.ends.values():
            self.join(end)

    def submit(self, sender: Endpoint, to: Endpoint, number: int) -> ConfirmedSend | None:
        """Submit a message; None if there is no room for it."""
        if not sender.exchange.has_room(to.identity, 10):
            return None
        send = sender.exchange.submit(self.now, to.identity, "chat", {"number": number}, b"", 10)
        self.collect(sender)
        return send

    def collect(self, end: Endpoint) -> None:
        """Have an exchange's messages go on their way, and read its events."""
        for event in end.exchange.take_events():
            if isinstance(event, Missed):
                end.missed += event.count
            else:
                end.proven.append(event)
        end.up.extend(end.exchange.drain())

    # --- connections --------------------------------------------------------------------------------------------------

    def join(self, end: Endpoint) -> None:
        """Have a client connect, under a new id."""
        end.id = f"p-{next(self._ids)}"
        end.exchange.connect(end.id)
        end.down.extend(("enter", id, attributes) for id, attributes in self.members.items())
        self.enter(end.id, end.attributes)

    def enter(self, id: str, attributes: dict[str, Any]) -> None:
        """Have a participant come, which may be one without an exchange."""
        for other in self.ends.values():
            if other.id and other.id != id:
                other.down.append(("enter", id, attributes))
        self.members[id] = attributes

    def drop(self, end: Endpoint, *, is_noticed: bool = True) -> None:
        """End a connection with all that is on it; the room may not notice."""
        id, end.id = end.id, ""
        end.up.clear()
        end.down.clear()
        end.exchange.disconnect()
        end.exchange.drain()
        if is_noticed:
            self.remove(id)

    def remove(self, id: str) -> None:
        """Have the room notice that a connection has ended."""
        if self.members.pop(id, None) is not None:
            for other in self.ends.values():
                if other.id:
                    other.down.append(("leave", id))

    # --- what is under way --------------------------------------------------------------------------------------------

    def route(self, end: Endpoint, *, is_refused: bool = False) -> None:
        """Have the room handle the next message of a client, or refuse it."""
        direct = end.up.popleft()
        if is_refused:
            end.down.append(("refused", direct))
            return
        if direct.to not in self.members:
            end.down.append(("lost", direct.to))
            return
        self.deliver(end.id, direct)

    def deliver(self, sender: str, direct: Direct) -> None:
        """Put a message behind all that its recipient has not received."""
        recipient = next((other for other in self.ends.values() if other.id == direct.to), None)
        if recipient is not None:
            recipient.down.append(("message", sender, direct))

    def receive(self, end: Endpoint) -> None:
        """Have a client handle the next event."""
        match end.down.popleft():
            case "enter", id, attributes:
                end.exchange.enter(self.now, id, attributes)
            case "leave", id:
                end.exchange.leave(id)
            case "lost", id:
                end.exchange.lose(self.now, id)
            case "refused", direct:
                end.exchange.refuse(direct)
            case "message", sender, direct:
                end.exchange.take(self.now, sender, direct.type, direct.message, direct.attachment)
        self.collect(end)

    def place(self, end: Endpoint) -> None:
        """Have a client place what came, as far as there is anything."""
        while (arrival := end.exchange.first) is not None:
            end.placed.append(arrival)
            end.exchange.place()
        self.collect(end)

    def wait(self, seconds: float) -> None:
        """Have time pass."""
        self.now += seconds
        for end in self.ends.values():
            end.exchange.look(self.now)
            self.collect(end)

    def settle(self) -> None:
        """Let all that is under way arrive, and be placed."""
        is_moving = True
        while is_moving:
            is_moving = False
            for end in self.ends.values():
                while end.id and end.up:
                    self.route(end)
                    is_moving = True
                while end.id and end.down:
                    self.receive(end)
                    is_moving = True
                self.place(end)
                is_moving |= bool(end.up and end.id)

    def settle_down(self, end: Endpoint) -> None:
        """Have a client handle all events that came, and nothing more."""
        while end.down:
            self.receive(end)

    def numbers(self, end: Endpoint) -> list[int]:
        """Return what was placed at a client, by the numbers that were submitted."""
        return [arrival.message["number"] for arrival in end.placed]
