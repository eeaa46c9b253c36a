"""Messaging in a room: take part, see peers, send, broadcast, stream, receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Protocol, TypeVar, overload

from meshsync.arguments import hinted_call, made_by
from meshsync.client import Client
from meshsync.dispatch.receivers import Receiver
from meshsync.errors import RequestInterrupted, StreamInterrupted
from meshsync.files import transfer
from meshsync.files.progress import Progress
from meshsync.forms import unpack_stream
from meshsync.hints import HintedMessaging
from meshsync.membership import SEND_TIMEOUT
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.places import warn_program
from meshsync.protocol.envelopes import as_object
from meshsync.protocol.operations import Disable, Enable
from meshsync.receiving import ReceivingFace
from meshsync.requesting import AskingFace
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.sending import SendingFace
from meshsync.signals import check_callable
from meshsync.streams.interfaces import StreamReader, StreamWriter
from meshsync.streams.offers import Accepter, StreamSubscription
from meshsync.streams.opening import ResumeFor, StreamKind

__all__ = ["MessagingClient"]

R = TypeVar("R", bound=Receiver)

ENABLE_TIMEOUT = 10.0
"""Seconds, for enabling and disabling."""

FAREWELL = 1.0
"""Seconds in which those that wait for an answer are told that this client takes part no longer."""


class JoinedRoom(Protocol):
    """A `RoomClient` as its messaging client needs it."""

    _meshsync: Client


class MessagingClient(HintedMessaging, SendingFace, ReceivingFace, AskingFace):
    """The messaging of one room, as ``room.messaging``. Any method may be called from any task.

    Subclasses are given to ``meshsync.connect(messaging=…)``. All sending of messages goes through
    ``send_message_nowait`` and ``broadcast_message_nowait``, all receiving through ``received``; all streams go through
    ``create_stream`` and ``offered``. What is asked and answered is
    sent and received by them, too. Those call each other and nothing else that a subclass may define. Everything
    else that a subclass defines is its own; one name is ours, ``_meshsync``.
    """

    @made_by("meshsync.connect makes it, as room.messaging")
    def __init__(self, room: JoinedRoom) -> None:
        if not hasattr(room, "_meshsync"):
            raise TypeError(f"a MessagingClient is of a room that was joined, not of {room!r:.100}: use room.messaging")
        # All that is ours lies behind this one name, which no subclass chooses by chance.
        self._meshsync = client = room._meshsync
        is_hooked = type(self).received is not MessagingClient.received
        is_wrapping = type(self).offered is not MessagingClient.offered
        client.attach(self, self.received if is_hooked else None, self.offered if is_wrapping else None)
        client.faces.enter(self)

    def __del__(self) -> None:
        if "_meshsync" in vars(self):  # A subclass may have failed before.
            self._meshsync.faces.leave(self)

    # --- taking part --------------------------------------------------------------------------------------------------

    @property
    def is_enabled(self) -> bool:
        """Whether this client takes part in messaging, or while offline, will when it is back."""
        return self._meshsync.membership.takes_part

    @hinted_call
    def enable(self, on_stream_accept: Accepter | None = None, *, timeout: Timeout = "default") -> None:
        """Take part in messaging; return when the peers are known. While enabled, only the callback is replaced.

        After a loss messaging is enabled again. While offline, this decides that, and returns at once.

        Args:
            on_stream_accept: Called with a `MessageStreamReader` for each stream that a peer opens, in a task of its
                own, at most 64 at once. ``reader.reject(reason)`` or raising ``StreamRejected(reason)`` rejects the
                stream with that text; ``reader.accept``, the first read or returning accepts it. Any other exception
                is a fault of the callback: it is logged, signalled as ``receiver_failed``, and the peer gets a fixed
                text. With None, streams are rejected, unless ``streams()`` gets them.
            timeout: The longest wait, in seconds; 10 by default.
        Raises:
            SendTimeout: If the room did not answer in time.
            RoomError: If the room refused.
            ConnectionLost: If the connection ended; `ClientClosed` if the program closed it.
            TypeError: If the callback cannot be called, or is a coroutine or generator function; nothing has changed.
        """
        if on_stream_accept is not None:
            check_callable(on_stream_accept, "a MessageStreamReader", "the accept callback", count=1)
        client = self._meshsync
        deadline = Deadline(client.runtime, client.limit(timeout, ENABLE_TIMEOUT))
        client.check_open()
        client.streams.accepter = on_stream_accept
        # A request to leave that got no answer in time may still be carried out, and this one has to come after it.
        if client.membership.takes_part and not client.session.is_pending(Disable):
            return
        client.refuse_to_block("enable()")
        client.membership.enable(deadline)

    @hinted_call
    def disable(self, *, timeout: Timeout = "default") -> None:
        """Leave messaging; while not enabled, this does nothing.

        When it returns, ``remote_participants`` is empty; a removal is signalled for each participant. Streams end.
        While offline too: messaging is then not enabled again.

        Raises:
            SendTimeout: If the room did not answer within ``timeout`` seconds, by default 10.
            RoomError: If the room refused.
            ConnectionLost: If the connection ended.
        """
        client = self._meshsync
        deadline = Deadline(client.runtime, client.limit(timeout, ENABLE_TIMEOUT))
        # A request to enable it that got no answer in time may still be carried out.
        if not client.membership.takes_part and not client.session.is_pending(Enable):
            return
        client.refuse_to_block("disable()")
        client.streams.abandon_all(StreamInterrupted("messaging was disabled"))
        client.asking.fail_all(RequestInterrupted("messaging was disabled on this client before the answer came"))
        if client.answering.leave("its program disabled messaging"):
            client.confirmation.flush(FAREWELL if (left := deadline.left()) is None else min(left, FAREWELL))
        client.membership.disable(deadline)

    # --- participants -------------------------------------------------------------------------------------------------

    @property
    def remote_participants(self) -> tuple[RemoteParticipant, ...]:
        """The other participants, in order of arrival: a snapshot that never changes."""
        return self._meshsync.membership.known("remote_participants").participants

    def get_participant(self, id: str) -> RemoteParticipant | None:
        """Return the participant with that id, or None."""
        known = self._meshsync.membership.known("get_participant()")
        found = known.get(id)
        if found is None and known.by_name(id) is not None:
            warn_program(f"get_participant() takes an id, and {id!r} is a name: get_participant_by_name() takes that")
        return found

    @hinted_call
    def get_participant_by_name(self, name: str) -> RemoteParticipant | None:
        """Return the earliest participant with that name, or None. Names are not unique."""
        return self._meshsync.membership.known("get_participant_by_name()").by_name(name)

    @hinted_call
    def wait_for_participant(
        self,
        name: str | None = None,
        role: str | None = None,
        where: Callable[[RemoteParticipant], bool] | None = None,
        *,
        timeout: Timeout = "default",
    ) -> RemoteParticipant:
        """Return the earliest participant that matches all that is given, waiting until there is one.

        Args:
            where: Called with participants, again whenever a peer came, left or changed.
            timeout: The longest wait, in seconds; None waits for ever. By default the room's ``default_timeout``, or
                for ever.
        Raises:
            ReceiveTimeout: If no participant matched in time.
            NotEnabled: If messaging is not enabled, since no participant would come.
            ConnectionLost: If the connection was lost; `ClientClosed` if it was closed.
            TypeError: If ``name`` or ``role`` is no text, or ``where`` cannot be called or has to be awaited.
        """
        client = self._meshsync
        client.home.check()
        return client.membership.wait_for(name, role, where, client.limit(timeout, None))

    # --- streams ------------------------------------------------------------------------------------------------------

    @overload
    def create_stream(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        header: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter: ...
    @overload
    def create_stream(
        self,
        to: Mapping[str, Any],
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter: ...
    @hinted_call
    def create_stream(
        self,
        to: Any,
        header: Any = None,
        *,
        timeout: Timeout = "default",
        kind: StreamKind = "auto",
        resume_for: ResumeFor = "default",
    ) -> StreamWriter:
        """Open a stream to one participant and wait until it is accepted; return its `MessageStreamWriter`.

        Args:
            to: A participant or the id of one; or, alone, a mapping of ``to`` and ``header``.
            header: A JSON object for the peer's program; empty by default.
            timeout: The longest wait, in seconds; 30 by default.
            kind: ``"classic"`` offers it by messages, which clients before 0.35.7 and this one understand; ``"duplex"``
                by a call, which those from 0.47.1 do, and this one too. With ``"auto"`` it goes as the peer is
                known to understand, else by messages, and in dialect B by a call as well if there is no answer for 5 s;
                but by messages alone where the room bridges, as the emulator does.
            resume_for: Seconds that a stream to another client of this package outlives a loss of either's connection,
                where it goes by messages; the smaller of both sides, 60 by default, 0 for none. See
                ``docs/reconnecting.md``.
        Raises:
            StreamRejected: If the peer declined; the text is its reason.
            StreamTimeout: If it did not answer in time.
            ParticipantNotFound: If it does not take part.
            StreamInterrupted: If it left before it answered.
            ConnectionLost: If the connection was lost meanwhile.
            InvalidMessage: If the header cannot be carried.
            UsageError: If it is this client itself, or ``resume_for`` is given for a duplex stream; `NotEnabled` if
                messaging is not enabled.
        """
        client = self._meshsync
        client.refuse_to_block("create_stream()")
        if isinstance(to, Mapping):
            to, header = unpack_stream(to, header)
        client.membership.check_enabled()
        deadline = Deadline(client.runtime, client.limit(timeout, SEND_TIMEOUT))
        client.uplink.wait_online("create_stream()", deadline)
        peer = client.membership.peer(to)
        content = as_object({} if header is None else header, "header")
        return client.streams.open(peer, content, deadline.left(), kind, resume_for).watch(client.start_in_finalizer)

    @hinted_call
    def send_file(
        self,
        path: str | PathLike[str],
        to: RemoteParticipant | LocalParticipant | str,
        *,
        header: Mapping[str, Any] | None = None,
        name: str | None = None,
        chunk_size: int = transfer.CHUNK_SIZE,
        progress: Progress | bool = False,
        confirm: bool | None = None,
        timeout: Timeout = "default",
    ) -> transfer.SentFile:
        """Send a file through a stream and wait until the peer has it whole; see ``meshsync.files.send_file``."""
        self._meshsync.home.check()
        limit = self._meshsync.limit(timeout, SEND_TIMEOUT)
        return transfer.send_file(
            self,
            path,
            to,
            header=header,
            name=name,
            chunk_size=chunk_size,
            progress=progress,
            confirm=confirm,
            timeout=limit,
        )

    @hinted_call
    def receive_file(
        self,
        reader: StreamReader,
        directory: str | PathLike[str],
        *,
        name: str | None = None,
        progress: Progress | bool = False,
        overwrite: bool = False,
        max_size: int | None = None,
        timeout: Timeout = "default",
    ) -> transfer.ReceivedFile:
        """Receive the file that a stream brings into a directory, whole or not at all.

        See ``meshsync.files.transfer.receive_file``.
        """
        limit = self._meshsync.limit(timeout, None)
        return transfer.receive_file(
            reader,
            directory,
            name=name,
            progress=progress,
            overwrite=overwrite,
            max_size=max_size,
            timeout=limit,
        )

    def offered(self, reader: StreamReader) -> StreamReader:
        """Change each stream that a peer opens before the program gets it: a hook for subclasses, to wrap it.

        Called before the accept callback, on its task, or by ``streams()``, on its reader's. Raising does what it does
        in the accept callback.
        """
        return reader

    @hinted_call
    def streams(self, *, timeout: float | None = None, maxsize: int = 64) -> StreamSubscription:
        """Subscribe to the streams that peers open from now on, instead of a callback.

        Args:
            timeout: The longest wait for the next stream, in seconds, which ends a ``for`` loop; None waits for ever,
                but for ``get``, whose limit is then the room's ``default_timeout``.
            maxsize: How many streams may wait in it; more go to the accept callback, or are rejected.
        """
        self._meshsync.router.check_open()
        return self._meshsync.streams.subscribe(timeout, maxsize)
