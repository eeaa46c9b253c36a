"""One stream at one client: what its writer and its reader promise, with a host and a channel that do as told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from meshsync.connection.budget import ByteBudget
from meshsync.connection.deliveries import Delivery, Receipt
from meshsync.errors import (
    ClientClosed,
    InvalidMessage,
    MeshsyncError,
    NotSent,
    ReceiveTimeout,
    RoomError,
    SendTimeout,
    StreamCancelled,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.participants import RemoteParticipant
from meshsync.protocol.flow_control import LEAST_WINDOW, size_of
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Credit, Reject, StreamChunk, StreamMessage
from meshsync.runtime.deadlines import Timeout
from meshsync.runtime.threads import ThreadRuntime
from meshsync.streams.channels import Channel
from meshsync.streams.endpoints import Endpoints, has_ended
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.streams.life import Phase, StreamIdentity, StreamLife
from meshsync.streams.outgoing import UNACKNOWLEDGED, UNACKNOWLEDGED_SIZE
from meshsync.streams.stream import ClientStream
from tests.support.waiting import await_waiters

RUNTIME = ThreadRuntime()
BOB = RemoteParticipant("p-2", "user", {"name": "bob"})


class WholeStream(ClientStream):
    """A stream with its two ends."""

    def __init__(self, desk: Desk, header: Mapping[str, Any], *, is_opener: bool, peer_window: int | None = None):
        super().__init__(desk, desk, StreamIdentity("s-1", BOB, header, is_opener), peer_window=peer_window)
        ends = Endpoints(self)
        self.writer, self.reader = ends.writer, ends.reader
        self.incoming, self.outgoing = ends.incoming, ends.outgoing


class Desk:
    """The host and the channel of one stream; what is sent is noted, and acknowledged at once unless told not to."""

    can_cancel = False

    def __init__(self) -> None:
        self.runtime = RUNTIME
        self.said: list[StreamMessage] = []
        self.deliveries: list[Delivery] = []
        self.acknowledges = True
        self.refusal: MeshsyncError | None = None
        """What sending raises."""
        self.answer: MeshsyncError | None = None
        """What each delivery fails with."""
        self.notes: list[object] = []
        """``opened``, and the reason of each end."""
        self.deadlock: Exception | None = None
        self.next_window = 10_000
        self.budget = ByteBudget(RUNTIME)
        self.before_send: Callable[[], object] = lambda: None

    def limit(self, timeout: Timeout, default: float | None) -> float | None:
        return default and 0.0 if timeout == "default" else timeout

    def refuse_to_block(self, what: str) -> None:
        if self.deadlock is not None:
            raise self.deadlock

    def window(self) -> int:
        return self.next_window

    def opened(self, life: StreamLife) -> None:
        self.notes.append("opened")

    def ended(self, life: StreamLife, reason: str) -> None:
        self.notes.append(reason)

    def refused(self) -> None:
        self.notes.append("refused")

    def send_unawaited(
        self, channel: Channel, message: StreamMessage, what: str, receipt: Receipt | None = None
    ) -> None:
        channel.send(message, what, 0, receipt, is_reserved=True)

    def send(
        self,
        message: StreamMessage,
        what: str,
        timeout: float | None,
        receipt: Receipt | None = None,
        *,
        is_reserved: bool = False,
    ) -> Delivery:
        self.before_send()
        if self.refusal is not None:
            raise self.refusal
        self.said.append(message)
        if receipt is not None:
            receipt.is_sent = True
        delivery = Delivery(what, RUNTIME, lambda what: None)
        self.deliveries.append(delivery)
        if self.acknowledges:
            delivery._resolve(self.answer)
        return delivery

    # --- the stream ---------------------------------------------------------------------------------------------------

    def offered(self, peer_window: int | None = 10_000) -> WholeStream:
        """Return a stream that Bob offers."""
        return WholeStream(self, {"kind": "x"}, is_opener=False, peer_window=peer_window)

    def accepted(self, peer_window: int | None = 10_000) -> WholeStream:
        """Return a stream that Bob offered and this program accepted."""
        stream = self.offered(peer_window)
        stream.accept()
        self.said.clear()
        return stream

    def opened_here(self, peer_window: int | None = 10_000) -> WholeStream:
        """Return a stream that this program opened and Bob accepted."""
        stream = WholeStream(self, {}, is_opener=True)
        assert stream.accepted(peer_window)
        return stream


@pytest.fixture
def desk() -> Desk:
    """Return where one stream is used."""
    return Desk()


def chunk(n: int = 0, size: int = 1) -> StreamChunk:
    """Return a chunk as Bob sends it."""
    return StreamChunk("s-1", {"n": n}, bytes(size))


def numbers(reader: Any) -> list[int]:
    """Read all that is there."""
    found = []
    while True:
        try:
            piece = reader.read(0)
        except (ReceiveTimeout, StreamInterrupted):
            return found
        if piece is None:
            return found
        found.append(piece.header["n"])


# --- what they are ----------------------------------------------------------------------------------------------------


def test_ends_know_whose_they_are(desk: Desk) -> None:
    """Both ends of one stream know each other, its id, its header and who is at the other side."""
    stream = desk.offered()
    reader, writer = stream.reader, stream.writer
    as_reader: StreamReader = reader
    as_writer: StreamWriter = writer
    assert (as_reader.writer, as_writer.reader) == (writer, reader)
    assert reader.stream_id == reader._streamId == writer.stream_id == "s-1"
    assert reader.sender is writer.to is BOB
    assert reader.header == {"kind": "x"}
    assert not has_ended(reader)
    assert repr(reader) == "<MessageStreamReader of stream s-1 from bob: offered>"
    assert repr(desk.opened_here().writer) == "<MessageStreamWriter of stream s-1 to bob: open>"


# --- deciding ---------------------------------------------------------------------------------------------------------


def test_acceptance_says_how_much_may_come_if_the_offer_did(desk: Desk) -> None:
    """And nothing besides to who would not understand it; accepting again says nothing."""
    stream = desk.offered()
    stream.accept()
    stream.accept()
    desk.offered(None).accept()
    assert desk.said == [Accept("s-1", 10_000), Accept("s-1", None)]
    assert desk.notes == ["opened", "opened"]


def test_nothing_is_written_before_the_acceptance_is_on_its_way(desk: Desk) -> None:
    """Another task that writes meanwhile waits for it: the other side would drop the chunk."""
    stream = desk.offered()
    writing = []

    def write_meanwhile() -> None:
        desk.before_send = lambda: None
        with pytest.raises(StreamTimeout):
            stream.outgoing.write(b"too early", 0)
        writing.append(RUNTIME.spawn(lambda: stream.outgoing.write(b"patient", 20.0), name="writer"))
        await_waiters(stream.life.condition)

    desk.before_send = write_meanwhile
    stream.accept()
    assert writing[0].join(30)
    assert desk.said == [Accept("s-1", 10_000), StreamChunk("s-1", {}, b"patient")]


def test_an_acceptance_that_cannot_be_sent_ends_the_stream(desk: Desk) -> None:
    """It is reported as open and ended, and every end knows why."""
    stream = desk.offered()
    desk.refusal = NotSent("the connection was lost")
    for call in (stream.accept, lambda: stream.incoming.read(0), lambda: stream.writer.write(b"x")):
        with pytest.raises(StreamInterrupted, match="cut off: the connection was lost") as caught:
            call()
        assert isinstance(caught.value.__cause__, NotSent)
        assert not caught.value.connection_alive
    assert desk.notes == ["opened", "stream s-1 from bob is cut off: the connection was lost"]


def test_who_opened_a_stream_cannot_decide_on_it(desk: Desk) -> None:
    """The other side does."""
    stream = WholeStream(desk, {}, is_opener=True)
    with pytest.raises(UsageError, match="was opened by this program: its peer accepts it"):
        stream.accept()
    with pytest.raises(UsageError, match="cannot be rejected"):
        stream.reject("")


def test_only_an_opener_waits_for_consent_and_only_once(desk: Desk) -> None:
    """Any other is not what was waited for."""
    assert not desk.offered().accepted(None)
    assert not desk.opened_here().accepted(None)


def test_what_was_rejected_has_nothing_to_read(desk: Desk) -> None:
    """Not even what an impatient opener had sent."""
    stream = desk.offered()
    stream.incoming.arrived(chunk())
    stream.reject("no")
    assert desk.said == [Reject("s-1", "no")]
    with pytest.raises(WouldDeadlock, match="this program rejected it: no"):
        stream.incoming.read(0)
    stream.writer.close()
    assert len(desk.said) == 1


def test_rejecting_what_its_opener_has_given_up_needs_no_answer(desk: Desk) -> None:
    """It says nothing and raises nothing."""
    stream = desk.offered()
    stream.end(StreamInterrupted("gone"))
    stream.reject("no")
    assert desk.said == []


# --- writing ----------------------------------------------------------------------------------------------------------


def test_bytes_alone_are_a_chunk_with_an_empty_header(desk: Desk) -> None:
    """Any buffer, and None for nothing."""
    writer: Any = desk.opened_here().writer
    for data in (b"a", bytearray(b"b"), memoryview(b"c")):
        writer.write(data)
    writer.write(MessageStreamChunk({"n": 1}, None))  # type: ignore[arg-type]
    assert [(word.header, bytes(word.data)) for word in desk.said] == [  # type: ignore[union-attr]
        ({}, b"a"),
        ({}, b"b"),
        ({}, b"c"),
        ({"n": 1}, b""),
    ]


def test_so_many_chunks_may_be_unacknowledged(desk: Desk) -> None:
    """256, and then the oldest is waited for, whichever others are done."""
    writer = desk.opened_here(None).writer
    desk.acknowledges = False
    for _ in range(UNACKNOWLEDGED):
        writer.write(b"x")
    desk.deliveries[1]._resolve(None)
    with pytest.raises(StreamTimeout, match="not acknowledged within 0 s"):
        writer.write(b"x")
    desk.deliveries[0]._resolve(None)
    writer.write(b"x")
    writer.write(b"x")
    with pytest.raises(StreamTimeout):
        writer.write(b"x")
    assert UNACKNOWLEDGED == 256
    assert len(desk.said) == 258


def test_so_many_bytes_may_be_unacknowledged(desk: Desk) -> None:
    """8 MiB with what chunks count besides; one is let through however large it is."""
    writer = desk.opened_here(None).writer
    desk.acknowledges = False
    writer.write(bytes(2 * UNACKNOWLEDGED_SIZE))
    with pytest.raises(StreamTimeout):
        writer.write(b"")
    desk.deliveries[0]._resolve(None)
    half = bytes(UNACKNOWLEDGED_SIZE // 2 - size_of({}, b""))
    writer.write(half)
    writer.write(half)
    with pytest.raises(StreamTimeout):
        writer.write(b"")


def test_an_error_of_an_earlier_chunk_fails_the_next_call_and_all_others(desk: Desk) -> None:
    """With the room's error as the cause; the other side is told once."""
    stream = desk.opened_here()
    writer = stream.writer
    desk.answer = RoomError("too many", 1008)
    writer.write(b"x")
    for call in (lambda: writer.write(b"y"), writer.flush, writer.close, lambda: stream.incoming.read(0)):
        with pytest.raises(StreamInterrupted, match="stream s-1 to bob is cut off: too many") as caught:
            call()
        assert isinstance(caught.value.__cause__, RoomError)
        assert caught.value.connection_alive
    assert desk.said[1:] == [Cancel("s-1", "stream s-1 to bob is cut off: too many")]


