"""One stream that outlives losses, as its client sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from meshsync.connection.budget import ByteBudget
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import MeshsyncError, SendTimeout
from meshsync.protocol.dialects import dialect
from meshsync.protocol.operations import Send
from meshsync.protocol.pacing import LEAST_FLIGHT
from meshsync.protocol.resuming import ResumableStream
from meshsync.protocol.session import Encoded, Session
from meshsync.protocol.stream_messages import (
    Accept,
    Credit,
    Resume,
    ResumeConsent,
    StreamChunk,
    proof_of,
)
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.resuming import Line, Resumption
from tests.support.interrupts import Interrupt

MIB = 1024 * 1024


class ScriptedConnection:
    """A connection that has no room as often as the test says."""

    def __init__(self) -> None:
        self.session = Session(dialect("A3"))
        self.refusals = 0
        self.sent: list[int] = []
        """The bytes of data in each message."""
        self.done: list[Callable[[MeshsyncError | None], None]] = []
        """What the room's answer to each message with chunks calls."""

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
        assert delivery._on_done is not None
        self.done.append(delivery._on_done)

    def request(
        self,
        request: Send,
        what: str,
        timeout: float,
        on_done: Callable[[MeshsyncError | None], None],
        receipt: Receipt,
        *,
        is_reserved: bool = False,
    ) -> None:
        """Send what is no chunk."""
        receipt.is_sent = True
        self.sent.append(len(request.attachment))


class Lab:
    """A stream that was accepted, and what its client gives it."""

    def __init__(self, *, joins: bool = False) -> None:
        self.connection = ScriptedConnection()
        self.tasks: list[Callable[[], None]] = []
        """Those that were to be started."""
        runtime = ThreadRuntime()
        self.core = ResumableStream("s", seconds=60, secret="secret", window=MIB, header={})
        self.core.joins = joins
        self.condition = runtime.condition()
        share = ByteBudget(runtime).share()
        self.resumption = Resumption(
            self.core, self.condition, runtime, share, None, lambda target, name: self.tasks.append(target)
        )
        self.resumption.line = Line(cast(Connection, self.connection), "me")
        self.core.meet("me", "peer", 0)
        self.core.out.clear()
        self.receive(Accept("s", 8 * MIB, ResumeConsent(60, 1, joins=joins)))

    def receive(self, message: Accept | Credit | Resume) -> None:
        """Have a message of the peer arrive."""
        with self.condition:
            self.core.receive("peer", message, 0)
            self.resumption.collect()

    def meet_again(self, position: int) -> None:
        """Lose the connection, meet a peer that has so many chunks on another one, and send what it lacks."""
        with self.condition:
            self.core.lose(0)
            self.resumption.collect()
            self.core.meet("me again", "peer", 0)
            self.resumption.collect()
        proof = proof_of("secret", "s", "peer", "me again")
        self.receive(Resume("s", proof, position, 8 * MIB, 1, self.core._number))
        self.connection.sent.clear()
        self.resumption.pump()

    def write(self, *sizes: int) -> None:
        """Write a chunk of such parts, and send what may be sent."""
        self.hold(*sizes)
        self.resumption.pump()

    def hold(self, *sizes: int) -> None:
        """Write a chunk of such parts."""
        last = len(sizes) - 1
        parts = [(StreamChunk("s", {}, bytes(size), index < last), size) for index, size in enumerate(sizes)]
        with self.condition:
            self.resumption.write(parts, None)


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


@pytest.mark.parametrize(("joins", "sent"), [(False, [1, 2, 3, 4]), (True, [10])])
def test_chunks_that_wait_go_in_one_message_where_that_was_agreed(joins: bool, sent: list[int]) -> None:
    """To another peer they go one by one. The end comes behind the last, once the room has it."""
    lab = Lab(joins=joins)
    for size in (1, 2, 3, 4):
        lab.hold(size)
    with lab.condition:
        lab.core.close()
        lab.resumption.collect()
    lab.resumption.pump()
    assert lab.connection.sent == sent
    assert not lab.resumption.is_sent
    for done in lab.connection.done:
        done(None)
    assert lab.connection.sent == [*sent, 0]


