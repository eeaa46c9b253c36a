"""Both sides of a stream that outlives losses, cut at every place, against what one has written and the other has got.

Between them is a room that gives each connection a new id, keeps the order of messages from one id to another, and
nothing else: what an earlier connection sent may arrive after what a later one did, or not at all, and each side learns
of the other's losses whenever it happens to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import groupby

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshsync.protocol.resuming import Accepted, Credited, Link, Outcome, Progress, ResumableStream, TakenIn
from meshsync.protocol.stream_messages import (
    Cancel,
    Open,
    Resume,
    StreamChunk,
    StreamChunks,
    StreamMessage,
    decode_stream_message,
)
from meshsync.protocol.stream_messages import encode_stream_message as encode
from tests.support.profiles import examples

WINDOW = 40
SIZE = 10
"""Each chunk counts as much, so that four fit into the window."""
SECONDS = 60.0
SIDES = st.sampled_from([0, 1])


class Side:
    """A client with its side of the stream, and its program.

    Attributes:
        id: None while it has no connection.
        knows: The id that it takes for the peer's; None while it takes the peer for gone.
    """

    def __init__(self, name: str, stream: ResumableStream) -> None:
        self.name = name
        self.stream = stream
        self.connections = 0
        self.id: str | None = None
        self.knows: str | None = None
        self.written = 0
        self.room = 0
        self.got: list[int] = []
        self.read = 0
        self.granted = WINDOW
        self.sent: set[int] = set()
        """Chunks that went out at least once."""
        self.was_asked = 0


class ResumingMachine(RuleBasedStateMachine):
    """The two sides, the messages on their way, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        secret = "s3cret"
        opener = ResumableStream("s", seconds=SECONDS, secret=secret, window=WINDOW, header={"a": 1})
        acceptor = ResumableStream("s", seconds=2 * SECONDS, secret=secret, window=WINDOW, header=None)
        self.sides = Side("a", opener), Side("b", acceptor)
        self.ways: dict[tuple[str, str], deque[StreamMessage]] = {}
        """By sender's and recipient's id."""
        self.now = 0.0

    @initialize(is_open=st.booleans())
    def begin(self, is_open: bool) -> None:
        """Connect both, let each know of the other, and perhaps open the stream."""
        for index in (0, 1):
            self.connect(index)
        self.learn(1)
        self.learn(0)
        if is_open:
            self.settle()
            self.accept()
            self.settle()

    # --- the room -----------------------------------------------------------------------------------------------------

    def send(self, side: Side) -> None:
        """Have a side's messages leave it."""
        other = self.other(side)
        messages, side.stream.out = side.stream.out, []
        for message in messages:
            if isinstance(message, StreamChunk):
                number = message.header["n"]
                if number in side.sent:
                    assert number >= len(other.got), "what was taken in is sent again"
                side.sent.add(number)
            if side.id is not None:
                self.ways.setdefault((side.id, side.stream.peer_id), deque()).append(message)

    def other(self, side: Side) -> Side:
        """Return the peer."""
        return self.sides[1 - self.sides.index(side)]

    def arriving(self) -> list[tuple[str, str]]:
        """Return the ways on which a message can arrive."""
        ids = {side.id for side in self.sides}
        return [way for way, messages in self.ways.items() if messages and way[1] in ids]

    @rule(data=st.data())
    @precondition(lambda self: self.arriving())
    def deliver(self, data: st.DataObject) -> None:
        """Have one message arrive, of whichever connection."""
        self.arrive(data.draw(st.sampled_from(self.arriving())))

    @rule(count=st.integers(1, 30))
    def deliver_many(self, count: int) -> None:
        """Have messages arrive on all ways in turn."""
        for _ in range(count):
            for way in self.arriving():
                self.arrive(way)

    @rule()
    def join(self) -> None:
        """Have chunks that follow each other on a way go in one message."""
        for messages in self.ways.values():
            before = list(messages)
            messages.clear()
            for is_chunk, group in groupby(before, lambda message: isinstance(message, StreamChunk)):
                several = list(group)
                messages.extend([StreamChunks("s", tuple(several))] if is_chunk and len(several) > 1 else several)

    def arrive(self, way: tuple[str, str]) -> None:
        """Have the next message of a way arrive, by its form on the wire."""
        message = self.ways[way].popleft()
        side = next(side for side in self.sides if side.id == way[1])
        type, body = encode(message)
        data = bytes(message.data) if isinstance(message, StreamChunk | StreamChunks) else b""
        message = decode_stream_message(type, body, data)
        stream = side.stream
        if isinstance(message, Open) and stream.peer_id == "":
            side.was_asked += 1
            stream.own_id = way[1]
        if stream.is_forgotten:
            if isinstance(message, Resume):
                self.ways.setdefault((way[1], way[0]), deque()).append(Cancel("s", "unknown"))
            return
        for event in stream.receive(way[0], message, self.now):
            match event:
                case TakenIn(chunk):
                    assert chunk.header["n"] == len(side.got), "a chunk is missing, or came twice"
                    side.got.append(len(side.got))
                case Credited(size) | Accepted(size):
                    side.room += size
        self.send(side)

    # --- connections --------------------------------------------------------------------------------------------------

    def connect(self, index: int) -> None:
        """Give a side a connection."""
        side = self.sides[index]
        side.connections += 1
        side.id = f"{side.name}{side.connections}"

    @rule(index=SIDES, gets_through=st.booleans())
    def cut(self, index: int, gets_through: bool) -> None:
        """Cut a side's connection; what it has sent gets through later, or never."""
        side = self.sides[index]
        if side.id is None:
            return
        for way in list(self.ways):
            if way[1] == side.id or (way[0] == side.id and not gets_through):
                del self.ways[way]
        side.id = side.knows = None
        side.stream.lose(self.now)
        self.send(side)

    @rule(index=SIDES)
    def come_back(self, index: int) -> None:
        """Connect a side again."""
        if self.sides[index].id is None:
            self.connect(index)

    @rule(index=SIDES)
    def learn(self, index: int) -> None:
        """Have a side notice which id its peer has now, or that it has none."""
        side = self.sides[index]
        other = self.other(side)
        if side.id is None or other.id == side.knows or side.stream.is_forgotten:
            return
        if side.knows is not None:
            side.stream.lose(self.now)
        side.knows = other.id
        if other.id is not None and (side.stream.is_opener or side.stream.peer_id):
            side.stream.meet(side.id, other.id, self.now)
        self.send(side)

    # --- programs -----------------------------------------------------------------------------------------------------

    @rule()
    def accept(self) -> None:
        """Accept the offer, when it has come."""
        side = self.sides[1]
        if side.was_asked and side.stream.progress is Progress.OFFERED:
            side.stream.accept()
            side.room = WINDOW  # Of the offer, which the stream does not repeat.
            self.send(side)

    @rule(index=SIDES, count=st.integers(1, 4))
    def write(self, index: int, count: int) -> None:
        """Write chunks, as far as there is room."""
        side = self.sides[index]
        for _ in range(count):
            if side.stream.progress is Progress.OPEN and side.room > 0:
                side.stream.write(StreamChunk("s", {"n": side.written}, b"x"), SIZE)
                side.written += 1
                side.room -= SIZE
                self.send(side)

    @rule(index=SIDES)
    def read(self, index: int) -> None:
        """Read all that is there, and credit it."""
        side = self.sides[index]
        size = (len(side.got) - side.read) * SIZE
        if size and side.stream.progress is Progress.OPEN:
            side.read = len(side.got)
            side.granted += size
            side.stream.grant(size)
            self.send(side)

    @rule(index=SIDES)
    def close(self, index: int) -> None:
        """Close the stream."""
        if self.sides[index].stream.progress is Progress.OPEN:
            self.sides[index].stream.close()
            self.send(self.sides[index])

    @rule(index=SIDES, often=st.integers(0, 3))
    def cancel(self, index: int, often: int) -> None:
        """Give it up, now and then."""
        if not often and self.sides[index].was_asked + self.sides[index].stream.is_opener:
            self.sides[index].stream.cancel("enough", self.now)
            self.send(self.sides[index])

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds
        for side in self.sides:
            side.stream.expire(self.now)
            self.send(side)

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def no_more_is_held_than_granted(self) -> None:
        """A window, and one chunk that it lets through."""
        for side in self.sides:
            assert side.stream.held <= WINDOW + SIZE
            assert side.stream.ending is not None or side.stream.position == side.written

    @invariant()
    def no_more_comes_than_granted(self) -> None:
        """So a reader need not hold more than it has said."""
        for side in self.sides:
            assert (len(side.got) - 1) * SIZE < side.granted

    @invariant()
    def an_end_is_true(self) -> None:
        """Whoever is told that all was taken in, on either side, is told the truth."""
        for side in self.sides:
            outcome = side.stream.ending and side.stream.ending.outcome
            if outcome is Outcome.CLOSED_HERE:
                assert len(self.other(side).got) == side.written
            if outcome is Outcome.CLOSED_BY_PEER:
                assert len(side.got) == self.other(side).written

    def teardown(self) -> None:
        """Let both come together: then all arrives, or both know of the end."""
        if not self.sides[0].connections:
            return
        for index in (0, 1):
            self.come_back(index)
        for _ in range(3):
            for index in (0, 1):
                self.learn(index)
            self.settle()
        self.accept()
        self.settle()
        streams = [side.stream for side in self.sides]
        if all(stream.ending is None for stream in streams):
            assert [stream.link for stream in streams] == [Link.UP, Link.UP]
            for side in self.sides:
                assert len(self.other(side).got) == side.written
            self.settle_with(lambda: self.read(0), lambda: self.read(1))
            assert [side.room + SIZE * (side.written - self.other(side).read) for side in self.sides] == [
                WINDOW,
                WINDOW,
            ]
            self.settle_with(lambda: self.write(0, 4), lambda: self.write(1, 4))
            self.settle_with(lambda: self.close(0))
            assert [stream.ending is not None for stream in streams] == [True, True]
        elif self.sides[1].was_asked and not any(stream.is_forgotten for stream in streams):
            assert all(stream.ending is not None for stream in streams), "only one side knows of the end"
        self.now += 1000
        for stream in streams:
            stream.expire(self.now)
            assert stream.is_forgotten or stream.deadline is None

    def settle(self) -> None:
        """Have all arrive."""
        for _ in range(1000):
            if not self.arriving():
                return
            for way in self.arriving():
                self.arrive(way)
        raise AssertionError("messages go back and forth for ever")

    def settle_with(self, *steps: Callable[[], object]) -> None:
        """Do what programs do, and have all arrive."""
        for step in steps:
            step()
            self.settle()


ResumingMachine.TestCase.settings = examples(200, stateful_step_count=60)
TestResuming = ResumingMachine.TestCase
