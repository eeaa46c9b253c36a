"""A socket's two roles: it is closed when the last of them is given up after the end, and not before."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.shared_socket import SharedSocket, SocketState
from meshsync.transport.sockets import READ


@pytest.fixture
def ends() -> Iterator[tuple[SharedSocket, socket.socket]]:
    """Return a shared socket and its peer."""
    ours, theirs = socket.socketpair()
    yield SharedSocket(ours, ThreadRuntime()), theirs
    ours.close()
    theirs.close()


def test_an_unused_socket_is_closed_at_once(ends: tuple[SharedSocket, socket.socket]) -> None:
    """With no task in a role, shutting down closes, and the peer reads the end."""
    shared, theirs = ends
    shared.shut_down()
    assert shared.state is SocketState.CLOSED
    assert shared.connection.fileno() == -1
    assert theirs.recv(1) == b""


def test_the_last_role_closes_it(ends: tuple[SharedSocket, socket.socket]) -> None:
    """With a reader and a writer in it, the descriptor stays until both have left."""
    shared, _ = ends
    shared.reader, shared.writer = object(), object()
    shared.shut_down()
    shared.leave_writing()
    assert shared.state is SocketState.SHUT_DOWN
    assert shared.connection.fileno() != -1
    shared.leave_reading()
    assert shared.connection.fileno() == -1


def test_roles_given_up_before_the_end_close_nothing(ends: tuple[SharedSocket, socket.socket]) -> None:
    """An open socket without a role is as good as before."""
    shared, theirs = ends
    shared.reader = object()
    shared.leave_reading()
    theirs.send(b"x")
    assert shared.wire.receive() == b"x"


def test_a_ring_ends_a_wait_once(ends: tuple[SharedSocket, socket.socket]) -> None:
    """A prepared wait returns for a ring without the socket being ready; taken back, it is not heard again."""
    shared, theirs = ends
    shared.is_polling = True
    shared.ring()
    assert shared.wait(READ, None) == 0
    shared.clear_rings()
    theirs.send(b"x")
    assert shared.wait(READ, None) == READ


def test_it_is_shut_down_once(ends: tuple[SharedSocket, socket.socket]) -> None:
    """A second end is a fault of the caller."""
    shared, _ = ends
    shared.shut_down()
    with pytest.raises(RuntimeError, match="cannot go from CLOSED to SHUT_DOWN"):
        shared.shut_down()
