"""The package's face: exactly the names that were promised, documented, and the events with their contents."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import meshsync
from meshsync import RoomMessageEvent
from meshsync.errors import ConnectionLost
from meshsync.protocol.operations import Push
from meshsync.signals import EVENTS
from tests.support.scripted import PATIENCE, ScriptedConnector, ScriptedTransport

NAMES = """
    connect RoomClient ClientStats MessagingClient Delivery Subscription Registration
    MessageStreamChunk MessageStreamReader MessageStreamWriter StreamReader StreamWriter StreamSubscription
    ReceivedFile SentFile
    RoomMessage RoomMessageEvent Answers LocalParticipant RemoteParticipant
    ApiKey Grant ParticipantToken
    condition monotonic signals sleep spawn wall_time
    Barrier Event Lock Queue RLock Semaphore
    MeshsyncError
    UsageError InvalidMessage NotEnabled WouldDeadlock ClientClosed ForkedClientError
    ConnectFailed AuthenticationFailed PermissionDenied RoomNotFound RoomUnavailable ConnectTimeout
    ConnectionLost NotSent DeliveryUnknown Dismissed
    RoomError ParticipantNotFound
    StreamError StreamRejected StreamInterrupted StreamCancelled StreamTimeout
    RequestError RequestRefused RequestFailed RequestInterrupted Refuse
    SendTimeout ReceiveTimeout ProtocolError
"""

READING = "accept close header read read_all reject sender stream_id writer"
WRITING = "abort close flush reader stream_id to write"

MEMBERS = {
    "Barrier": "abort broken n_waiting parties reset wait",
    "Event": "clear is_set set wait",
    "Lock": "acquire locked release",
    "Queue": "empty full get get_nowait join put put_nowait qsize task_done",
    "RLock": "acquire release",
    "Semaphore": "acquire release",
    "Answers": "asked close failures not_asked",
    "ApiKey": "key_id parse project_id secret",
    "ClientStats": """
        answers_dropped bytes_buffered bytes_received bytes_sent bytes_unacknowledged bytes_unread events_dropped
        messages_dropped packets_received packets_sent pending streams_refused subscriptions_failed
    """,
    "Delivery": "error is_done wait",
    "Grant": "name scope",
    "LocalParticipant": "attributes get_attribute id name role set_attribute",
    "MessageStreamChunk": "data header",
    "MessageStreamReader": READING,
    "MessageStreamWriter": f"{WRITING} peer_is_meshsync",
    "MessagingClient": """
        enable disable is_enabled remote_participants get_participant get_participant_by_name wait_for_participant
        send_message send_message_nowait broadcast_message broadcast_message_nowait create_stream send_file receive_file
        offered streams received messages wait_for_message on on_message off ask ask_all on_request off_request
    """,
    "ParticipantToken": """
        decode encode expires extra for_room grants key_id messaging name peek project_id role room version
    """,
    "ReceivedFile": "path sha256 size",
    "Registration": "cancel event receiver type",
    "RemoteParticipant": "attributes get_attribute id name online role",
    "RoomClient": """
        messaging local_participant room_name room_url session_id is_connected default_timeout stats close wait_closed
        state reconnect_now run_forever
    """,
    "RoomMessage": "attachment from_participant_id message sender type",
    "RoomMessageEvent": "error message name participant reply stream",
    "SentFile": "is_confirmed name sha256 size",
    "StreamReader": READING,
    "StreamSubscription": "close get pending timeout",
    "StreamWriter": WRITING,
    "Subscription": "close dropped get pending timeout",
}
"""The public names of each class that users meet: the documented face, and what docstrings have promised besides."""

OF_EVERY_ERROR = "connection_alive retryable"
OF_ERRORS = {
    meshsync.ConnectFailed: "hint http_status retry_after",
    meshsync.ConnectionLost: "clean code http_status reason",
    meshsync.RoomError: "code",
    meshsync.StreamRejected: "is_final",
    meshsync.RequestFailed: "id",
    meshsync.ProtocolError: "code",
}
"""What errors of a kind have besides."""

EVENT_NAMES = """
    message participant_added participant_removed participant_attributes_updated stream_opened stream_closed
    messaging_enabled messaging_disabled disconnected reconnected receiver_failed messages_dropped messages_missed
