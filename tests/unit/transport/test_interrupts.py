"""Ctrl-C at each place of a send: the connection lives, and what was accepted goes out once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshsync.errors import ConnectionLost
from meshsync.protocol.frames import FrameDecoder
from meshsync.runtime.interfaces import Task
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.shared_socket import SharedSocket
from meshsync.transport.websocket import WebSocketTransport
from tests.support.interrupts import Interrupt
from tests.support.scripted_server import LONG
from tests.unit.transport.test_websocket import reading_to_the_end


@contextmanager
def connected() -> Iterator[tuple[WebSocketTransport, socket.socket]]:
    """Yield a transport whose reader runs, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    runtime = ThreadRuntime()
    with theirs:
        transport = WebSocketTransport(SharedSocket(ours, runtime), runtime)
        reader: Task = runtime.spawn(lambda: reading_to_the_end(transport), name="reader")
        yield transport, theirs
        transport.close(0)
        assert reader.join(LONG)


def packets_of(theirs: socket.socket, last: bytes) -> list[bytes]:
    """Read up to a packet, or to the end."""
    theirs.settimeout(LONG)
    decoder, packets = FrameDecoder(masked=True), list[bytes]()
    while packets[-1:] != [last]:
        data = theirs.recv(1 << 20)
        if not data:
            break
        decoder.feed(data, packets)
    return packets


@pytest.mark.parametrize("ahead", [0, 1 << 20], ids=["idle", "busy"])
def test_a_send_that_is_interrupted_anywhere_is_made_or_not(ahead: int) -> None:
    """And a later one is made: others write what this one was kept from writing. A wire that is busy is one too."""
    place, was_interrupted, lost = 0, True, []
    while was_interrupted:
        place += 1
        with connected() as (transport, theirs):
            expected = [bytes(ahead)] if ahead else []
            transport.send(expected, LONG)
            before = transport.accepted()
            was_interrupted = Interrupt(place).run(lambda transport=transport: transport.send([b"struck"], LONG))
            expected += [b"struck"] * (transport.accepted() - before)
            try:
                transport.send([b"after"], LONG)
            except ConnectionLost as error:
                assert "interrupted" in str(error)
                lost.append(place)
                continue
            assert packets_of(theirs, b"after") == [*expected, b"after"], f"interrupted at place {place}"
            assert transport.written() == transport.accepted()
    assert place > 20
    # Where the system call is about to be made, and it cannot be known whether it was.
    assert len(lost) <= 1, lost


def test_a_reader_that_was_not_woken_is_woken() -> None:
    """The bytes that an interrupted send left behind go out though nothing else happens on the connection."""
    place, was_interrupted = 0, True
    while was_interrupted:
        place += 1
        with connected() as (transport, theirs):
            was_interrupted = Interrupt(place).run(lambda transport=transport: transport.send([b"struck"], LONG))
            if transport.accepted():  # It waits for the packet, or for the end where the connection was aborted.
                assert packets_of(theirs, b"struck") in ([b"struck"], []), f"interrupted at place {place}"


def test_the_result_of_a_system_call_is_kept() -> None:
    """Ctrl-C that comes during it is handled behind it, and takes only the value that is returned."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        shared = SharedSocket(ours, ThreadRuntime())
        results = []
        place, was_interrupted = 0, True
        while was_interrupted:
            place += 1
            result: list[int] = []
            was_interrupted = Interrupt(place).run(lambda result=result: shared.wire.send(b"12345", result))
            results.append(result)
        assert results == [[], *[[5]] * (len(results) - 1)]
        assert len(results) > 2
        assert theirs.recv(1000) == b"12345" * (len(results) - 1)
        shared.poller.close()
