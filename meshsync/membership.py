"""Membership in the room: this client's own participant, the others, and what is restored after a loss.

What the program wants (its attributes, whether messaging is enabled) outlives connections. What the room says (who is
there) is kept while offline, and compared with what it says later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from meshsync.asking.asking import Asking
from meshsync.confirmation import Confirmation
from meshsync.confirming.bodies import ATTRIBUTE, Identity, resumes
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Parcel
from meshsync.connection.states import ClientState
from meshsync.connection.uplink import Uplink
from meshsync.dispatch.router import Router
from meshsync.errors import (
    ConnectionLost,
    MeshsyncError,
    NotEnabled,
    NotSent,
    ParticipantNotFound,
    ReceiveTimeout,
    RoomError,
    SendTimeout,
    UsageError,
)
from meshsync.participants import LocalParticipant, ParticipantDirectory, RemoteParticipant, RoomParticipant, id_of
from meshsync.places import warn_program
from meshsync.protocol import events
from meshsync.protocol.dialects import CLASSIC, DUPLEX
from meshsync.protocol.operations import Disable, Enable, Request, Send, SetAttributes
from meshsync.protocol.roster import RosterEntry
from meshsync.protocol.session import Session
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.signals import check_callable, check_result, log_warning, name_of
from meshsync.streams.resuming import Line
from meshsync.streams.table import StreamTable

__all__ = ["SEND_TIMEOUT", "Membership"]

SEND_TIMEOUT = 30.0
"""Seconds; also for opening a stream, for writing to it, and for setting an attribute."""

NAMED = 5
"""The most participants that an error names."""


class Member(Protocol):
    """The client, as its membership needs it."""

    runtime: Runtime
    uplink: Uplink
    router: Router
    streams: StreamTable
    confirmation: Confirmation
    asking: Asking

    @property
    def session(self) -> Session: ...
    def check_open(self) -> None: ...
    def failure(self) -> MeshsyncError: ...
    def refuse_to_block(self, what: str) -> None: ...
    def limit(self, timeout: Timeout, default: float | None) -> float | None: ...
    def publish(
        self,
        name: str,
        type: str,
        body: Mapping[str, object],
        participant: RemoteParticipant | None = None,
        *,
        size: int = 0,
    ) -> None: ...


class Membership:
    """Who is in the room's messaging, this client included.

    Args:
        role: The role in the client's token.
    """

    def __init__(self, client: Member, role: str) -> None:
        self.local_participant: LocalParticipant = LocalParticipant("", role, {}, self._set_attributes)
        self.participants: ParticipantDirectory = ParticipantDirectory(client.runtime)
        self._client = client
        self._attributes: dict[str, Any] = {}
        """Those that the program set, to be set again on each connection."""
        self._wants_messaging = False
        """Whether messaging is to be enabled on each connection."""
        self._stayed: set[str] = set()
        """The ids of those that were here before a loss and are still: no arrivals."""
        self._replaced: set[str] = set()
        """The ids of those that are back under another one, as long as the room lists them."""
        self._introduced: Connection | None = None
        """The connection on which the room knows this client's own attribute."""

    def check_enabled(self) -> None:
        """Raise unless this client takes part in messaging, or will when it is back.

        Raises:
            NotEnabled: If it does not, though the client goes on; else as `check_open`.
        """
        if not self.participants.is_enabled and not self.takes_part:
            self._client.check_open()
            raise NotEnabled("messaging is not enabled on this client: call room.messaging.enable() first")

    def known(self, what: str) -> ParticipantDirectory:
        """Return the other participants; warn a program that asks before they are known, to which none is an answer.

        Args:
            what: What it asks, such as ``remote_participants``.
        """
        if not self.participants.enablings and not self.participants.has_ended and not self._wants_messaging:
            warn_program(f"{what} knows no one until messaging is enabled: call room.messaging.enable() first")
        return self.participants

    def refuse_to_receive(self, what: str) -> None:
        """Raise where the calling task would wait for ever for what comes by messaging.

        Raises:
            NotEnabled: If messaging is not enabled, and not just being enabled.
            MeshsyncError: Others as `Client.refuse_to_block`.
        """
        self._client.refuse_to_block(what)
        # What was lost or closed tells that itself, behind what came before.
        if not (self.takes_part or self.participants.has_ended or self._client.session.is_pending(Enable)):
            self.check_enabled()

    @property
    def takes_part(self) -> bool:
        """Whether this client takes part in messaging, or will when it is back."""
        is_offline = self._client.uplink.state is ClientState.OFFLINE
        return self.participants.is_enabled or (is_offline and self._wants_messaging)

    def check_no_name(self, id: str) -> None:
        """Raise `ParticipantNotFound` if what a program gave as an id is the name of a participant that is here."""
        if id == self.local_participant.id or self.participants.get(id) is not None:
            return
        namesake = self.participants.by_name(id)
        if namesake is not None:
            raise ParticipantNotFound(
                f"{id!r} is a name and no id: give get_participant_by_name({id!r}), or its id {namesake.id!r}"
            )

    def address(self, to: object) -> tuple[str, object]:
        """Return the id of a recipient, given as a participant or an id, and the participant, if it is known.

        Raises:
            ParticipantNotFound: If it has left, or is the name of a participant.
            TypeError: If it is neither.
        """
        recipient = id_of(to)
        known = self.participants.get(recipient)
        if known is to and recipient != self.local_participant.id:
            return recipient, to
        if known is None and recipient != self.local_participant.id:
            recipient = self._client.confirmation.find(to) or recipient
        if isinstance(to, RemoteParticipant) and not to.online and recipient == to.id:
            self._client.check_open()  # At the client's end all participants go offline, and where messaging ends.
            self.check_enabled()
            raise ParticipantNotFound(
                f"{to.name or to.id!r} has left the room's messaging; one that came back is another "
                "participant: find it by wait_for_participant(name=…)"
            )
        if recipient == self.local_participant.id:
            return recipient, self.local_participant
        self.check_no_name(recipient)
        return recipient, self.participants.get(recipient) or recipient

    def peer(self, to: object) -> RemoteParticipant:
        """Return the participant that a stream is to go to; raises as ``address``, and `UsageError` for this client."""
        recipient, _ = self.address(to)
        if recipient == self.local_participant.id:
            raise UsageError("a stream to oneself would need both ends in one client: use a queue")
        # The room may know a participant that this client may not list.
        return self.participants.get(recipient) or RemoteParticipant(recipient, "", {})

    def wait_for(
        self,
        name: str | None,
        role: str | None,
        where: Callable[[RemoteParticipant], bool] | None,
        timeout: float | None,
    ) -> RemoteParticipant:
        """Return the earliest participant that matches; see `MessagingClient.wait_for_participant`."""
        for criterion, value in (("name", name), ("role", role)):
            if not (value is None or isinstance(value, str)):
                raise TypeError(f"the {criterion} of a participant is a str, not {value!r:.100}")
        if where is not None:
            check_callable(where, "a RemoteParticipant", "where", count=1)
        client, participants = self._client, self.participants
        deadline = Deadline(client.runtime, timeout)
        while True:
            seen = participants.changes
            for participant in participants.participants:
                if (
                    (name is None or participant.name == name)
                    and (role is None or participant.role == role)
                    and (where is None or _holds(where, participant))
                ):
                    return participant
            if participants.has_ended:
                raise client.failure()
            self.check_enabled()
            client.refuse_to_block("wait_for_participant()")
            # The program's `where` is not called while waiting: it may take any time.
            if not participants.wait(partial(_differs, participants, seen), deadline.left()):
                wanted = {"name": name, "role": role, "where": where and name_of(where)}
                text = ", ".join(f"{key}={value!r}" for key, value in wanted.items() if value is not None)
                names = [participant.name or participant.id for participant in participants.participants]
                there = ", ".join(map(repr, names[:NAMED])) + (", …" if len(names) > NAMED else "") or "no one"
                text = f"no participant with {text or 'any name'} was there within {timeout or 0:g} s"
                raise ReceiveTimeout(f"{text}; there was {there}, of those that enabled messaging")

    # --- what is restored on each connection --------------------------------------------------------------------------

    def _set_attributes(self, attributes: Mapping[str, Any]) -> None:
        if ATTRIBUTE in attributes:
            raise UsageError(f"the attribute {ATTRIBUTE!r} is this package's own")
        what, request = "setting an attribute", SetAttributes(dict(attributes))
        deadline = Deadline(self._client.runtime, self._client.limit("default", SEND_TIMEOUT))
        self._client.session.encode(request)  # Refused before anything has changed.
        before = dict(self._attributes)
        while True:
            connection = self._client.uplink.settle(what, deadline, lambda: self._attributes.update(attributes))
            if connection is None:
                return
            try:
                connection.request(request, what, deadline.left())
                return
            except NotSent:
                self._client.uplink.wait_for_another(connection, what, deadline)
            except BaseException:
                for name in attributes:
                    if name in before:
                        self._attributes[name] = before[name]
                    else:
                        self._attributes.pop(name, None)
                raise

    def enable(self, deadline: Deadline) -> None:
        """Take part in messaging, here and on later connections; return when the peers are known, or if offline.

        Raises:
            SendTimeout: If the room did not answer in time.
            MeshsyncError: Others as `MessagingClient.enable`.
        """
        what, before = "enabling messaging", self.participants.enablings
        connection = self._client.uplink.settle(what, deadline, partial(self._want_messaging, True))
        if connection is None:
            return
        try:
            self._introduce(connection, what, deadline, {})
            connection.request(Enable((CLASSIC, DUPLEX)), what, deadline.left()).wait(deadline.left())
        except ConnectionLost:
            # The next one enables it, if there is one.
            self._client.uplink.wait_for_another(connection, what, deadline)
        except MeshsyncError:
            self._want_messaging(self.participants.is_enabled)
            raise
        # Still enabled, if the room refused a request to leave that was under way.
        participants = self.participants
        if not self._wait_enabled(before, lambda: participants.is_enabled or participants.has_ended, deadline):
            raise SendTimeout(f"{what}: the room sent no list of participants in time")
        if self.participants.has_ended:
            raise self._client.failure()

    def disable(self, deadline: Deadline) -> None:
        """Leave messaging, here and on later connections; raises as `MessagingClient.disable`."""
        what = "disabling messaging"
        connection = self._client.uplink.settle(what, deadline, partial(self._want_messaging, False))
        if connection is None:
            self._left_messaging()
            return
        try:
            connection.request(Disable(), what, deadline.left()).wait(deadline.left())
        except ConnectionLost:
            self._client.uplink.wait_for_another(connection, what, deadline)
            self._left_messaging()

    def _want_messaging(self, is_wanted: bool) -> None:
        self._wants_messaging = is_wanted

    def _wait_enabled(self, before: int, is_over: Callable[[], bool], deadline: Deadline) -> bool:
        participants = self.participants
        return participants.wait(lambda: participants.enablings > before or is_over(), deadline.left())

    def restore(self, connection: Connection, deadline: Deadline) -> None:
        """Make the room what the program wants it to be: attributes, then messaging."""
        what, before = "restoring attributes", self.participants.enablings
        if not self._wants_messaging:
            if self._attributes:
                connection.request(SetAttributes(dict(self._attributes)), what, deadline.left())
            self._left_messaging()
            return
        self._introduce(connection, what, deadline, self._attributes)
        what = "enabling messaging again"
        try:
            connection.request(Enable((CLASSIC, DUPLEX)), what, deadline.left()).wait(deadline.left())
        except RoomError as error:
            log_warning("messaging is not enabled any more: %s", error)
            self._want_messaging(False)
            self._left_messaging()
            return
        self._wait_enabled(before, lambda: not connection.is_open, deadline)
        if self.participants.enablings == before:
            raise SendTimeout(f"{what}: the room sent no list of participants in time")

    def _introduce(self, connection: Connection, what: str, deadline: Deadline, attributes: Mapping[str, Any]) -> None:
        """Set attributes together with this client's own one, which is to be there before messaging is enabled."""
        if self._introduced is not connection:
            request = SetAttributes({**attributes, ATTRIBUTE: self._client.confirmation.attribute})
            connection.request(request, what, deadline.left())
            self._introduced = connection

    def readdress(self, parcel: Parcel) -> Request:
        """Return a message as it has to be sent now, maybe on another connection than it was meant for.

        Raises:
            NotSent: If its recipient has not come back, or messaging was disabled meanwhile.
        """
        request, recipient = parcel.request, parcel.recipient
        if not self.participants.is_enabled:
            raise NotSent("messaging was disabled before there was a connection; not sent")
        if isinstance(request, Send) and isinstance(recipient, RoomParticipant):
            id = recipient.id
            if isinstance(recipient, RemoteParticipant) and not recipient.online:
                id = self._client.confirmation.find(recipient) or ""
                if not id:
                    raise NotSent(f"{recipient.name or recipient.id!r} has not come back to the room; not sent")
            if request.to != id:
                return replace(request, to=id)
        return request

    def _left_messaging(self) -> None:
        """Report that this client takes part no longer, if it did."""
        if not self.participants.is_enabled:
            return
        self._stop_receiving()  # First: what a task begins behind that is refused, what it began before is ended here.
        self._client.streams.lose_all()
        self._client.confirmation.disconnect()
        self._client.confirmation.withdraw_all()
        for participant in self.participants.clear():
            self._removed(participant)
        self._client.publish("messaging_disabled", "messaging.disabled", {})

    def _stop_receiving(self) -> None:
        self.participants.set_enabled(False)
        self._client.router.look_again()
        self._client.streams.look_again()

    def _removed(self, participant: RemoteParticipant) -> None:
        self._client.publish("participant_removed", "participant.disabled", {"id": participant.id}, participant)
        self._client.streams.peer_left(participant)
        self._client.asking.peer_left(participant)

    def _gone(self, participant: RemoteParticipant) -> None:
        """Report that a participant has left; it may come back, which cannot be told of one without an identity."""
        self._removed(participant)
        if participant._identity is None and self._wants_messaging:
            self._client.router.sender_left(participant.id)

    # --- notified by the connection, on the reader --------------------------------------------------------------------

    def greeted(self, greeting: events.Ready) -> None:
        """Take the id that this connection has."""
        attributes = {name: value for name, value in greeting.attributes.items() if name != ATTRIBUTE}
        self.local_participant._greeted(greeting.participant_id, {**attributes, **self._attributes})

    def received(self, event: events.Event) -> None:
        """Apply the room's report on its members."""
        participants, confirmation = self.participants, self._client.confirmation
        match event:
            case events.MemberAdded(entry, size):
                if entry.id in self._replaced:
                    return
                if entry.id in self._stayed:
                    self._stayed.discard(entry.id)
                    return
                participant = self._enter(entry, confirmation.enter(entry.id, entry.attributes))
                self._client.streams.peer_came(participant)
                self._client.publish("participant_added", "participant.enabled", _about(entry), participant, size=size)
            case events.MemberRemoved(entry):
                confirmation.leave(entry.id)
                if entry.id in self._replaced:
                    self._replaced.discard(entry.id)
                else:
                    self._gone(participants.leave(entry.id))
            case events.MemberChanged(entry, changes, size):
                self._changed(entry, changes, size)
            case events.Enabled(entries):
                self._roster_came(entries)
            case events.Disabled():
                self._stop_receiving()
                confirmation.disconnect()
                confirmation.withdraw_all()
                self._client.streams.leave_resumable()
                self._client.publish("messaging_disabled", "messaging.disabled", {})

    def replaced(self, participant_id: str) -> None:
        """Remove a participant that has come back under another id, though the room has not missed it yet."""
        if self.participants.get(participant_id) is not None:
            self._replaced.add(participant_id)
            self._removed(self.participants.leave(participant_id))

    def end(self) -> None:
        """Report that all have left: the client has ended."""
        for participant in self.participants.clear():
            self._removed(participant)
        self.participants.end()

    def _roster_came(self, entries: Sequence[RosterEntry]) -> None:
        """Take the list of participants: of a first connection as a whole, of a later one the difference."""
        participants = self.participants
        was_enabled, listed = participants.is_enabled, {entry.id for entry in entries}
        for participant in participants.participants:
            if participant.id not in listed:
                self._gone(participants.leave(participant.id))
        self._stayed = {participant.id for participant in participants.participants}
        self._replaced &= listed
        confirmation = self._client.confirmation
        confirmation.connect()
        entries = [entry for entry in entries if entry.id not in self._replaced]
        for entry in entries:
            identity = confirmation.enter(entry.id, entry.attributes)
            if entry.id in self._stayed:
                before = participants.enter(entry)._attributes
                changes = {name: value for name, value in entry.attributes.items() if before.get(name, ...) != value}
                if changes:
                    self._changed(entry, changes)
            else:
                self._enter(entry, identity)
        self._wants_messaging = True
        self._client.streams.restored(Line(self._client.uplink.connection, self.local_participant.id))
        participants.set_enabled(True)
        if not was_enabled:
            body = {"participants": [_about(entry) for entry in entries]}
            self._client.publish("messaging_enabled", "messaging.enabled", body)

    def _enter(self, entry: RosterEntry, identity: Identity | None) -> RemoteParticipant:
        participant = self.participants.enter(_public(entry), identity)
        participant._resumes = resumes(entry.attributes)
        return participant

    def _changed(self, entry: RosterEntry, changes: Mapping[str, object], size: int = 0) -> None:
        changes = {name: value for name, value in changes.items() if name != ATTRIBUTE}
        if not changes or entry.id in self._replaced:
            return
        participant = self.participants.change(_public(entry))
        body = {"attributes": changes}
        self._client.publish("participant_attributes_updated", "participant.attributes", body, participant, size=size)


def _about(entry: RosterEntry) -> dict[str, object]:
    return {"id": entry.id, "role": entry.role, "attributes": dict(_public(entry).attributes)}


def _public(entry: RosterEntry) -> RosterEntry:
    """Return an entry as programs see it: without this package's own attribute."""
    if ATTRIBUTE not in entry.attributes:
        return entry
    return replace(entry, attributes={name: value for name, value in entry.attributes.items() if name != ATTRIBUTE})


def _holds(where: Callable[[RemoteParticipant], bool], participant: RemoteParticipant) -> bool:
    result = where(participant)
    check_result(result)  # Every coroutine is true.
    return result


def _differs(participants: ParticipantDirectory, seen: int) -> bool:
    return participants.changes != seen