def test_what_was_not_sent_costs_no_credit(desk: Desk) -> None:
    """Too large, closed client, or no room in time: each with its own error, and the next chunk goes."""
    stream = desk.opened_here(1000)
    for refusal, error in (
        (InvalidMessage("too large"), InvalidMessage),
        (ClientClosed("closed"), ClientClosed),
        (SendTimeout("no room", retryable=True), StreamTimeout),
    ):
        desk.refusal = refusal
        with pytest.raises(error, match=str(refusal)):
            stream.writer.write(bytes(5000))
    desk.refusal = None
    stream.writer.write(bytes(5000))
    with pytest.raises(StreamTimeout, match="bob has read nothing of it for 0 s, and holds what it can"):
        stream.writer.write(b"")


def test_a_writer_that_gives_up_lets_another_go(desk: Desk) -> None:
    """The credit that it gives back wakes who waits for credit."""
    stream = desk.opened_here(1)
    others = []

    def wait_and_fail() -> None:
        others.append(RUNTIME.spawn(lambda: stream.outgoing.write(b"second", 20.0), name="second"))
        await_waiters(stream.life.condition)
        desk.before_send = lambda: None
        raise SendTimeout("no room", retryable=True)

    desk.before_send = wait_and_fail
    with pytest.raises(StreamTimeout):
        stream.outgoing.write(b"first", 0)
    assert others[0].join(30)
    assert [bytes(word.data) for word in desk.said] == [b"second"]  # type: ignore[union-attr]