def test_joined_chunks_for_which_there_was_no_room_are_tried_again_together() -> None:
    """None of them is counted twice, and those behind them go by themselves."""
    lab = Lab(joins=True)
    for before, sent in [((1, 2), [3, 7]), ((1,), [3, 7, 1, 7])]:
        lab.connection.refusals = 1
        for size in before:
            lab.hold(size)
        lab.resumption.pump()
        lab.hold(3)
        lab.hold(4)
        lab.tasks.pop()()
        assert lab.connection.sent == sent
    for done in lab.connection.done:
        done(None)
    lab.receive(Credit("s", 0, 7))
    assert lab.resumption.is_sent
    assert lab.resumption._pace.in_flight == 0


def test_joined_chunks_of_a_lost_connection_are_sent_again_from_the_first_that_is_missing() -> None:
    """Their peer has taken in some of them, one message or another."""
    lab = Lab(joins=True)
    for size in (1, 2, 3, 4):
        lab.hold(size)
    lab.resumption.pump()
    lab.meet_again(2)
    assert lab.connection.sent[-1] == 3 + 4


def test_each_chunk_is_sent_once_where_joining_is_interrupted() -> None:
    """Ctrl-C at any place of it finds the chunks joined, or not."""
    for place in range(1, 1000):
        lab = Lab(joins=True)
        for size in (1, 2, 4):
            lab.hold(size)
        was_interrupted = Interrupt(place).run(lab.resumption.pump)
        for task in lab.tasks:
            task()
        lab.resumption.pump()
        assert sum(lab.connection.sent) == 7, place
        if not was_interrupted:
            break
    assert 50 < place < 999


@pytest.mark.parametrize(
    ("joins", "sent"),
    [
        # A part has 65,536 bytes: 40,000 and 20,000 go together, and 30,000 and 7 behind them.
        (True, [60_000, 30_007, 9]),
        (False, [40_000, 20_000, 30_000, 7, 9]),
    ],
)
def test_parts_that_wait_go_as_one_where_the_way_carries_more_than_when_they_were_cut(
    joins: bool, sent: list[int]
) -> None:
    """A chunk behind them does not go with them. Both sides count the larger part as one."""
    lab = Lab(joins=joins)
    lab.hold(40_000, 20_000, 30_000, 7)
    lab.hold(9)
    lab.resumption.pump()
    assert lab.connection.sent == sent
    assert lab.core.position == len(sent)
    assert [size for _, size in lab.core.chunks] == sent
    assert lab.core.held == sum(sent)
    lab.receive(Credit("s", 0, len(sent) - 1))
    assert lab.core.held == 9
    for done in lab.connection.done:
        done(None)
    lab.receive(Credit("s", 0, len(sent)))
    assert lab.resumption._pace.in_flight == 0


def test_parts_of_a_lost_connection_are_sent_again_as_they_were() -> None:
    """Their peer may have taken in what went last."""
    lab = Lab(joins=True)
    lab.hold(40_000, 20_000, 30_000, 7)
    lab.resumption.pump()
    assert lab.connection.sent == [60_000, 30_007]
    lab.meet_again(1)
    assert lab.connection.sent[-1] == 30_007


def test_each_part_is_sent_once_where_putting_them_together_is_interrupted() -> None:
    """Ctrl-C at any place finds them as one on both sides, or apart."""
    for place in range(1, 1000):
        lab = Lab(joins=True)
        lab.hold(1, 2, 4)
        lab.hold(8)
        was_interrupted = Interrupt(place).run(lab.resumption.pump)
        for task in lab.tasks:
            task()
        lab.resumption.pump()
        assert sum(lab.connection.sent) == 15, place
        assert lab.core.position == len(lab.core.chunks), place
        assert sum(size for _, size in lab.core.chunks) == 15, place
        lab.receive(Credit("s", 0, lab.core.position))
        assert (lab.core.held, lab.resumption._pace.in_flight) == (0, 0), place
        if not was_interrupted:
            break
    assert 25 < place < 999


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
