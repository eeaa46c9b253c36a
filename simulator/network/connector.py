"""How a simulated connection comes about: the `Connector` of production code.

Like TCP and HTTP, it takes two round trips, over the links that the connection then keeps. So an attempt is subject to
the same faults as a connection: it is delayed, frozen by a partition, silenced, reset. The admission of clients is not
this module's business.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meshsync.errors import ConnectFailed, ConnectTimeout, InvalidMessage, RoomUnavailable
from meshsync.runtime.deadlines import Deadline
from meshsync.transport.handshake import check_endpoint, prepare
from meshsync.transport.interfaces import Endpoint
from simulator.engine.runtime import VirtualRuntime
from simulator.network.client_end import SimulatedTransport
from simulator.network.frames import ControlFrame, close_frame, frame
from simulator.network.links import LinkState
from simulator.network.network import Guest, Network
from simulator.network.room_end import RoomEnd

__all__ = ["Door", "SimulatedConnector"]

Door = Callable[[Endpoint, str], Guest]
"""Returns the guest of an endpoint and a token; raises `ConnectFailed` if the token does not admit to it."""


class SimulatedConnector:
    """Opens connections to one endpoint over a simulated network."""

    def __init__(self, network: Network, endpoint: Endpoint, *, runtime: VirtualRuntime, door: Door) -> None:
        """Remember where to connect.

        Args:
            door: Admits participants to rooms. Called in the task that connects; it must not block.
        Raises:
            UsageError: If the endpoint can never be connected to, such as a URL that is not ``ws://`` or ``wss://``.
        """
        check_endpoint(endpoint)
        self._network = network
        self._runtime = runtime
        self._door = door
        self._endpoint = endpoint

    def connect(self, timeout: float | None) -> SimulatedTransport:
        """Open a connection; see `meshsync.transport.interfaces.Connector.connect`.

        The endpoint's token function is called in the calling task, and its exceptions are passed on.
        """
        network, endpoint = self._network, self._endpoint
        deadline = Deadline(self._runtime, timeout)
        token = endpoint.token()
        address = prepare(endpoint, token).address
        guest: Guest | ConnectFailed
        try:
            guest = self._door(endpoint, token)
        except ConnectFailed as refusal:
            guest = refusal
        left = deadline.left()
        if left == 0:
            raise ConnectTimeout(f"no connection to {address} within {timeout} s")
        attempt = _Attempt(network, self._runtime, guest, address)
        try:
            outcome = attempt.result(left)
            if outcome is None:
                raise ConnectTimeout(f"no connection to {address} within {timeout} s")
            if isinstance(outcome, ConnectFailed):
                raise outcome
            return outcome
        except BaseException:
            attempt.abandon()
            raise


class _Attempt:
    """A handshake in progress, driven by the frames that arrive."""

    def __init__(self, network: Network, runtime: VirtualRuntime, guest: Guest | ConnectFailed, address: str) -> None:
        self._network = network
        self._runtime = runtime
        self._guest = guest
        self._address = address
        self._is_background = runtime.is_housekeeping
        """Whether the attempt is no sign that anything is going to happen: a client that was lost tries for ever."""
        self._lock = runtime.condition()
        self._outcome: SimulatedTransport | ConnectFailed | None = None
        name = guest.name if isinstance(guest, Guest) else ""
        self._connection = connection = network.open(name)
        if isinstance(guest, Guest):
            network.admit(connection, guest)
        connection.owner = runtime.lives.present
        connection.opener = runtime.hindrances.present
        connection.refuse, connection.aborted = self._conclude, self._abort
        connection.up.on_arrival = self._at_room
        connection.down.on_arrival = self._at_client
        delay = network.connect_delay(name)
        if delay:
            network.kernel.at(network.kernel.now + delay, self._begin, background=self._is_background)
        else:
            self._begin()

    def result(self, timeout: float | None) -> SimulatedTransport | ConnectFailed | None:
        """Return the connection or the failure; None if neither came within ``timeout`` seconds."""
        with self._lock:
            self._lock.wait_for(lambda: self._outcome is not None, timeout)
            return self._outcome

    def abandon(self) -> None:
        """Give the attempt up. If the room admits the participant later, the participant leaves it at once."""
        connection, outcome = self._connection, self._outcome
        if isinstance(outcome, SimulatedTransport):
            outcome.close(0)
            return
        self._outcome = outcome or ConnectTimeout("abandoned")
        connection.up.finish(is_background=self._is_background)
        connection.client_ended()
        if connection.up.state is LinkState.SILENT and connection.carrier is None:
            connection.room_ended()

    def _abort(self) -> None:
        """End it, or what became of it, since the program that made it has ended by force."""
        transport = self._connection.transport
        if isinstance(transport, SimulatedTransport):
            transport.abort()
        else:
            self.abandon()

    def _begin(self) -> None:
        if self._outcome is None:
            self._put_up(ControlFrame.OPEN)

    def _put_up(self, control: ControlFrame) -> None:
        self._connection.up.put((frame(control, is_masked=False),), is_background=self._is_background)

    def _conclude(self, outcome: SimulatedTransport | ConnectFailed) -> None:
        if self._outcome is not None:
            return
        self._connection.refuse = None
        if isinstance(outcome, ConnectFailed):
            self._connection.client_ended()
        with self._lock:
            self._outcome = outcome
            self._lock.notify_all()

    # --- both ends of the handshake -----------------------------------------------------------------------------------

    def _at_room(self) -> None:
        connection = self._connection
        # One by one: frames behind the request are for the carrier, which reads them at once.
        while frames := connection.up.read(1):
            content = frames[0][0]
            if content is ControlFrame.OPEN:
                is_refused = self._network.is_refusing(connection.name)
                self._answer(ControlFrame.REFUSED if is_refused else ControlFrame.OPENED, is_last=is_refused)
            elif content is ControlFrame.REQUEST:
                if isinstance(self._guest, Guest):
                    self._admit(self._guest)
                else:
                    self._answer(ControlFrame.DENIED, is_last=True)
            else:
                connection.room_ended()

    def _answer(self, answer: ControlFrame, *, is_last: bool) -> None:
        self._connection.down.put((frame(answer, is_masked=False),), is_background=self._is_background)
        if is_last:
            self._connection.room_ended()

    def _admit(self, guest: Guest) -> None:
        connection, network = self._connection, self._network
        self._answer(ControlFrame.ADMITTED, is_last=False)
        take = partial(guest.room.take, guest.name, role=guest.role, rights=guest.rights, version=guest.version)
        try:
            connection.carrier = RoomEnd(
                network.kernel,
                connection.up,
                connection.down,
                lambda wake: take(wake=wake),
                heartbeat_interval=network.heartbeats.interval,
                heartbeat_timeout=network.heartbeats.timeout,
                ended=connection.room_ended,
            )
        except InvalidMessage as error:
            connection.down.put((close_frame(1008, str(error), is_masked=False),))
            connection.down.finish()
            connection.room_ended()

    def _at_client(self) -> None:
        connection = self._connection
        # One by one: the greeting, close behind the last answer, is for the transport.
        while self._outcome is None and (frames := connection.down.read(1)):
            content = frames[0][0]
            if content is ControlFrame.OPENED:
                self._put_up(ControlFrame.REQUEST)
            elif content is ControlFrame.REFUSED:
                self._conclude(RoomUnavailable(f"cannot reach {self._address}: Connection refused"))
            elif content is ControlFrame.DENIED and isinstance(self._guest, ConnectFailed):
                self._conclude(self._guest)
            else:
                self._conclude(self._join())

    def _join(self) -> SimulatedTransport:
        connection, network = self._connection, self._network
        connection.transport = transport = SimulatedTransport(
            network.kernel,
            self._runtime,
            connection.up,
            connection.down,
            heartbeat_interval=network.heartbeats.interval,
            heartbeat_timeout=network.heartbeats.timeout,
            send_buffer=network.send_buffer,
            ended=connection.client_ended,
        )
        return transport