def test_a_lost_connection_interrupts_the_writer(desk: Desk) -> None:
    """There is nobody to be told."""
    stream = desk.opened_here()
    desk.refusal = NotSent("the connection was lost")
    with pytest.raises(StreamInterrupted) as caught:
        stream.writer.write(b"x")
    assert not caught.value.connection_alive
    desk.refusal = None
    with pytest.raises(StreamInterrupted):
        stream.writer.close()
    assert desk.said == []


def test_closing_waits_and_says_so_once(desk: Desk) -> None:
    """Again does nothing; writing after it is the program's error."""
    stream = desk.opened_here()
    desk.acknowledges = False
    stream.writer.write(b"x")
    with pytest.raises(StreamTimeout):
        stream.writer.close()
    assert len(desk.said) == 1
    desk.deliveries[0]._resolve(None)
    desk.acknowledges = True
    stream.writer.close()
    stream.writer.close()
    assert desk.said[1:] == [Close("s-1")]
    for call in (lambda: stream.writer.write(b"x"), stream.writer.flush):
        with pytest.raises(UsageError, match="cannot be written to: this program closed it"):
            call()
    assert desk.notes == ["opened", ""]


def test_what_came_before_closing_can_still_be_read(desk: Desk) -> None:
    """Then comes the regular end; closing the reader too drops it."""
    stream = desk.opened_here()
    stream.incoming.arrived(chunk(1))
    stream.incoming.arrived(chunk(2))
    stream.writer.close()
    assert stream.incoming.read(0) == MessageStreamChunk({"n": 1}, b"\0")
    stream.reader.close()
    with pytest.raises(UsageError, match="cannot be read: this program closed it"):
        stream.incoming.read(0)


