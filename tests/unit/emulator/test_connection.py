"""A gateway's connection: what its heartbeat is told of the bytes on their way."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from meshsync.protocol.heartbeat import Outflow
from simulator.emulator.connection import GatewayConnection
from simulator.emulator.flushes import Flushes
from simulator.emulator.memory import Memory
from simulator.emulator.settings import Settings
from simulator.emulator.sockets import outflow


class ScriptedTransport:
    """A transport that keeps what is written until it is told to hand it to the system."""

    def __init__(self, connection: socket.socket) -> None:
        self.buffered = 0
        self.is_closed = False
        self._connection = connection

    def write(self, data: bytes) -> None:
        self.buffered += len(data)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_extra_info(self, name: str) -> object:
        return self._connection if name == "socket" else None

    def is_closing(self) -> bool:
        return self.is_closed

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


@pytest.mark.parametrize(
    ("told", "is_closed", "expected"),
    [
        (30, False, Outflow(1000, 430, is_known=True)),
        (2000, False, Outflow(1000, 1000, is_known=True)),
        (None, False, Outflow(1000, 1000)),
        (30, True, Outflow(1000, 1000)),
    ],
    ids=["known", "handshake", "unknown", "closed"],
)
def test_what_waits_in_both_buffers_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, told: int | None, is_closed: bool, expected: Outflow
) -> None:
    """Of 1,000 bytes, 400 are in our buffer, beside what the system tells; those of a handshake do not count."""
    monkeypatch.setattr("simulator.emulator.sockets.unacknowledged", lambda descriptor: told)

    async def run() -> Outflow:
        with socket.socket() as plain:
            transport = ScriptedTransport(plain)
            connection = GatewayConnection(
                "ben",
                cast(asyncio.Transport, transport),
                Settings("secret"),
                Memory(1 << 30),
                Flushes(asyncio.get_running_loop().call_soon),
            )
            connection._write(bytes(1000))
            transport.buffered, transport.is_closed = 400, is_closed
            return outflow(cast(asyncio.Transport, transport), connection.bytes_written, 256 * 1024)

    assert asyncio.run(run()) == expected
