"""Duplex streams of the client, against a scripted room that passes calls on as PROTOCOL.md, section 9, has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

import meshsync
from meshsync import MessageStreamChunk, StreamInterrupted, StreamReader, StreamRejected
from meshsync.protocol.bridging import CHUNK_TYPE, OPEN_TYPE
from meshsync.protocol.content import Content, Control, Error, ErrorCode, Text
from meshsync.protocol.operations import (
    Accepted,
    AnswerCall,
    AnswerChunk,
    Call,
    CallChunk,
    CallEnded,
    CallMessage,
    ChunkContent,
    Enable,
    OpenCall,
    Push,
    RecipientGone,
    Reply,
    Request,
    Send,
)
from meshsync.streams import opening
from tests.support.scripted import PATIENCE, ScriptedConnector, ScriptedTransport, wait_until

BOB = {"id": "p-2", "role": "user", "attributes": {"name": "bob"}}
JOIN = 7
"""The message id of the call that bob opens."""
T = TypeVar("T")


class Lab:
    """A client that takes part, with bob there, who is the test."""

    def __init__(self, dialect: str = "B", *, bridges: bool = False) -> None:
        self.transport = ScriptedTransport(roster=[BOB])
        if bridges:
            self.transport.roster_extras = {"meshsync": {"bridges": True}}
        self.transport.is_silent_on_calls = True
        self.room = meshsync.connect(
            connector=ScriptedConnector(self.transport), default_timeout=PATIENCE, dialect=dialect
        )
        self.offered: list[StreamReader] = []
        self.room.messaging.enable(self.offered.append)
        self.bob = self.room.messaging.remote_participants[0]

    def background(self, call: Callable[[], T]) -> Callable[[], T]:
        """Run a call in a thread; return what waits for its outcome."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(call())
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()

        def wait() -> T:
            thread.join(PATIENCE)
            assert outcome, "it did not end"
            if isinstance(outcome[0], BaseException):
                raise outcome[0]
            result: T = outcome[0]
            return result

        return wait

    def said(self, kind: type[T]) -> list[T]:
        """Return the requests of a kind that the client made."""
        return [request for _, request in self.transport.requests if isinstance(request, kind)]

    def await_said(self, kind: type[T], count: int = 1) -> list[T]:
        """Wait for requests of a kind."""
        wait_until(lambda: len(self.said(kind)) >= count)
        return self.said(kind)

    # --- bob calls ----------------------------------------------------------------------------------------------------

    def ring(self, *first: ChunkContent, call_id: str = "x-1") -> None:
        """Open a call from bob."""
        self.transport.say(Call(JOIN, call_id, "p-2", "stream", Control("open")))
        for content in first or (CallMessage(OPEN_TYPE, {"k": 1}, sender="p-2"),):
            self.transport.say(CallChunk(call_id, content))

    def caller_says(self, content: ChunkContent, call_id: str = "x-1") -> None:
        """Have something come from bob, who called."""
        self.transport.say(CallChunk(call_id, content))

    # --- bob is called ------------------------------------------------------------------------------------------------

    def opening(self) -> tuple[int, str]:
        """Wait for the client's call; return its request's id and the call's."""
        self.await_said(CallChunk)
        [(request_id, request)] = [(i, r) for i, r in self.transport.requests if isinstance(r, OpenCall)]
        return request_id, request.call_id

    def answer(self, content: Content) -> str:
        """Answer the client's call as bob; return the call's id."""
        request_id, call_id = self.opening()
        self.transport.say(Reply(request_id, content))
        return call_id

    def accept(self) -> str:
        """Accept the client's call as bob and the room do; return the call's id."""
        call_id = self.answer(Control("open"))
        self.recipient_says(Accepted(call_id))
        return call_id

    def recipient_says(self, content: ChunkContent) -> None:
        """Have something come from bob, who was called."""
        self.transport.say(AnswerChunk(99, self.opening()[1], content))

    def open(self) -> meshsync.StreamWriter:
        """Open a stream to bob by a call, and return it accepted."""
        opened = self.background(lambda: self.room.messaging.create_stream(self.bob, {"k": 1}, kind="duplex"))
        self.accept()
        return opened()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return a client and bob."""
    lab = Lab()
    yield lab
    lab.room.close(PATIENCE)


def test_enabling_says_which_streams_are_understood(lab: Lab) -> None:
    """A room that bridges streams has to know that this client needs no bridge."""
    assert lab.said(Enable) == [Enable(("classic", "duplex"))]


# --- who calls --------------------------------------------------------------------------------------------------------


def test_caller_opens_writes_and_closes(lab: Lab) -> None:
    """The recipient is named in the first chunk alone; chunks and close are not acknowledged and not waited for."""
    with lab.open() as writer:
        writer.write(MessageStreamChunk({"n": 1}, b"data"))
        writer.flush()
    call_id = writer.stream_id
    assert lab.said(OpenCall) == [OpenCall(call_id)]
    assert lab.said(CallChunk) == [
        CallChunk(call_id, CallMessage(OPEN_TYPE, {"k": 1}, b"", to="p-2")),
        CallChunk(call_id, CallMessage(CHUNK_TYPE, {"n": 1}, b"data")),
        CallChunk(call_id, Control("close")),
    ]


def test_caller_reads_what_the_recipient_says(lab: Lab) -> None:
    """Messages of any type, and the regular end."""
    writer = lab.open()
    lab.recipient_says(CallMessage(CHUNK_TYPE, {"n": 1}, b"data"))
    lab.recipient_says(CallMessage("ask", {"q": "why"}))
    lab.recipient_says(Control("close"))
    assert list(writer.reader) == [
        MessageStreamChunk({"n": 1}, b"data"),
        MessageStreamChunk({"q": "why", "meshsync.type": "ask"}),
    ]
    writer.close()  # It has ended regularly.


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ((Control("close", 1007, "no such thing"),), "no such thing"),
        ((Error("broken"), Control("close", 1007)), "broken"),
        ((CallEnded("closed", "out of order"),), "out of order"),
        ((RecipientGone("p-2"), Control("close")), "left"),
    ],
)
def test_irregular_ends_interrupt_the_caller(lab: Lab, end: tuple[ChunkContent, ...], told: str) -> None:
    """What came before is read first."""
    writer = lab.open()
    for content in (CallMessage(CHUNK_TYPE, {}, b"1"), *end):
        lab.recipient_says(content)
    assert writer.reader.read(PATIENCE) == MessageStreamChunk({}, b"1")
    with pytest.raises(StreamInterrupted, match=told):
        writer.reader.read(PATIENCE)
    with pytest.raises(meshsync.StreamCancelled, match=told):
        writer.write(b"more")


def test_caller_that_fails_says_so(lab: Lab) -> None:
    """A call can send an irregular end without agreement on it."""
    with pytest.raises(KeyError), lab.open():
        raise KeyError("boom")
    assert lab.said(CallChunk)[-1].content == Control("close", 1011, "the program failed (KeyError)")


@pytest.mark.parametrize(
    ("answer", "expected", "text"),
    [
        (Error("in a meeting"), StreamRejected, "in a meeting"),
        (Error("no room", ErrorCode.OPERATION_FAILED), StreamRejected, "no room"),
        (Error("nobody", ErrorCode.NOT_FOUND), meshsync.ParticipantNotFound, "nobody"),
        (Error("too slow", ErrorCode.TIMEOUT), meshsync.StreamTimeout, "too slow"),
    ],
)
def test_refused_call_raises(lab: Lab, answer: Error, expected: type[Exception], text: str) -> None:
    """The recipient's words or the room's; and nothing is left behind."""
    opened = lab.background(lambda: lab.room.messaging.create_stream(lab.bob, kind="duplex"))
    lab.answer(answer)
    with pytest.raises(expected, match=text):
        opened()
    assert not lab.room.messaging._meshsync.streams.streams
    assert not lab.room.messaging._meshsync.streams.calls


def test_unanswered_call_is_given_up(lab: Lab) -> None:
    """The other side is told, so that a late consent opens nothing."""
    with pytest.raises(meshsync.StreamTimeout, match="bob did not answer"):
        lab.room.messaging.create_stream(lab.bob, kind="duplex", timeout=0.05)
    assert lab.said(CallChunk)[-1].content == Control("close", 1011)
    lab.recipient_says(Accepted(lab.said(OpenCall)[0].call_id))
    lab.transport.say(Push("p-2", "last", {}))
    assert lab.room.messaging.remote_participants == (lab.bob,)


# --- who is called ----------------------------------------------------------------------------------------------------


def test_recipient_accepts_reads_and_writes_back(lab: Lab) -> None:
    """All under the id of the call's message, after consent."""
    lab.ring()
    wait_until(lambda: bool(lab.offered))
    assert lab.await_said(AnswerCall) == [AnswerCall(JOIN, Control("open"))]
    reader = lab.offered[0]
    assert (reader.header, reader.sender, reader.stream_id) == ({"k": 1}, lab.bob, "x-1")
    lab.caller_says(CallMessage(CHUNK_TYPE, {"n": 1}, b"data"))
    assert reader.read(PATIENCE) == MessageStreamChunk({"n": 1}, b"data")
    reader.writer.write(MessageStreamChunk({"n": 2}, b"back"))
    reader.writer.close()
    assert lab.said(AnswerChunk) == [
        AnswerChunk(JOIN, "x-1", CallMessage(CHUNK_TYPE, {"n": 2}, b"back")),
        AnswerChunk(JOIN, "x-1", Control("close")),
    ]