def test_closing_tells_if_the_end_was_not_acknowledged(desk: Desk) -> None:
    """In time, or at all."""
    stream = desk.opened_here()
    desk.acknowledges = False
    with pytest.raises(StreamTimeout, match="closing stream s-1 to bob: not acknowledged"):
        stream.writer.close()
    stream = desk.opened_here()
    desk.acknowledges, desk.answer = True, RoomError("not found", 1003)
    with pytest.raises(StreamInterrupted, match="not found"):
        stream.writer.close()


@pytest.mark.parametrize("peer_window", [None, 100])
def test_aborting_says_what_the_other_side_understands(desk: Desk, peer_window: int | None) -> None:
    """A cancellation, or a close for want of another word; again says nothing."""
    stream = desk.opened_here(peer_window)
    stream.incoming.arrived(chunk())
    stream.writer.abort("enough")
    stream.writer.abort("enough")
    assert desk.said == [Cancel("s-1", "enough") if peer_window else Close("s-1")]
    assert not stream.unread
    with pytest.raises(UsageError, match="cannot be read: this program closed it"):
        stream.incoming.read(0)


def test_with_ends_the_stream_either_way(desk: Desk) -> None:
    """Regularly, or with the exception's class and none of its text; closing that fails aborts."""
    with desk.opened_here().writer:
        pass
    with pytest.raises(KeyError), desk.opened_here().writer:
        raise KeyError("k" * 2000)
    with pytest.raises(StreamTimeout), desk.opened_here().writer as writer:
        desk.acknowledges = False
        writer.write(b"")
    texts = [getattr(word, "reason", "") for word in desk.said if not isinstance(word, StreamChunk)]
    assert texts[0] == ""
    assert texts[1] == "the program failed (KeyError)"
    assert texts[2] == "the program failed (StreamTimeout)"


