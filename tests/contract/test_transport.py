"""The `Transport` contract on WebSockets over TCP and TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Connector, Endpoint, Transport
from meshsync.transport.websocket import WebSocketTransport
from tests.contract.transport_contract import BUFFER, FramedTransportContract, Pair, Peer
from tests.support.scripted_server import LONG, SMALL, ScriptedPeer, ScriptedServer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that only these tests trust; making one takes a while."""
    return trustme.CA()


class WebSocketPair:
    """Connects to a scripted server on loopback."""

    def __init__(self, server: ScriptedServer, ssl_context: ssl.SSLContext | None = None) -> None:
        self.runtime: Runtime = ThreadRuntime()
        self._server = server
        self._endpoint = Endpoint(server.url, lambda: "", ssl_context=ssl_context)

    def connect(self, *, heartbeat: tuple[float, float] = (30.0, 15.0)) -> tuple[Transport, ScriptedPeer]:
        interval, timeout = heartbeat
        connector = WebSocketConnector(
            self._endpoint, self.runtime, heartbeat_interval=interval, heartbeat_timeout=timeout, send_buffer=BUFFER
        )
        accepting = self._server.begin_to_accept()
        return connector.connect(20), accepting.result(LONG)

    def connector_to_nobody(self) -> Connector:
        return WebSocketConnector(self._endpoint, self.runtime)


class TestPlainWebSocket(FramedTransportContract):
    """TCP without TLS."""

    @pytest.fixture
    def pair(self) -> Iterator[Pair]:
        with ScriptedServer(receive_buffer=SMALL) as server:
            yield WebSocketPair(server)

    def test_classes_fulfil_the_interfaces(self, pair: Pair) -> None:
        """The type checker accepts each class for its interface; at run time the peer is the contract's."""
        connector: type[Connector] = WebSocketConnector
        transport: type[Transport] = WebSocketTransport
        peer: type[Peer] = ScriptedPeer
        assert (connector.__name__, transport.__name__, peer.__name__) == (
            "WebSocketConnector",
            "WebSocketTransport",
            "ScriptedPeer",
        )


class TestTlsWebSocket(FramedTransportContract):
    """TLS, where bytes hide in a layer of their own."""

    @pytest.fixture
    def pair(self, authority: trustme.CA) -> Iterator[Pair]:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(theirs)
        ours = ssl.create_default_context()
        authority.configure_trust(ours)
        with ScriptedServer(theirs, receive_buffer=SMALL) as server:
            yield WebSocketPair(server, ours)