def test_caller_ends_regularly_and_not(lab: Lab) -> None:
    """Status 1000 is the end; any other tells of a failure."""
    lab.ring()
    lab.ring(call_id="x-2")
    wait_until(lambda: len(lab.offered) == 2)
    by_id = {reader.stream_id: reader for reader in lab.offered}
    lab.caller_says(Control("close"))
    lab.caller_says(Control("close", 1011, "boom"), call_id="x-2")
    assert by_id["x-1"].read(PATIENCE) is None
    with pytest.raises(StreamInterrupted, match="boom"):
        by_id["x-2"].read(PATIENCE)


def test_recipient_without_callback_refuses() -> None:
    """Rather than leaving the caller to the room's time limit."""
    lab = Lab()
    lab.room.messaging.enable()
    lab.ring()
    assert lab.await_said(AnswerCall) == [AnswerCall(JOIN, Error("Streams are not allowed by this client"))]
    lab.room.close(PATIENCE)


@pytest.mark.parametrize(
    ("call", "first", "text"),
    [
        (Call(JOIN, "x-1", "p-2", "telephone", Control("open")), (), "begins with opening"),
        (Call(JOIN, "x-1", "p-2", "stream", Text("open")), (), "begins with opening"),
        (Call(JOIN, "x-1", "p-2", "stream", Control("open")), (CallMessage(OPEN_TYPE, {}),), "from whom"),
        (Call(JOIN, "x-1", "p-2", "stream", Control("open")), (Text("hi"),), "from whom"),
        (
            Call(JOIN, "x-1", "p-9", "stream", Control("open")),
            (CallMessage(OPEN_TYPE, {}, sender="p-9"),),
            "unknown participant",
        ),
    ],
)
def test_faulty_call_is_refused(lab: Lab, call: Call, first: tuple[ChunkContent, ...], text: str) -> None:
    """With what is wrong with it, and the client goes on."""
    lab.transport.say(call, *(CallChunk(call.call_id, content) for content in first))
    [answer] = lab.await_said(AnswerCall)
    assert isinstance(answer.content, Error)
    assert text in answer.content.text
    lab.ring(call_id="x-2")
    wait_until(lambda: bool(lab.offered))


