"""The `Transport` contract on simulated links, on the virtual clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import pytest

from meshsync.protocol.frames import CloseFrame
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.interfaces import Connector, Endpoint, Transport
from simulator import faults
from simulator.engine.runtime import VirtualRuntime
from simulator.latency import Law, constant, lognormal
from simulator.network.client_end import SimulatedTransport
from simulator.network.connector import SimulatedConnector
from simulator.network.frames import ControlFrame, Frame, close_frame, framed
from simulator.network.links import Link
from simulator.network.network import Guest, Network
from simulator.network.traffic import Traffic
from simulator.room.rules import Room
from simulator.room.seat import SeatedRoom
from tests.contract.transport_contract import BUFFER, LONG, Pair, Peer, TransportContract


class SimulatedPeer:
    """The room's end of two links, which reads when it is told to and answers nothing by itself."""

    def __init__(self, runtime: Runtime, up: Link[Traffic], down: Link[Traffic]) -> None:
        self._lock = runtime.condition()
        self._up = up
        self._down = down
        self._outgoing: deque[Frame[Traffic]] = deque()
        self._packets: list[bytes] = []
        self._said: CloseFrame | None = None
        self._has_ended = False
        up.on_arrival = self._notice
        down.on_room = self._flush

    def receive(self, count: int) -> list[bytes]:
        """Read until ``count`` packets have come, and return them."""
        self._read_until(lambda: len(self._packets) >= count)
        packets, self._packets = self._packets, []
        return packets

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets, in order."""
        self._outgoing.extend(framed(packets, is_masked=False)[0])
        self._flush()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame."""
        self._down.put((close_frame(code, reason, is_masked=False),))

    def await_close(self) -> tuple[int | None, str]:
        """Answer the client's close frame, as a server does, and return its code and reason."""
        self._read_until(lambda: self._said is not None)
        assert self._said is not None
        self.close(self._said.code or 1000, self._said.reason)
        return self._said.code, self._said.reason

    def await_end(self) -> None:
        """Read until the client has gone."""
        self._read_until(lambda: self._has_ended)

    def drop(self) -> None:
        """End the connection without a close frame, once what was sent has gone."""
        self._down.finish()

    def ping(self, payload: bytes) -> None:
        """Refuse: simulated pings carry nothing."""
        raise NotImplementedError

    def await_pong(self) -> bytes:
        """Refuse: simulated pongs carry nothing."""
        raise NotImplementedError

    def send_raw(self, data: bytes) -> None:
        """Refuse: there are no bytes below packets."""
        raise NotImplementedError

    def _flush(self) -> None:
        self._down.fill(self._outgoing)

    def _notice(self) -> None:
        with self._lock:
            self._lock.notify_all()

    def _read_until(self, is_there: Callable[[], bool]) -> None:
        def look() -> bool:
            for content, _ in self._up.read():
                if isinstance(content, CloseFrame):
                    self._said = content
                elif content is ControlFrame.END:
                    self._has_ended = True
                elif isinstance(content, bytes):
                    self._packets.append(content)
            return is_there()

        with self._lock:
            assert self._lock.wait_for(look, LONG)


class SimulatedPair:
    """Connects a simulated transport to a scripted peer by two links with a law of delays."""

    def __init__(self, runtime: VirtualRuntime, delay: Law) -> None:
        self._virtual = runtime
        self.runtime: Runtime = runtime
        self._delay = delay

    def connect(self, *, heartbeat: tuple[float, float] = (30.0, 15.0)) -> tuple[Transport, Peer]:
        interval, timeout = heartbeat
        kernel, seeds = self._virtual.kernel, self._virtual.seeds
        up, down = (Link[Traffic](kernel, seeds.stream(name), delay=self._delay, name=name) for name in ("up", "down"))
        transport = SimulatedTransport(
            kernel,
            self.runtime,
            up,
            down,
            heartbeat_interval=interval,
            heartbeat_timeout=timeout,
            send_buffer=BUFFER,
        )
        return transport, SimulatedPeer(self.runtime, up, down)

    def connector_to_nobody(self) -> Connector:
        room = SeatedRoom(Room("ops", ids=iter("abcd").__next__))
        network = Network(self._virtual.kernel, self._virtual.seeds, up=self._delay)
        network.strike(faults.partition({"alice"}))
        endpoint = Endpoint("ws://ops.test/rooms/ops", lambda: "")
        return SimulatedConnector(network, endpoint, runtime=self._virtual, door=lambda *_: Guest("alice", room))


class SimulatedContract(TransportContract):
    """The contract under a law of delays."""

    delay = constant(0)

    @pytest.fixture(params=["fifo", "random", "pct"])
    def pair(self, request: pytest.FixtureRequest) -> Iterator[Pair]:
        with VirtualRuntime(seed=7, schedule=request.param) as runtime:
            yield SimulatedPair(runtime, self.delay)


class TestSimulatedTransport(SimulatedContract):
    """Links without a delay: everything arrives at the instant at which it was sent."""

    def test_classes_fulfil_the_interfaces(self, pair: Pair) -> None:
        """The type checker accepts each class for its interface; at run time the peer is the contract's."""
        connector: type[Connector] = SimulatedConnector
        transport: type[Transport] = SimulatedTransport
        peer: type[Peer] = SimulatedPeer
        assert [one.__name__ for one in (connector, transport, peer)] == [
            "SimulatedConnector",
            "SimulatedTransport",
            "SimulatedPeer",
        ]


class TestSimulatedTransportWithDelays(SimulatedContract):
    """Links with delays below what the contract takes for no time at all."""

    delay = lognormal(median=0.001, sigma=0.5)