@pytest.mark.parametrize("what", ["cancelled in closing", "closed in writing", "aborted"])
def test_giving_up_what_has_ended_keeps_what_came(desk: Desk, what: str) -> None:
    """Another task may be reading what the other side had said."""
    stream = desk.opened_here()
    stream.incoming.arrived(chunk(5))
    if what == "cancelled in closing":
        with pytest.raises(StreamCancelled), stream.writer:
            stream.cancelled("enough")
    elif what == "closed in writing":
        with pytest.raises(StreamCancelled), stream.writer:
            stream.end(None)
            stream.writer.write(b"x")
    else:
        stream.end(None)
        stream.writer.abort()
    assert numbers(stream.reader) == [5]
    assert desk.said == []


def test_a_reader_that_is_closed_at_the_end_lets_go_of_what_came(desk: Desk) -> None:
    """Nobody wants it; the other side is gone and told nothing."""
    stream = desk.accepted()
    stream.incoming.arrived(chunk())
    stream.end(None)
    stream.reader.close()
    with pytest.raises(UsageError, match="cannot be read: this program closed it"):
        stream.incoming.read(0)
    assert not stream.unread
    assert desk.said == []


@pytest.mark.parametrize("call", ["write", "flush", "close"])
def test_a_task_that_must_not_wait_is_told(desk: Desk, call: str) -> None:
    """Before it waits."""
    stream = desk.opened_here(1)
    stream.writer.write(b"x")
    desk.deadlock = WouldDeadlock("on the reader")
    with pytest.raises(WouldDeadlock):
        getattr(stream.writer, call)(*[b"x"][: call == "write"])


# --- reading ----------------------------------------------------------------------------------------------------------


def test_chunks_come_in_order_and_as_bytes(desk: Desk) -> None:
    """The first read accepts."""
    stream = desk.offered()
    stream.incoming.arrived(chunk(0))
    stream.incoming.arrived(chunk(1))
    assert numbers(stream.reader) == [0, 1]
    assert desk.said == [Accept("s-1", 10_000)]


def test_the_end_comes_after_what_came(desk: Desk) -> None:
    """Regular or not, as often as it is asked for."""
    for failure in (None, StreamInterrupted("bob has left")):
        stream = desk.accepted()
        stream.incoming.arrived(chunk(0))
        stream.end(failure)
        stream.incoming.arrived(chunk(1))
        assert has_ended(stream.reader)
        assert stream.incoming.read(0) == MessageStreamChunk({"n": 0}, b"\0")
        for _ in range(2):
            if failure is None:
                assert stream.incoming.read(0) is None
            else:
                with pytest.raises(StreamInterrupted, match="bob has left"):
                    stream.incoming.read(0)


def test_credit_is_sent_when_the_next_chunk_is_asked_for(desk: Desk) -> None:
    """A chunk is done with then, and not before; half a window is worth a message."""
    stream = desk.accepted()
    for _ in range(3):
        stream.incoming.arrived(chunk(size=3000))
    size = size_of({"n": 0}, bytes(3000))
    stream.incoming.read(0)
    stream.incoming.read(0)
    assert desk.said == []
    stream.incoming.read(0)
    assert desk.said == [Credit("s-1", 2 * size)]
    with pytest.raises(ReceiveTimeout):
        stream.incoming.read(0)
    assert len(desk.said) == 1


