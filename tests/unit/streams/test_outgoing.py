"""Writing and closing at the same time: a chunk is sent before the end, or refused."""

from __future__ import annotations

import pytest

from meshsync.errors import StreamTimeout, UsageError
from meshsync.protocol.stream_messages import Close, StreamChunk
from meshsync.runtime.threads import ThreadRuntime, ThreadTask
from tests.support.interrupts import quiet_threads
from tests.support.scripted import PATIENCE
from tests.support.waiting import await_waiters
from tests.unit.streams.test_stream import Desk

RUNTIME = ThreadRuntime()


def test_close_waits_for_a_chunk_that_another_task_is_sending() -> None:
    """It is counted before it is sent; a write that begins meanwhile is refused, and nothing of it is sent."""
    desk = Desk()
    stream = desk.opened_here()
    closing: list[ThreadTask] = []

    def close_meanwhile() -> None:
        desk.before_send = lambda: None
        closing.append(RUNTIME.spawn(lambda: stream.writer.close(timeout=PATIENCE), name="closing"))
        await_waiters(stream.life.condition)
        with pytest.raises(UsageError, match="cannot be written to: this program is closing it"):
            stream.writer.write(b"late")

    desk.before_send = close_meanwhile
    stream.writer.write(b"in time")
    assert closing[0].join(PATIENCE)
    assert closing[0].error is None
    assert desk.said == [StreamChunk("s-1", {}, b"in time"), Close("s-1")]


def test_a_writer_that_waits_for_credit_is_refused_by_a_close() -> None:
    """Its chunk was not sent, and would come behind the end."""
    desk = Desk()
    stream = desk.opened_here(peer_window=1)
    stream.writer.write(b"first")
    with quiet_threads():
        writing = RUNTIME.spawn(lambda: stream.writer.write(b"second", timeout=PATIENCE), name="writing")
        await_waiters(stream.life.condition)
        stream.writer.close(timeout=PATIENCE)
        assert writing.join(PATIENCE)
    assert isinstance(writing.error, UsageError)
    assert desk.said == [StreamChunk("s-1", {}, b"first"), Close("s-1")]


def test_after_a_close_that_took_too_long_the_stream_goes_on() -> None:
    """It can be written to, and closed again."""
    desk = Desk()
    stream = desk.opened_here()
    desk.acknowledges = False
    stream.writer.write(b"1")
    with pytest.raises(StreamTimeout):
        stream.writer.close(timeout=0)
    desk.acknowledges = True
    desk.deliveries[0]._resolve(None)
    stream.writer.write(b"2")
    stream.writer.close(timeout=0)
    assert [type(message) for message in desk.said] == [StreamChunk, StreamChunk, Close]
