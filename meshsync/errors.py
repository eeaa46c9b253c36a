"""Every error of meshsync, as one tree.

::

    MeshsyncError
    ├── UsageError                the program erred
    │   ├── InvalidMessage          (ValueError) a value that JSON or the room cannot carry
    │   ├── NotEnabled              messaging is not enabled on this client
    │   ├── WouldDeadlock           the call could never return from where it was made
    │   ├── ClientClosed            the client was closed by this program
    │   └── ForkedClientError       the client belongs to the parent process
    ├── ConnectFailed             no connection came about
    │   ├── AuthenticationFailed    401: the token was rejected, or none was found
    │   ├── PermissionDenied        403: the token is good, but not for this
    │   ├── RoomNotFound            404, or a name that cannot be a room's
    │   ├── RoomUnavailable         423, 429, 5xx, refused, unreachable, closed before ready
    │   └── ConnectTimeout          (TimeoutError) the time limit passed first
    ├── ConnectionLost            a connection that stood has ended
    │   ├── NotSent                 this delivery never left: safe to repeat
    │   ├── DeliveryUnknown         this delivery may or may not have arrived
    │   └── Dismissed               a participant dismissed this client
    ├── RoomError                 the room refused a request
    │   └── ParticipantNotFound     no participant has that id
    ├── StreamError               one stream failed, the client goes on
    │   ├── StreamRejected          the peer declined it
    │   ├── StreamInterrupted       it ended before its end
    │   ├── StreamCancelled         the reader wants no more of it
    │   └── StreamTimeout           (TimeoutError)
    ├── RequestError              one question has no answer, the client goes on
    │   ├── RequestRefused          the answerer declined it
    │   ├── RequestFailed           the answerer's handler failed
    │   └── RequestInterrupted      the answerer, or the connection, left before answering
    ├── Refuse                    what a handler raises to decline a question
    ├── SendTimeout               (TimeoutError) no acknowledgement within the time limit
    ├── ReceiveTimeout            (TimeoutError) nothing came within the time limit
    └── ProtocolError             the peer broke the protocol

The class names the party that erred. Two attributes tell what to do: ``retryable``, whether the same call may succeed
later and is safe to repeat, and ``connection_alive``, whether the connection is still there; a client that makes lost
connections anew goes on in any case.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationFailed",
    "ClientClosed",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "DeliveryUnknown",
    "Dismissed",
    "ForkedClientError",
    "InvalidMessage",
    "MeshsyncError",
    "NotEnabled",
    "NotSent",
    "ParticipantNotFound",
    "PermissionDenied",
    "ProtocolError",
    "ReceiveTimeout",
    "Refuse",
    "RequestError",
    "RequestFailed",
    "RequestInterrupted",
    "RequestRefused",
    "RoomError",
    "RoomNotFound",
    "RoomUnavailable",
    "SendTimeout",
    "StreamCancelled",
    "StreamError",
    "StreamInterrupted",
    "StreamRejected",
    "StreamTimeout",
    "UsageError",
    "WouldDeadlock",
]


class MeshsyncError(Exception):
    """The root of all errors that meshsync and its simulator raise on purpose.

    What to do: catch it where any of them is handled alike, and look at ``retryable`` and ``connection_alive``.
    """

    retryable: bool = False
    """Whether the same call may succeed later and is safe to repeat."""

    connection_alive: bool = True
    """Whether the connection is still there; a client that makes lost ones anew can be used in any case."""

    def _render_traceback_(self) -> list[str]:
        from meshsync.notebook import render_traceback  # IPython asks for it, and nothing else.

        return render_traceback(self)


# --- the program erred ------------------------------------------------------------------------------------------------


class UsageError(MeshsyncError):
    """The program asked for something that cannot be done; nothing was sent.

    What to do: change the program; the text says what it asked for and what can be asked.
    """


class InvalidMessage(UsageError, ValueError):
    """A message, header or attribute cannot be carried; the text names the place in it.

    What to do: change the value at the place that the text names, or send what is too large in parts, as a stream.
    """


class NotEnabled(UsageError):
    """Messaging is not enabled on this client.

    What to do: call ``room.messaging.enable()`` first.
    """


class WouldDeadlock(UsageError):
    """The call could never return from the task it was made in.

    What to do: make the call from another task, or let the receiver return first.
    """


class ClientClosed(UsageError):
    """The client was closed by this program and does not open again.

    What to do: connect anew, or see who closed it too early: the end of a ``with`` block, often.
    """

    connection_alive = False


class ForkedClientError(UsageError):
    """The client was made before a ``fork`` and belongs to the parent process.

    What to do: connect anew in the child.
    """

    connection_alive = False


# --- no connection came about -----------------------------------------------------------------------------------------


class ConnectFailed(MeshsyncError):
    """No connection came about.

    What to do: read the text, and run ``meshsync doctor`` with the same arguments: it finds the step that fails.

    Attributes:
        http_status: The status with which the handshake was refused, if it got that far.
        retry_after: Seconds after which the server wants to be asked again, if it said so (``Retry-After``).
        hint: The end of the text that tells what to do, if it has one.
    """

    connection_alive = False
    _is_final = False
    """Whether trying again would change nothing, whatever the status: a certificate is not trusted."""
    _was_cut = False
    """Whether a connection stood, and was cut before the server answered: something is there."""

    def __init__(
        self, text: str, *, http_status: int | None = None, retry_after: float | None = None, hint: str = ""
    ) -> None:
        super().__init__(text + hint)
        self.hint = hint
        self.http_status = http_status
        self.retry_after = retry_after


class AuthenticationFailed(ConnectFailed):
    """The token was rejected (HTTP 401), or neither a token nor a key was found.

    What to do: give a token or key that is good for this address: ``meshsync doctor`` shows which one was found.
    """


class PermissionDenied(ConnectFailed):
    """The token is genuine but does not admit to this room (HTTP 403).

    What to do: have a token made for this room, by whoever has the key.
    """


class RoomNotFound(ConnectFailed):
    """There is no such room (HTTP 404), or the name cannot be one.

    What to do: correct the room's name or the address.
    """


class RoomUnavailable(ConnectFailed):
    """The room is not available now: refused, unreachable, disabled, overloaded, or closed before it was ready.

    What to do: try again later, or have ``connect(retry=True)`` do so; with an emulator, start it.
    """

    retryable = True


class ConnectTimeout(ConnectFailed, TimeoutError):
    """The connection was not ready within the time limit.

    What to do: try again, or allow more ``timeout``; ``meshsync doctor`` finds which step takes so long.
    """

    retryable = True


# --- a connection that stood has ended --------------------------------------------------------------------------------


class ConnectionLost(MeshsyncError):
    """The connection ended.

    What to do: connect anew if this ended the client; with ``reconnect=True`` it comes back by itself.

    Attributes:
        code: The WebSocket close code, or None if the connection ended without one (RFC 6455, section 7.4).
        reason: The peer's reason, or the cause observed here.
        clean: Whether both sides sent a close frame.
        http_status: The status of the handshake, if it was refused.
    """

    connection_alive = False
    _is_final = False
    """Whether a new connection would change nothing, whatever the code: the client itself failed."""

    def __init__(
        self,
        text: str,
        *,
        code: int | None = None,
        reason: str = "",
        clean: bool = False,
        http_status: int | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.clean = clean
        self.http_status = http_status


class NotSent(ConnectionLost):
    """The connection ended before a byte of this delivery was written: safe to repeat on a new connection.

    What to do: send it again, unless the recipient is gone.
    """

    retryable = True


class DeliveryUnknown(ConnectionLost):
    """The connection ended after this delivery was written, or begun, and before it was acknowledged.

    What to do: find out by asking the recipient, or send again what may be handled twice; ``confirm=True`` avoids it.
    """


class Dismissed(ConnectionLost):
    """A participant sent the message ``dismiss``, on which clients of the newest dialect leave for good.

    Any participant may send it (PROTOCOL.md, section 10).

    What to do: stay away, or connect anew if the program is to be there all the same.
    """


# --- the room refused -------------------------------------------------------------------------------------------------


class RoomError(MeshsyncError):
    """The room answered a request with an error.

    What to do: look at ``code`` and the text, which is the room's.

    Attributes:
        code: The room's number for it, or None. Known ones are listed in ``meshsync.protocol.content``.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class ParticipantNotFound(RoomError):
    """No participant of the room's messaging has that id.

    What to do: give a participant that is there, or its id: ``remote_participants`` has those, and a name is no id.
    """