def test_words_for_no_call_cost_nothing(lab: Lab) -> None:
    """Nor does giving up before the first message."""
    lab.caller_says(CallMessage(CHUNK_TYPE, {}), call_id="nobody's")
    lab.transport.say(AnswerChunk(3, "nobody's", Accepted("nobody's")))
    lab.ring(Control("close"))
    lab.ring(call_id="x-2")
    wait_until(lambda: bool(lab.offered))
    assert [reader.stream_id for reader in lab.offered] == ["x-2"]
    assert lab.await_said(AnswerCall) == [AnswerCall(JOIN, Control("open"))]


def test_held_calls_are_bounded(lab: Lab) -> None:
    """The oldest of those that never say who they are is refused."""
    for number in range(65):
        lab.transport.say(Call(100 + number, f"x-{number}", "p-2", "stream", Control("open")))
    assert lab.await_said(AnswerCall) == [AnswerCall(100, Error("too many calls"))]


# --- not knowing what the other side understands ----------------------------------------------------------------------


def open_stream(lab: Lab, **options: Any) -> Callable[[], meshsync.StreamWriter]:
    """Begin to open a stream to bob."""
    return lab.background(lambda: lab.room.messaging.create_stream(lab.bob, {"k": 1}, **options))


def kinds_offered(lab: Lab) -> list[str]:
    """Return how streams were offered, in order."""
    kinds: dict[type[Request], str] = {Send: "classic", OpenCall: "duplex"}
    requests = [request for _, request in lab.transport.requests]
    opens = [r for r in requests if isinstance(r, OpenCall) or (isinstance(r, Send) and r.type == "stream.open")]
    return [kinds[type(request)] for request in opens]


