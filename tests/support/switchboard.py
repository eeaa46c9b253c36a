"""Two clients on scripted transports, each of which gets the other's messages: whole clients without a room."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import meshsync
from meshsync.protocol.operations import Push, Send
from meshsync.runtime.interfaces import Runtime
from tests.support.scripted import ScriptedConnector, ScriptedTransport, greeting

__all__ = ["SwitchedTransport", "connect_two"]


class SwitchedTransport(ScriptedTransport):
    """A transport whose messages to a participant arrive at its peer.

    Args:
        name: Of the client; its id is ``p-`` and the name.
        peer: The name of the other client.
    """

    def __init__(self, name: str, peer: str) -> None:
        roster = [{"id": f"p-{peer}", "role": "user", "attributes": {"name": peer}, "online": True}]
        super().__init__(greets=False, roster=roster)
        self.peer: SwitchedTransport
        self._id = f"p-{name}"
        self._order = threading.Lock()
        self._passed_on = 0
        self.feed(greeting(self._id, name))

    def send(self, packets: Sequence[bytes], timeout: float | None, *, is_reserved: bool = False) -> None:
        super().send(packets, timeout, is_reserved=is_reserved)
        with self._order:
            fresh, self._passed_on = self.requests[self._passed_on :], len(self.requests)
            for _, request in fresh:
                if isinstance(request, Send):
                    self.peer.say(Push(self._id, request.type, request.message, bytes(request.attachment)))


def connect_two(alice: Runtime | None = None, bob: Runtime | None = None) -> tuple[Any, Any]:
    """Return Alice's and Bob's room clients; Alice's messaging is enabled.

    Args:
        alice: The runtime of Alice's client; by default that of the caller's world.
        bob: That of Bob's.
    """
    transports = SwitchedTransport("alice", "bob"), SwitchedTransport("bob", "alice")
    transports[0].peer, transports[1].peer = transports[1], transports[0]
    rooms = [
        meshsync.connect("lab", connector=ScriptedConnector(transport), runtime=runtime)
        for transport, runtime in zip(transports, (alice, bob), strict=True)
    ]
    rooms[0].messaging.enable()
    return rooms[0], rooms[1]