"""


def test_public_names_are_those_promised() -> None:
    """Nothing more, nothing less, in order, and all there."""
    assert meshsync.__all__ == sorted(NAMES.split(), key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(meshsync, name) for name in meshsync.__all__)


def members() -> Iterator[tuple[str, Any]]:
    """Yield public names, and the public members of public classes."""
    for name in meshsync.__all__:
        value = getattr(meshsync, name)
        yield name, value
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                yield f"{name}.{attribute}", member


@pytest.mark.parametrize(("name", "value"), [pytest.param(name, value, id=name) for name, value in members()])
def test_public_name_is_documented(name: str, value: Any) -> None:
    """Each has a docstring of its own, whose first line is a sentence."""
    text = value.__doc__ or ""
    if not inspect.isclass(value) and not name.endswith("signals"):
        text = inspect.getdoc(value) or ""
    first = text.strip().partition("\n\n")[0]
    assert len(first) > 10
    assert first.rstrip("`").endswith((".", ")", ":"))
    assert not text.startswith(f"{name}(")  # what a dataclass writes where nobody did


@pytest.fixture(scope="module")
def met() -> list[object]:
    """Return one of each that a program is handed, since some names are only those of an instance."""
    transport = ScriptedTransport(roster=[BOB])
    room = meshsync.connect(connector=ScriptedConnector(transport), default_timeout=PATIENCE)
    messaging = room.messaging
    messaging.enable()
    bob = messaging.remote_participants[0]
    objects = [room, messaging, bob, room.local_participant, room.stats(), messaging.on("message", print)]
    with messaging.messages() as messages, messaging.streams() as streams:
        objects += [messages, streams, messaging.send_message_nowait(bob, "chat", {})]
        transport.say(Push("p-2", "stream.open", {"stream_id": "s-1", "header": {}}))
        reader = streams.get(PATIENCE)
        objects += [reader, reader.writer]
    room.close(PATIENCE)
    return objects


def public(thing: object) -> set[str]:
    """Return the public names of a class or of an object."""
    return {name for name in dir(thing) if not name.startswith("_")}


def test_classes_have_the_public_names_that_were_promised_and_no_others(met: list[object]) -> None:
    """Each class of the package's face but errors, and what is handed out of it: no door that only our code uses."""
    classes = {name for name in meshsync.__all__ if inspect.isclass(getattr(meshsync, name))}
    errors = {name for name in classes if issubclass(getattr(meshsync, name), Exception)}
    assert set(MEMBERS) == classes - errors
    handed = {type(one).__name__: public(one) for one in met}
    seen = {name: public(getattr(meshsync, name)) | handed.get(name, set()) for name in MEMBERS}
    assert seen == {name: set(names.split()) for name, names in MEMBERS.items()}
    assert set(handed) <= set(MEMBERS)


@pytest.mark.parametrize("name", meshsync.errors.__all__)
def test_errors_have_the_public_names_that_were_promised_and_no_others(name: str) -> None:
    """Besides what every exception has, and every `OSError` where the error is a time-out."""
    kind = getattr(meshsync, name)
    promised = {OF_EVERY_ERROR, *(names for base, names in OF_ERRORS.items() if issubclass(kind, base))}
    builtin = public(TimeoutError()) if issubclass(kind, TimeoutError) else public(Exception())
    assert public(kind("text")) - builtin == set(" ".join(promised).split())


def test_events_are_those_of_the_table() -> None:
    """Each has a signal of that name."""
    assert list(EVENTS) == EVENT_NAMES.split()
    assert all(getattr(meshsync.signals, name) is signal for name, signal in EVENTS.items())


# --- what each event holds --------------------------------------------------------------------------------------------

BOB = {"id": "p-2", "role": "user", "attributes": {"name": "bob"}}
EVE = {"id": "p-3", "role": "agent", "attributes": {"name": "eve"}}


class Ears:
    """A client that notes every event, and the transport that plays its room."""

    def __init__(self) -> None:
        self.transport = ScriptedTransport(roster=[BOB])
        connector = ScriptedConnector(self.transport)
        self.room = meshsync.connect(connector=connector, default_timeout=PATIENCE, reconnect=False)
        self.heard: list[RoomMessageEvent] = []
        for name in EVENTS:
            self.room.messaging.on(name, self.heard.append)

    def finish(self) -> list[tuple[str, str, Any]]:
        """Close, and return name, type and body of all that was heard before that."""
        self.room.close(PATIENCE)
        with suppress(ConnectionLost):  # It may be lost already.
            assert self.room.wait_closed(PATIENCE)
        return [(event.name, event.message.type, event.message.message) for event in self.heard]