# --- one stream failed ------------------------------------------------------------------------------------------------


class StreamError(MeshsyncError):
    """One stream failed; the client goes on.

    What to do: open another stream; the client is as it was.
    """


class StreamRejected(StreamError):
    """The peer declined the stream; the text is its reason.

    What to do: read the reason; unless ``is_final``, the same offer may be accepted later.

    Attributes:
        is_final: Whether the peer would not accept the same offer a moment later either.
    """

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


class StreamInterrupted(StreamError):
    """The stream ended before its end: the peer gave up or left, or the connection was lost.

    What to do: take what came for a part, and open another stream; ``send_file`` goes on where it stopped.
    """

    def __init__(self, text: str, *, connection_alive: bool = True) -> None:
        super().__init__(text)
        self.connection_alive = connection_alive


class StreamCancelled(StreamError):
    """The reader wants no more of the stream; the text is its reason.

    What to do: stop writing.
    """


class StreamTimeout(StreamError, TimeoutError):
    """The peer of the stream did not answer within the time limit.

    What to do: see whether the peer's program handles streams at all, or allow more ``timeout``.
    """


# --- one question has no answer ---------------------------------------------------------------------------------------


class RequestError(MeshsyncError):
    """One question has no answer; the client goes on.

    What to do: read which of them it is, and ask again where that makes sense.
    """


