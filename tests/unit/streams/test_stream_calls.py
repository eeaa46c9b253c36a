"""What the operations of calls come to as messages of streams, without a client: values in, values out."""

from __future__ import annotations

from typing import Any

import pytest

from meshsync.connection.deliveries import Delivery
from meshsync.errors import (
    ClientClosed,
    ConnectionLost,
    MeshsyncError,
    ParticipantNotFound,
    RoomError,
    StreamRejected,
    StreamTimeout,
)
from meshsync.protocol.bridging import CHUNK_TYPE, OPEN_TYPE
from meshsync.protocol.content import Control, ErrorCode
from meshsync.protocol.operations import (
    Accepted,
    AnswerChunk,
    Call,
    CallChunk,
    CallMessage,
    ChunkContent,
    RecipientGone,
)
from meshsync.protocol.stream_messages import Accept, Cancel, Close, Open, Reject, StreamChunk, StreamMessage
from meshsync.streams.channels import CallerChannel, RecipientChannel
from meshsync.streams.duplex import ForStream, Offered, Returned, StreamCalls, refusal_of
from tests.support.stream_tables import RUNTIME, RecordingConnection

KEY = ("p-2", "x-1")
CALL = Call(7, "x-1", "p-2", "stream", Control("open"))


class CallsOfClient(StreamCalls):
    """The calls of a client over a connection that carries none."""

    def __init__(self) -> None:
        self.connection = RecordingConnection()
        super().__init__(self.connection)

    def called(self) -> RecipientChannel:
        """Note a stream that bob has offered by a call."""
        channel = RecipientChannel(self.connection, 7)
        self.add(KEY, channel)
        return channel

    def calling(self) -> CallerChannel:
        """Note a stream that is offered to bob by a call."""
        channel = CallerChannel(self.connection, "p-2", lambda error: None)
        self.add(KEY, channel)
        return channel


@pytest.fixture
def calls() -> CallsOfClient:
    """Return no calls yet."""
    return CallsOfClient()


def test_a_call_is_an_offer_with_its_first_message(calls: CallsOfClient) -> None:
    """Before it nothing is known; after it the message is not held."""
    assert calls.receive(CALL) is None
    offered = calls.receive(CallChunk("x-1", CallMessage(OPEN_TYPE, {"k": 1}, sender="p-2")))
    assert isinstance(offered, Offered)
    assert (offered.message, offered.sender) == (Open("x-1", {"k": 1}), "p-2")
    assert isinstance(offered.channel, RecipientChannel)
    assert calls.receive(CallChunk("x-1", CallMessage(CHUNK_TYPE, {}))) is None


@pytest.mark.parametrize("is_taken_by", ["a held call", "a stream"])
def test_a_call_with_an_id_in_use_is_refused(calls: CallsOfClient, is_taken_by: str) -> None:
    """Its caller is told at once."""
    if is_taken_by == "a stream":
        calls.called()
    else:
        calls.receive(CALL)
    returned = calls.receive(CALL)
    assert isinstance(returned, Returned)
    assert returned.message == Reject("x-1", "the id of the call is in use")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CallMessage(CHUNK_TYPE, {"n": 1}, b"data"), StreamChunk("x-1", {"n": 1}, b"data")),
        (Control("close"), Close("x-1")),
        (Control("close", 1011, "boom"), Cancel("x-1", "boom")),
    ],
)
def test_what_a_caller_sends_is_for_its_stream(
    calls: CallsOfClient, content: ChunkContent, message: StreamMessage
) -> None:
    """With the channel by which it came; what comes from the wrong side is nobody's."""
    channel = calls.called()
    assert calls.receive(CallChunk("x-1", content)) == ForStream(KEY, message, channel)
    assert calls.receive(AnswerChunk(7, "x-1", content)) is None


def test_a_consent_names_the_channel_that_carries_the_stream(calls: CallsOfClient) -> None:
    """The stream may have been offered by messages as well."""
    channel = calls.calling()
    assert calls.receive(AnswerChunk(7, "x-1", Accepted("x-1"))) == ForStream(KEY, Accept("x-1"), channel)


def test_an_end_after_the_recipient_is_gone_is_not_a_regular_one(calls: CallsOfClient) -> None:
    """The room says first that it is gone."""
    channel = calls.calling()
    assert calls.receive(AnswerChunk(7, "x-1", RecipientGone("p-2"))) is None
    assert calls.receive(AnswerChunk(7, "x-1", Control("close"))) == ForStream(KEY, Cancel("x-1", "left"), channel)


def test_a_forgotten_call_says_nothing(calls: CallsOfClient) -> None:
    """One of another participant with the same id stays."""
    calls.called()
    calls.forget(("p-3", "x-1"))
    assert len(calls) == 1
    calls.forget(KEY)
    calls.forget(KEY)
    assert len(calls) == 0
    assert calls.receive(CallChunk("x-1", Control("close"))) is None


@pytest.mark.parametrize(
    ("error", "alone", "refusal"),
    [
        (None, True, None),
        (ConnectionLost("lost"), False, ConnectionLost),
        (RoomError("busy", None), False, StreamRejected),
        (RoomError("no tool", ErrorCode.INVALID_REQUEST), False, None),
        (RoomError("no tool", ErrorCode.INVALID_REQUEST), True, StreamRejected),
        (RoomError("slow", ErrorCode.TIMEOUT), True, StreamTimeout),
        (ParticipantNotFound("gone", ErrorCode.NOT_FOUND), True, ParticipantNotFound),
    ],
)
def test_answers_of_a_room_count_only_where_no_other_can_come(
    error: MeshsyncError | None, alone: bool, refusal: type[MeshsyncError] | None
) -> None:
    """Those of the peer, which have no code, count always."""
    found = refusal_of(error, alone=alone)
    assert type(found) is (refusal or type(None))


def test_an_answer_to_a_call_that_cannot_begin_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room answers a call when its first message comes; closing waited for that, for half of its time."""
    calls = CallsOfClient()
    channel, opening, disregarded = calls.calling(), Delivery("it", RUNTIME, lambda what: None), []

    def refuse(operation: object, *arguments: Any) -> Delivery:
        if isinstance(operation, CallChunk):
            raise ClientClosed("it is being closed")
        return opening

    monkeypatch.setattr(calls.connection, "request", refuse)
    monkeypatch.setattr(calls.connection, "disregard", disregarded.append)
    with pytest.raises(ClientClosed):
        channel.send(Open("x-1", {}), "calling bob", 1.0)
    assert disregarded == [opening]