def test_credit_that_could_not_be_sent_goes_with_the_next(desk: Desk) -> None:
    """Reading goes on meanwhile."""
    stream = desk.accepted()
    for n in range(3):
        stream.incoming.arrived(chunk(n, 5000))
    stream.incoming.read(0)
    desk.refusal = SendTimeout("no room", retryable=True)
    stream.incoming.read(0)
    desk.refusal = None
    stream.incoming.read(0)
    assert desk.said == [Credit("s-1", 2 * size_of({"n": 0}, bytes(5000)))]


def test_credit_that_nobody_can_get_does_not_disturb_the_reader(desk: Desk) -> None:
    """It hears of a lost connection after what came."""
    stream = desk.accepted()
    for n in range(2):
        stream.incoming.arrived(chunk(n, 5000))
    desk.refusal = NotSent("lost")
    assert numbers(stream.reader) == [0, 1]


def test_an_opener_that_reads_gets_a_window_of_full_size(desk: Desk) -> None:
    """With the first chunk that it takes; the other side hears of the difference."""
    stream = desk.opened_here()
    desk.next_window = 8 * LEAST_WINDOW
    assert stream.account.window == LEAST_WINDOW
    stream.incoming.arrived(chunk())
    stream.incoming.arrived(chunk())
    stream.incoming.read(0)
    stream.incoming.read(0)
    assert desk.said == [Credit("s-1", 7 * LEAST_WINDOW + size_of({"n": 0}, b"\0"))]


def test_reading_all_puts_back_what_it_cannot_return(desk: Desk) -> None:
    """In order, before what came since; it counts no more, since the program had it."""
    stream = desk.accepted()
    for n in range(3):
        stream.incoming.arrived(chunk(n))
    with pytest.raises(ReceiveTimeout):
        stream.reader.read_all(0)
    stream.incoming.arrived(chunk(3))
    assert stream.account.unread == size_of({"n": 3}, b"\0")
    stream.end(None)
    assert numbers(stream.reader) == [0, 1, 2, 3]
    assert stream.account.unread == 0
    assert stream.reader.read_all(0) == b""


def test_an_interrupted_read_leaves_the_stream_readable(desk: Desk) -> None:
    """Whatever came out of it; otherwise nobody could ever read again."""
    stream = desk.accepted()
    desk.deadlock = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        stream.incoming.read(None)
    desk.deadlock = None
    stream.incoming.arrived(chunk(7))
    assert numbers(stream.reader) == [7]


def test_too_much_unread_ends_the_stream(desk: Desk) -> None:
    """The other side is told, and the reader after what came."""
    stream = desk.accepted(None)
    data = bytes(4 * 1024 * 1024)
    for n in range(20):
        stream.incoming.arrived(StreamChunk("s-1", {"n": n}, data))
    assert desk.said == [Close("s-1")]
    assert numbers(stream.reader) == list(range(15))
    with pytest.raises(StreamInterrupted, match=r"is given up: .* at most 67108864 are kept"):
        stream.incoming.read(0)


# --- what the other side says -----------------------------------------------------------------------------------------


def test_a_cancellation_is_one_whatever_follows(desk: Desk) -> None:
    """For the writer; the reader has not got everything."""
    stream = desk.opened_here()
    stream.cancelled("enough")
    stream.cancelled("again")
    stream.end(None)
    with pytest.raises(StreamCancelled, match=r"^bob ended the stream early: enough$"):
        stream.writer.write(b"x")
    with pytest.raises(StreamInterrupted, match=r"^bob ended the stream early: enough$"):
        stream.incoming.read(0)
    assert desk.notes == ["opened", "enough"]


def test_a_regular_end_there_is_a_cancellation_to_who_goes_on_writing(desk: Desk) -> None:
    """What it writes reaches nobody any more; closing is no error then."""
    stream = desk.opened_here()
    stream.end(None)
    with pytest.raises(StreamCancelled, match="cannot be written to: bob closed it"):
        stream.writer.write(b"x")
    stream.writer.close()
    assert desk.said == []