class RequestRefused(RequestError):
    """The answerer declined the question, or nothing there answers such ones; the text is its reason.

    What to do: read the reason: the question, or the one that is asked, is the wrong one.
    """


class RequestFailed(RequestError):
    """The answerer's handler failed. Why is in the answerer's log, and is not told here.

    What to do: look for ``id`` in the answerer's log, which has the traceback.

    Attributes:
        id: What to look for in the answerer's log; empty if it gave none.
    """

    def __init__(self, text: str, *, id: str = "") -> None:
        super().__init__(text)
        self.id = id


class RequestInterrupted(RequestError):
    """The answer cannot come any more: the answerer left, or messaging or a connection ended. It may be handled.

    What to do: ask again what may be handled twice, when the answerer is back.
    """


class Refuse(MeshsyncError):
    """Raised by a handler of questions: the asker gets `RequestRefused` with this text.

    What to do: raise it in a handler of ``on_request``, and catch `RequestRefused` where the question is asked.
    """


# --- time limits ------------------------------------------------------------------------------------------------------


class SendTimeout(MeshsyncError, TimeoutError):
    """The room did not acknowledge within the time limit.

    ``retryable`` is true only if nothing had been handed to the connection; otherwise the delivery may yet arrive.

    What to do: send again if ``retryable``; else it may arrive yet, as with `DeliveryUnknown`.
    """

    def __init__(self, text: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.retryable = retryable


class ReceiveTimeout(MeshsyncError, TimeoutError):
    """Nothing came within the time limit.

    What to do: wait on, or take it that nothing will come: the peer may not have been asked, or not answer.
    """

    retryable = True


# --- the peer erred ---------------------------------------------------------------------------------------------------


class ProtocolError(MeshsyncError):
    """The peer broke the protocol; the connection is closed.

    What to do: connect anew, and report it with the client's log: one of both ends has a fault.

    Attributes:
        code: The WebSocket close code that fits the fault (RFC 6455, section 7.4.1).
    """

    connection_alive = False

    def __init__(self, text: str, *, code: int = 1002) -> None:
        super().__init__(text)
        self.code = code
