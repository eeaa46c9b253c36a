"""Opens WebSocket connections to one endpoint."""

from __future__ import annotations

from functools import partial

from meshsync.errors import ConnectFailed, ConnectTimeout, RoomUnavailable
from meshsync.protocol import frames, heartbeat
from meshsync.protocol.send_buffer import LIMIT
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime
from meshsync.transport.handshake import Attempt, Handshake, check_endpoint, prepare
from meshsync.transport.interfaces import Endpoint, OnStep
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport

__all__ = ["WebSocketConnector"]


class WebSocketConnector:
    """Opens WebSocket connections to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        runtime: Runtime,
        *,
        heartbeat_interval: float | None = heartbeat.INTERVAL,
        heartbeat_timeout: float = heartbeat.TIMEOUT,
        send_buffer: int = LIMIT,
        max_packet: int = frames.MAX_SIZE,
        mask: frames.Mask | None = None,
        on_step: OnStep = lambda step, detail: None,
    ) -> None:
        """Remember where to connect; the options are those of `WebSocketTransport`.

        Args:
            on_step: Called as each step of a handshake is done; it must not raise.
        Raises:
            UsageError: If the endpoint can never be connected to, such as a URL that is not ``ws://`` or ``wss://``.
            ValueError: If a duration of the heartbeat is not positive.
        """
        check_endpoint(endpoint)
        heartbeat.Heartbeat(0.0, interval=heartbeat_interval, timeout=heartbeat_timeout)  # raises for bad durations
        self._endpoint = endpoint
        self._runtime = runtime
        self._on_step = on_step
        self._take_over = partial(
            WebSocketTransport,
            runtime=runtime,
            heartbeat_interval=heartbeat_interval,
            heartbeat_timeout=heartbeat_timeout,
            send_buffer=send_buffer,
            max_packet=max_packet,
            mask=mask,
        )

    def connect(self, timeout: float | None) -> WebSocketTransport:
        """Open a connection; see `meshsync.transport.interfaces.Connector.connect`.

        The endpoint's token is fetched in the calling task, and its exceptions are passed on.
        """
        deadline = Deadline(self._runtime, timeout)
        request = prepare(self._endpoint, self._endpoint.token())
        left = deadline.left()
        late = f"no connection to {request.address} within {timeout} s"
        if left == 0:
            raise ConnectTimeout(late)
        attempt = Attempt(Handshake(self._endpoint, request, self._runtime, self._on_step), self._runtime, left)
        try:
            attempt.start()
            outcome = attempt.result(left)
            if outcome is None:
                outcome = ConnectTimeout(late)
            if isinstance(outcome, ConnectFailed):
                raise outcome
            connection, received = outcome
            try:
                shared = SharedSocket(connection, self._runtime, received=received)
            except OSError as error:  # It needs two descriptors more.
                problem = RoomUnavailable(f"no connection to {request.address}: {error.strerror or error}")
            else:
                return self._take_over(shared)
            raise problem
        except BaseException:
            attempt.abandon()
            raise