def test_errors_are_new_each_time(desk: Desk) -> None:
    """One that was raised keeps its callers' variables alive."""
    stream = desk.opened_here()
    stream.end(StreamInterrupted("bob has left"))
    raised = []
    for _ in range(2):
        with pytest.raises(StreamInterrupted) as caught:
            stream.incoming.read(0)
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_an_end_by_the_client_is_no_fault_of_the_program_that_reads(desk: Desk) -> None:
    """It gets what came and the reason; an offer is taken back, or rejected."""
    stream = desk.accepted()
    stream.incoming.arrived(chunk(1))
    stream.abandon("disabled", StreamInterrupted("disabled"))
    assert numbers(stream.reader) == [1]
    with pytest.raises(StreamInterrupted, match="disabled"):
        stream.incoming.read(0)
    with pytest.raises(StreamInterrupted, match="disabled"):
        stream.writer.write(b"x")
    desk.offered().abandon("disabled", StreamInterrupted("disabled"))
    opening = WholeStream(desk, {}, is_opener=True)
    opening.abandon("disabled", StreamInterrupted("disabled"))
    with pytest.raises(StreamInterrupted, match="disabled"):
        opening.wait_answer(0)
    assert desk.said == [Cancel("s-1", "disabled"), Reject("s-1", "disabled"), Close("s-1", is_complete=False)]


def test_an_opening_is_waited_for_in_time(desk: Desk) -> None:
    """True for consent, an error for a refusal, False for neither."""
    opening = WholeStream(desk, {}, is_opener=True)
    assert not opening.wait_answer(0)
    assert opening.accepted(None)
    assert opening.wait_answer(0)
    opening = WholeStream(desk, {}, is_opener=True)
    opening.end(StreamRejected("no"))
    with pytest.raises(StreamRejected, match="no"):
        opening.wait_answer(0)


def test_a_write_that_meets_the_end_tells_of_the_end(desk: Desk) -> None:
    """Where the peer closes the stream while a chunk cannot be sent, it is the peer that wants no more."""
    stream = desk.opened_here()
    desk.before_send = lambda: stream.end(None)
    desk.refusal = NotSent("the connection was lost")
    with pytest.raises(StreamCancelled, match="cannot be written to: bob closed it"):
        stream.writer.write(b"x")
    assert desk.notes == ["opened", ""]


def test_no_credit_goes_out_before_the_consent(desk: Desk) -> None:
    """The peer would take it for one of a stream that is not open."""
    stream = desk.offered(100)
    stream.incoming.arrived(chunk(size=9000))
    credits = []

    def read_meanwhile() -> None:
        desk.before_send = lambda: None
        stream.account.owed += 9000
        credits.append(stream.incoming.credit_due())

    desk.before_send = read_meanwhile
    stream.accept()
    assert credits == [0]
    assert stream.incoming.credit_due() == 9000
    stream.end(None)
    assert stream.account.owed == 9000
    assert stream.incoming.credit_due() == 0


def test_a_stream_that_ends_while_it_is_accepted_stays_ended(desk: Desk) -> None:
    """It was open for a moment, and its end is reported."""
    stream = desk.offered()
    desk.before_send = lambda: stream.end(None)
    stream.accept()
    assert stream.life.phase is Phase.ENDED
    assert desk.notes == ["opened", ""]
    assert stream.incoming.read(0) is None


def test_ends_have_the_runtime_of_their_client_and_no_doors_inside(desk: Desk) -> None:
    """What is built on a stream lives in its runtime; programs see what is promised, and nothing else."""
    stream = desk.offered()
    assert stream.writer._runtime is stream.reader._runtime is desk.runtime
    public = {end: {name for name in dir(end) if not name.startswith("_")} for end in (stream.writer, stream.reader)}
    assert public[stream.writer] == {
        *("abort", "close", "flush", "peer_is_meshsync", "reader", "stream_id", "to", "write"),
    }
    assert public[stream.reader] == {
        *("accept", "close", "header", "read", "read_all", "reject", "sender", "stream_id", "writer"),
    }
