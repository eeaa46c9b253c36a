"""A synchronous client for MeshAgent rooms: connect, see the peers, send, broadcast, receive.

::

    import meshsync

    with meshsync.connect("support", name="alice") as room:
        room.messaging.enable()
        bot = room.messaging.wait_for_participant(name="bot", timeout=10)
        room.messaging.send_message(to=bot, type="chat", message={"text": "hi"})
"""

from typing import TYPE_CHECKING

from meshsync import signals
from meshsync.asking.answers import Answers
from meshsync.connect import connect
from meshsync.connection.deliveries import Delivery
from meshsync.dispatch.receivers import Registration
from meshsync.dispatch.subscriptions import Subscription
from meshsync.errors import (
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    DeliveryUnknown,
    Dismissed,
    ForkedClientError,
    InvalidMessage,
    MeshsyncError,
    NotEnabled,
    NotSent,
    ParticipantNotFound,
    PermissionDenied,
    ProtocolError,
    ReceiveTimeout,
    Refuse,
    RequestError,
    RequestFailed,
    RequestInterrupted,
    RequestRefused,
    RoomError,
    RoomNotFound,
    RoomUnavailable,
    SendTimeout,
    StreamCancelled,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
    WouldDeadlock,
)
from meshsync.files.transfer import ReceivedFile, SentFile
from meshsync.hints import module_error
from meshsync.messages import RoomMessage, RoomMessageEvent
from meshsync.messaging import MessagingClient
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.room import ClientStats, RoomClient
from meshsync.streams.endpoints import MessageStreamReader, MessageStreamWriter
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.streams.offers import StreamSubscription
from meshsync.tokens import ApiKey, Grant, ParticipantToken
from meshsync.waiting.locks import Lock, RLock, Semaphore
from meshsync.waiting.queues import Queue
from meshsync.waiting.signalling import Barrier, Event
from meshsync.world import condition, monotonic, sleep, spawn, wall_time

__library__ = True  # see simulator/engine/marks.py

__version__: str = "0.2.0"

__all__ = [
    "Answers",
    "ApiKey",
    "AuthenticationFailed",
    "Barrier",
    "ClientClosed",
    "ClientStats",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "Delivery",
    "DeliveryUnknown",
    "Dismissed",
    "Event",
    "ForkedClientError",
    "Grant",
    "InvalidMessage",
    "LocalParticipant",
    "Lock",
    "MeshsyncError",
    "MessageStreamChunk",
    "MessageStreamReader",
    "MessageStreamWriter",
    "MessagingClient",
    "NotEnabled",
    "NotSent",
    "ParticipantNotFound",
    "ParticipantToken",
    "PermissionDenied",
    "ProtocolError",
    "Queue",
    "RLock",
    "ReceiveTimeout",
    "ReceivedFile",
    "Refuse",
    "Registration",
    "RemoteParticipant",
    "RequestError",
    "RequestFailed",
    "RequestInterrupted",
    "RequestRefused",
    "RoomClient",
    "RoomError",
    "RoomMessage",
    "RoomMessageEvent",
    "RoomNotFound",
    "RoomUnavailable",
    "Semaphore",
    "SendTimeout",
    "SentFile",
    "StreamCancelled",
    "StreamError",
    "StreamInterrupted",
    "StreamReader",
    "StreamRejected",
    "StreamSubscription",
    "StreamTimeout",
    "StreamWriter",
    "Subscription",
    "UsageError",
    "WouldDeadlock",
    "condition",
    "connect",
    "monotonic",
    "signals",
    "sleep",
    "spawn",
    "wall_time",
]

if not TYPE_CHECKING:  # To type checkers a wrong name is wrong.

    def __getattr__(name: str) -> None:
        raise module_error(__name__, name)