@pytest.fixture
def ears() -> Ears:
    """Return a client that has enabled messaging, with bob there."""
    ears = Ears()
    ears.room.messaging.enable()
    return ears


BEGAN = [
    ("messaging_enabled", "messaging.enabled", {"participants": [BOB]}),
    ("participant_added", "participant.enabled", BOB),
]
ENDED = [
    ("participant_removed", "participant.disabled", {"id": "p-2"}),
    ("disconnected", "disconnected", {"reason": "closed by this program", "will_retry": False}),
]


def test_enabling_and_closing_are_told(ears: Ears) -> None:
    """Those already there are added, all are removed, and the end comes once, without an error."""
    assert ears.finish() == BEGAN + ENDED
    bob = ears.heard[1].participant
    assert isinstance(bob, meshsync.RemoteParticipant)
    assert [event.participant for event in ears.heard] == [None, bob, bob, None]
    assert [event.message.from_participant_id for event in ears.heard] == ["", "p-2", "p-2", ""]
    assert not bob.online
    assert ears.heard[-1].error is None


def test_coming_changing_and_going_are_told(ears: Ears) -> None:
    """With what the table says of each, the changes already applied."""
    ears.transport.say(
        Push("p-3", "participant.enabled", EVE),
        Push("p-3", "participant.attributes", {"attributes": {"mood": "calm"}}),
        Push("p-3", "participant.disabled", {"id": "p-3"}),
    )
    ears.transport.say(Push("p-2", "last", {}))
    heard = ears.finish()
    assert heard[2:6] == [
        ("participant_added", "participant.enabled", EVE),
        ("participant_attributes_updated", "participant.attributes", {"attributes": {"mood": "calm"}}),
        ("participant_removed", "participant.disabled", {"id": "p-3"}),
        ("message", "last", {}),
    ]
    eve = ears.heard[3].participant
    assert eve is not None
    assert eve.attributes == {"name": "eve", "mood": "calm"}


def test_disabling_is_told(ears: Ears) -> None:
    """Removals first, then that messaging is disabled."""
    ears.room.messaging.disable()
    ears.room.messaging.disable()
    assert ears.room.messaging.remote_participants == ()
    assert ears.finish() == [*BEGAN, ENDED[0], ("messaging_disabled", "messaging.disabled", {}), ENDED[1]]


def test_message_is_told_with_its_sender(ears: Ears) -> None:
    """Type and body are the sender's, the attachment is bytes, and the sender an object if it is known."""
    bob = ears.room.messaging.remote_participants[0]
    ears.transport.say(Push("p-2", "chat", {"n": 1}, b"\1"), Push("p-9", "chat", {}), Push("p-me", "chat", {}))
    assert ears.finish()[2] == ("message", "chat", {"n": 1})
    first, second, third = ears.heard[2:5]
    assert (first.participant, first.message.sender, first.message.attachment) == (bob, bob, b"\1")
    assert (second.participant, second.message.from_participant_id, second.message.attachment) == (None, "p-9", b"")
    assert third.participant is ears.room.local_participant


def test_message_named_like_an_event_is_only_a_message(ears: Ears) -> None:
    """Message types are a namespace of their own."""
    names = list(EVENTS)
    ears.transport.say(*[Push("p-2", name, {}) for name in names])
    heard = ears.finish()
    assert [(name, type) for name, type, _ in heard[2:-2]] == [("message", name) for name in names]


def test_loss_is_told_once_with_its_error(ears: Ears) -> None:
    """The reason is in the body, the error beside it."""
    ears.transport.lose("reset by peer")
    with pytest.raises(ConnectionLost, match="reset by peer"):
        ears.room.wait_closed(PATIENCE)
    assert ears.finish()[-1] == ("disconnected", "disconnected", {"reason": "reset by peer", "will_retry": False})
    assert isinstance(ears.heard[-1].error, ConnectionLost)
    assert [event.name for event in ears.heard].count("disconnected") == 1
