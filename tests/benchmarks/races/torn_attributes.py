"""Attributes that are set one by one, and read together."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import RemoteParticipant, RoomClient
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

ADDRESSES = (("old.example", 1), ("new.example", 2))


def bind() -> None:
    """Open the port."""
    meshsync.sleep(0.04)


def move(client: RoomClient, host: str, port: int) -> None:
    """The bug: between host and port it has an address that does not exist."""
    client.local_participant.set_attribute("host", host)
    bind()
    client.local_participant.set_attribute("port", port)


def address(peer: RemoteParticipant) -> tuple[str, int]:
    """Return the address that was set in two."""
    return peer.get_attribute("host"), peer.get_attribute("port")


def move_at_once(client: RoomClient, host: str, port: int) -> None:
    """Have one attribute."""
    bind()
    client.local_participant.set_attribute("address", [host, port])


def address_at_once(peer: RemoteParticipant) -> tuple[str, int]:
    """Return the address that was set as one."""
    host, port = peer.get_attribute("address")
    return host, port


def network(
    sim: Simulation,
    set_address: Callable[[RoomClient, str, int], None],
    get_address: Callable[[RemoteParticipant], tuple[str, int]],
) -> None:
    """A server moves half a second after a client is there, which looks where it is now and 1 s later."""
    room = sim.room("network")
    server = room.join("server")
    set_address(server, *ADDRESSES[0])
    server.messaging.enable()

    def serve() -> None:
        server.messaging.wait_for_participant(name="client")
        meshsync.sleep(0.5)
        set_address(server, *ADDRESSES[1])

    task = sim.spawn(serve)
    with meshsync.connect("network", name="client") as client:
        client.messaging.enable()
        peer = client.messaging.wait_for_participant(name="server")
        for pause in (1.0, 0.0):
            found = get_address(peer)
            assert found in ADDRESSES, f"{found} is no address"
            meshsync.sleep(pause)
        task.join()


def racy(sim: Simulation) -> None:
    """A server with two attributes."""
    network(sim, move, address)


def repaired(sim: Simulation) -> None:
    """A server with one attribute."""
    network(sim, move_at_once, address_at_once)


RACE = Race(
    racy,
    repaired,
    Planted("AssertionError", "network", "assert found in ADDRESSES"),
    LateStep("serve", "meshsync.sleep(0.04)", 0.8),
)