def test_silence_leads_to_a_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was offered by a message is offered by a call of the same id; the next stream goes by a call at once."""
    monkeypatch.setattr(opening, "PATIENCE", 0.02)
    opened = open_stream(lab)
    call_id = lab.accept()
    writer = opened()
    assert kinds_offered(lab) == ["classic", "duplex"]
    [offer] = [send for send in lab.said(Send) if send.type == "stream.open"]
    assert offer.message["stream_id"] == call_id == writer.stream_id
    writer.write(b"by call")
    assert lab.said(CallChunk)[-1].content == CallMessage(CHUNK_TYPE, {}, b"by call")
    before = len(lab.said(CallChunk))
    again = lab.background(lambda: lab.room.messaging.create_stream(lab.bob, {}))
    lab.await_said(CallChunk, before + 1)
    assert kinds_offered(lab) == ["classic", "duplex", "duplex"]
    lab.transport.lose()
    with pytest.raises(meshsync.ConnectionLost):
        again()


def test_late_answer_to_the_message_counts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is given up then, and what the room says of it does not matter."""
    monkeypatch.setattr(opening, "PATIENCE", 0.02)
    opened = open_stream(lab)
    call_id = lab.answer(Error("the tool is unknown", ErrorCode.INVALID_REQUEST))
    lab.transport.say(Push("p-2", "stream.accept", {"stream_id": call_id}))
    writer = opened()
    assert lab.said(CallChunk)[-1].content == Control("close")
    writer.write(b"by message")
    assert [send.type for send in lab.said(Send)] == ["stream.open", "stream.chunk"]


def test_refusal_by_the_other_side_counts_in_either_way(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipients refuse without a code, rooms with one."""
    monkeypatch.setattr(opening, "PATIENCE", 0.02)
    opened = open_stream(lab)
    lab.answer(Error("in a meeting"))
    with pytest.raises(StreamRejected, match="in a meeting"):
        opened()


@pytest.mark.parametrize(
    ("dialect", "kind", "bridges"), [("B", "classic", False), ("A", "auto", False), ("B", "auto", True)]
)
def test_no_call_is_made(dialect: str, kind: str, bridges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If none is wanted, or the room may be as old as what is spoken, or says that it bridges."""
    monkeypatch.setattr(opening, "PATIENCE", 0.02)
    lab = Lab(dialect, bridges=bridges)
    opened = open_stream(lab, kind=kind, timeout=0.1)
    with pytest.raises(meshsync.StreamTimeout):
        opened()
    assert kinds_offered(lab) == ["classic"]
    lab.room.close(PATIENCE)


def test_offer_in_both_ways_is_one(lab: Lab) -> None:
    """An opener that does not know what this client understands is asked once."""
    lab.transport.say(Push("p-2", "stream.open", {"stream_id": "x-1", "header": {"k": 1}}))
    wait_until(lambda: bool(lab.offered))
    lab.ring()
    lab.ring(call_id="x-2")
    wait_until(lambda: len(lab.offered) == 2)
    assert [reader.stream_id for reader in lab.offered] == ["x-1", "x-2"]
    assert lab.await_said(AnswerCall) == [AnswerCall(JOIN, Control("open"))]


def test_unknown_kind_is_refused(lab: Lab) -> None:
    """Naming those there are."""
    with pytest.raises(ValueError, match="auto, classic, duplex"):
        lab.room.messaging.create_stream(lab.bob, kind="telegraph")  # type: ignore[call-overload]


def test_late_consent_to_a_call_that_was_given_up_is_answered_with_the_end(lab: Lab) -> None:
    """Its acceptor would wait for ever, and must not take what came for complete."""
    lab.transport.say(AnswerChunk(3, "x-1", Accepted("x-1")))
    assert lab.await_said(CallChunk) == [CallChunk("x-1", Control("close", 1011))]


def test_a_program_that_decides_at_once_leaves_no_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback may be through before the task that gave it the stream goes on."""
    connection = lab.room.messaging._meshsync
    spawn = connection.spawn

    def spawn_and_wait(target: Callable[[], None], name: str) -> None:
        is_done = threading.Event()

        def run() -> None:
            try:
                target()
            finally:
                is_done.set()

        spawn(run, name)
        assert is_done.wait(PATIENCE)

    monkeypatch.setattr(connection, "spawn", spawn_and_wait)
    lab.room.messaging.enable(lambda reader: reader.reject("no"))
    lab.ring()
    assert lab.await_said(AnswerCall) == [AnswerCall(JOIN, Error("no"))]
    lab.ring(call_id="x-2")
    lab.await_said(AnswerCall, 2)
    wait_until(lambda: not lab.room.messaging._meshsync.streams.calls)
    assert lab.room.messaging._meshsync.streams.streams == ()
