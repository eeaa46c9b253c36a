"""A client of real threads beside an open simulation: its streams go by its own clock, whoever wraps or uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import meshsync
from meshsync.errors import UsageError
from meshsync.files import receive_file, send_file
from meshsync.filters.buffering import buffered
from meshsync.filters.compression import compression
from meshsync.filters.encryption import encryption
from meshsync.filters.negotiation import accept_filtered, open_filtered
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Endpoint
from meshsync.world import REAL_WORLD
from simulator import Emulator, Simulation
from simulator.errors import ForeignThread
from tests.support.scripted import PATIENCE
from tests.support.switchboard import connect_two
from tests.support.worlds import simulated

FILTERS = [compression(), encryption(bytes(range(32)))]


class Beside:
    """Alice's and Bob's clients, of real threads, and a thread without a world, all older than the simulation."""

    def __init__(self, simulation: Simulation, thread: ThreadPoolExecutor, alice: Any, bob: Any) -> None:
        self.simulation = simulation
        self.alice = alice
        self.bob = bob
        self._thread = thread

    def in_thread(self, function: Callable[[], Any]) -> Any:
        """Run a function in the thread without a world, and return what it returns."""
        return self._thread.submit(function).result(PATIENCE)

    def to_bob(self) -> Any:
        """Return Bob as Alice sees him."""
        return self.alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Open a simulation beside two clients and a thread."""
    alice, bob = connect_two()
    with ThreadPoolExecutor(1) as thread, alice, bob:
        thread.submit(int).result(PATIENCE)  # It has begun: one that an actor starts is an actor.
        with simulated() as simulation:
            yield Beside(simulation, thread, alice, bob)


def echo(reader: Any) -> None:
    """Send all that comes back."""
    read = accept_filtered(reader, FILTERS)
    for chunk in read:
        read.writer.write(chunk)


def test_the_thread_has_no_part_in_the_simulation(beside: Beside) -> None:
    """What is made in the simulation's world refuses it."""
    condition = beside.simulation.runtime.condition()
    with pytest.raises(ForeignThread):
        beside.in_thread(condition.__enter__)


@pytest.mark.parametrize("is_wrapped_in_thread", [True, False])
def test_streams_of_a_real_client_go_by_its_own_clock(beside: Beside, is_wrapped_in_thread: bool) -> None:
    """Wrapped in that thread or in the simulation's, they are used in that thread, and come in their own time."""
    beside.bob.messaging.enable(echo)
    to = beside.to_bob()

    def wrap() -> Any:
        opened = open_filtered(beside.alice.messaging.create_stream, to, {}, filters=FILTERS, timeout=PATIENCE)
        return buffered(opened, max_delay=0)

    def use() -> bytes:
        with writer:
            writer.write(b"data", timeout=PATIENCE)
            return bytes(writer.reader.read(PATIENCE).data)

    writer = beside.in_thread(wrap) if is_wrapped_in_thread else wrap()
    assert beside.in_thread(use) == b"data"
    assert beside.simulation.now == 0


def test_a_file_goes_by_the_clock_of_the_client(beside: Beside, tmp_path: Path) -> None:
    """Sent by the thread without a world, and by the simulation's own."""
    (tmp_path / "data").write_bytes(b"data" * 1000)
    names = iter(["first", "second"])
    beside.bob.messaging.enable(lambda reader: receive_file(reader, tmp_path, name=next(names), timeout=PATIENCE))
    to = beside.to_bob()

    def send() -> bool:
        sent = send_file(beside.alice.messaging, tmp_path / "data", to, confirm=True, timeout=PATIENCE)
        return sent.is_confirmed

    assert beside.in_thread(send)
    assert send()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "first", "second"]
    assert beside.simulation.now == 0


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Open an emulator, which is older than the simulation."""
    with Emulator(port=0) as emulator:
        yield emulator


def test_tasks_of_a_real_client_are_threads_though_an_actor_starts_them(emulator: Emulator) -> None:
    """What was written on the simulation's thread is handed on after the real delay, while no virtual time passes."""
    came: SimpleQueue[bytes] = SimpleQueue()
    alice, bob = (
        meshsync.connect("lab", url=emulator.url, token=emulator.token("lab", name), timeout=PATIENCE)
        for name in ("alice", "bob")
    )
    with alice, bob:
        bob.messaging.enable(lambda reader: [came.put(chunk.data) for chunk in reader])
        alice.messaging.enable()
        to = alice.messaging.wait_for_participant(name="bob", timeout=PATIENCE)
        with simulated() as simulation:
            writer = buffered(alice.messaging.create_stream(to, {}, timeout=PATIENCE), max_delay=0.01)
            writer.write(b"data", timeout=PATIENCE)
            assert came.get(timeout=PATIENCE) == b"data"
            writer.close(timeout=PATIENCE)
            assert simulation.now == 0


def test_a_real_client_connects_on_an_actor(emulator: Emulator) -> None:
    """Its handshake, reader and dispatcher are threads too, whatever world the calling task lives in."""
    token = emulator.token("lab", "alice")
    with simulated() as simulation:
        runtime = REAL_WORLD.runtime
        connector = WebSocketConnector(Endpoint(f"{emulator.url}/rooms/lab", lambda: token), runtime)
        with meshsync.connect(connector=connector, runtime=runtime, timeout=PATIENCE) as room:
            room.messaging.enable(timeout=PATIENCE)
            assert room.room_name == "lab"
        assert simulation.now == 0


def test_a_room_of_the_simulation_is_joined_in_its_own_runtime_alone() -> None:
    """Another is refused at once: a client has one clock, and the simulated network's is the simulation's."""
    with simulated() as simulation:
        with pytest.raises(UsageError, match="runtime"):
            meshsync.connect("demo", name="alice", runtime=ThreadRuntime())
        meshsync.connect("demo", name="alice", runtime=simulation.runtime).close()


def test_an_emulator_opened_inside_a_simulation_serves() -> None:
    """Its loop is a thread of the system and no actor, so nothing waits for a turn that never comes."""
    with Simulation(seed=1) as sim, Emulator(port=0) as emulator:
        assert emulator.stats().rooms == 0
        assert sim.now == 0
