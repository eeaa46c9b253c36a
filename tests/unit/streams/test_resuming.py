"""One stream that outlives losses, as its client sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from meshsync.connection.budget import ByteBudget
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import SendTimeout
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Send
from meshsync.protocol.pacing import LEAST_FLIGHT
from meshsync.protocol.resuming import ResumableStream
from meshsync.protocol.session import Encoded, Session
from meshsync.protocol.stream_messages import Accept, Credit, ResumeConsent, StreamChunk
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.resuming import Line, Resumption

MIB = 1024 * 1024


class ScriptedConnection:
    """A connection that has no room as often as the test says."""

    def __init__(self) -> None:
        self.session = Session(dialect("A3"))
        self.refusals = 0
        self.sent: list[int] = []
        """The bytes of data in each chunk."""

    def refuse_to_block(self, what: str) -> None: ...

    def submit(
        self, delivery: Delivery, request: Send, encoded: Encoded, deadline: Deadline, *, receipt: Receipt
    ) -> None:
        """Send a chunk, or time out."""
        if self.refusals:
            self.refusals -= 1
            raise SendTimeout("no room", retryable=True)
        receipt.is_sent = True
        self.sent.append(len(request.attachment))


class Lab:
    """A stream that was accepted, and what its client gives it."""

    def __init__(self) -> None:
        self.connection = ScriptedConnection()
        self.tasks: list[Callable[[], None]] = []
        """Those that were to be started."""
        runtime = ThreadRuntime()
        self.core = ResumableStream("s", seconds=60, secret="secret", window=MIB, header={})
        self.condition = runtime.condition()
        share = ByteBudget(runtime).share()
        self.resumption = Resumption(
            self.core, self.condition, runtime, share, None, lambda target, name: self.tasks.append(target)
        )
        self.resumption.line = Line(cast(Connection, self.connection), "me")
        self.core.meet("me", "peer", 0)
        self.core.out.clear()
        self.receive(Accept("s", 8 * MIB, ResumeConsent(60, 1)))

    def receive(self, message: Accept | Credit) -> None:
        """Have a message of the peer arrive."""
        with self.condition:
            self.core.receive("peer", message, 0)
            self.resumption.collect()

    def write(self, *sizes: int) -> None:
        """Write a chunk of such parts, and send what may be sent."""
        parts = [(StreamChunk("s", {}, bytes(size)), size) for size in sizes]
        with self.condition:
            self.resumption.write(parts, None)
        self.resumption.pump()


def test_part_for_which_there_was_no_room_is_tried_again_however_large() -> None:
    """It counts as on its way since the first attempt, and does not wait for itself to arrive."""
    lab = Lab()
    lab.connection.refusals = 1
    lab.write(2 * LEAST_FLIGHT, 1)
    assert lab.connection.sent == []
    lab.tasks.pop()()
    assert lab.connection.sent == [2 * LEAST_FLIGHT]
    lab.receive(Credit("s", 0, 1))
    lab.resumption.pump()
    assert lab.connection.sent == [2 * LEAST_FLIGHT, 1]


def test_tasks_are_woken_for_news_alone() -> None:
    """A confirmation lets no task go on that waits for room at the peer, for all to be sent, or for the end."""
    lab = Lab()
    woken: list[Any] = []
    condition = lab.condition
    lab.resumption._condition = cast(Any, Counting(condition, woken))
    lab.write(*[LEAST_FLIGHT // 2] * 20)
    before = len(woken)
    for position in range(1, 15):
        lab.receive(Credit("s", 0, position))
        lab.resumption.pump()
    assert len(lab.connection.sent) >= 15
    assert len(woken) == before
    with condition:
        lab.core.lose(0)
        lab.resumption.collect()
    assert len(woken) == before + 1


class Counting:
    """A condition that notes each time it notifies."""

    def __init__(self, condition: Any, notes: list[Any]) -> None:
        self._condition = condition
        self._notes = notes

    def __enter__(self) -> None:
        self._condition.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._condition.__exit__(*error)

    def notify_all(self) -> None:
        """Notify, and note it."""
        self._notes.append(None)
        self._condition.notify_all()
