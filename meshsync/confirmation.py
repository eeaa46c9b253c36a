"""Confirmed messages of one client at work: its `Exchange` gets what comes, and what that wants is sent and placed.

The *confirming task*, which begins when there is first something for it to do, sends all that the exchange drains: so
that the order of draining is the order on the wire, and a wait for room in a connection keeps nothing else. What comes
is placed on the reader, in order; where there is no room for it, the confirming task does that later.

Who is whom, numbers and repetitions are the business of `meshsync.confirming`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from meshsync.confirming.bodies import WINDOW, Answer, Identity, Mark, Numbered, check_own_type, encode_body
from meshsync.confirming.exchange import Direct, Exchange, Missed
from meshsync.confirming.proofs import KNOWN, Proven
from meshsync.confirming.sender import ConfirmedSend, SendState
from meshsync.connection.budget import ByteBudget
from meshsync.connection.connection import Connection
from meshsync.connection.deliveries import Delivery
from meshsync.connection.failures import carry_over
from meshsync.connection.states import ClientState
from meshsync.connection.uplink import Uplink
from meshsync.dispatch.router import Router
from meshsync.errors import (
    ConnectionLost,
    DeliveryUnknown,
    InvalidMessage,
    MeshsyncError,
    NotSent,
    ParticipantNotFound,
    ProtocolError,
    RoomError,
    SendTimeout,
    UsageError,
)
from meshsync.messages import as_buffer
from meshsync.participants import LocalParticipant, ParticipantDirectory, RemoteParticipant, RoomParticipant, id_of
from meshsync.placement import Marking, Placement, is_of_programs
from meshsync.protocol import events
from meshsync.protocol.content import ErrorCode
from meshsync.protocol.envelopes import JsonObject, as_object, copy_json
from meshsync.protocol.operations import Send, check_text
from meshsync.protocol.session import Session
from meshsync.reasons import safe_text
from meshsync.runtime.critical_sections import critical_section
from meshsync.runtime.deadlines import FOREVER, Deadline
from meshsync.runtime.interfaces import Runtime, Task, TaskExit

__all__ = ["Confirmation"]

logger: logging.Logger = logging.getLogger("meshsync")

ROOM_FOR_ANSWER = 10.0
"""The longest wait of an answer for room, in seconds, where its asker is there; else there is none, since those that
answer are few, and others ask as well."""
PAUSE = 0.1
"""Seconds until a message goes out again that the room refused for a reason that may pass."""

_LASTING = frozenset({ErrorCode.PERMISSION_DENIED, ErrorCode.INVALID_REQUEST})
"""Reasons of the room that do not pass."""
_LARGEST = 2**53 - 1


class Confirming(Protocol):
    """The client, as its confirmed messages need it."""

    runtime: Runtime
    default_timeout: float | None
    uplink: Uplink
    router: Router
    budget: ByteBudget

    @property
    def connection(self) -> Connection: ...
    @property
    def session(self) -> Session: ...
    @property
    def participants(self) -> ParticipantDirectory: ...
    @property
    def local_participant(self) -> LocalParticipant: ...
    @property
    def answering(self) -> Marking: ...
    def check_open(self) -> None: ...
    def failure(self) -> MeshsyncError: ...
    def refuse_to_block(self, what: str) -> None: ...
    def replaced(self, participant_id: str) -> None: ...
    def publish(
        self, name: str, type: str, body: Mapping[str, object], participant: RemoteParticipant | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Pending:
    """A message of the program's that is not confirmed."""

    delivery: Delivery
    deadline: Deadline
    timeout: float | None


_Done = tuple[Delivery, "MeshsyncError | None"]
"""A handle, and what it is to be resolved with."""


class Confirmation:
    """The confirmed messages of one client. It outlives connections.

    Args:
        name: For the name of its task.
        check_enabled: Raises where the client takes part in messaging no longer.
    """

    def __init__(self, client: Confirming, name: str, check_enabled: Callable[[], None]) -> None:
        self._client = client
        self._name = name
        self._check_enabled = check_enabled
        self._exchange = Exchange(client.runtime.entropy)
        self._condition = client.runtime.condition()
        """Guards all below, the exchange included; nothing is sent or published while it is held."""
        self._connection: Connection | None = None
        """The one on which this client takes part in messaging; None while there is none."""
        self._pending: dict[ConfirmedSend, _Pending] = {}
        self._refused: list[tuple[float, Direct]] = []
        """What goes out again, and when, on the runtime's clock."""
        self._former: dict[str, Identity] = {}
        """The participant ids that were proven, the latest `KNOWN`."""
        self._placement = Placement(client, self._exchange, self._condition, self._wake)
        self._is_sending = False
        self._has_ended = False
        self._task: Task | None = None
        self._has_task = False

    @property
    def attribute(self) -> JsonObject:
        """The value of this client's own attribute."""
        return self._exchange.attribute

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The confirming task, once there was something for it to do."""
        return () if self._task is None else (self._task,)

    # --- the roster, on the reader ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin anew: this client takes part in messaging, and whoever else does is entered after this."""
        with self._condition:
            self._connection = self._client.connection
            self._exchange.connect(self._client.local_participant.id)

    def disconnect(self) -> None:
        """Note that this client takes part no longer; what is not confirmed is sent again later."""
        with self._condition:
            self._connection = None
            self._exchange.disconnect()
            self._refused.clear()
            self._condition.notify_all()

    def enter(self, participant_id: str, attributes: Mapping[str, Any]) -> Identity | None:
        """Note a participant; return its claim, None if it does not confirm."""
        with self._condition:
            self._exchange.enter(self._now(), participant_id, attributes)
            identity = self._exchange.identity_of(participant_id)
        self._wake()
        return identity

    def leave(self, participant_id: str) -> None:
        """Note that a participant is gone."""
        with self._condition:
            self._exchange.leave(participant_id)

    # --- who is who ---------------------------------------------------------------------------------------------------

    def find(self, participant: object) -> str | None:
        """Return the proven present id of a participant, given as an object or as an earlier id; None if unknown."""
        if (identity := self.claim_of(participant)) is None:
            return None
        with self._condition:
            return self._exchange.find(identity)

    def follow(self, participant: object) -> Callable[[str], bool] | None:
        """Have a participant prove itself, and return a test of whether it has an id now; None if it cannot."""
        if isinstance(participant, LocalParticipant):
            return lambda id: id == participant.id
        if (identity := self.claim_of(participant)) is None:
            return None
        with critical_section(self._client.runtime, self._condition):
            self._exchange.want(self._now(), identity)
        self._wake()
        return partial(self._is_now, identity)

    def _is_now(self, identity: Identity, id: str) -> bool:
        with self._condition:
            return self._exchange.find(identity) == id

    def claim_of(self, participant: object) -> Identity | None:
        """Return who a participant, given as an object or as an id, claims to be beyond its id; None if it does not."""
        if isinstance(participant, str):
            participant = self._client.participants.get(participant) or self._former.get(participant)
        if isinstance(participant, RemoteParticipant):
            participant = participant._identity
        return participant if isinstance(participant, Identity) else None

    # --- what the program sends ---------------------------------------------------------------------------------------

    def submit(
        self,
        to: object,
        type: Any,
        message: Any,
        attachment: Any,
        timeout: float | None,
        *,
        waits: bool = True,
        mark: Mark | None = None,
    ) -> Delivery:
        """Send a message that is to be confirmed, now or when its recipient is there; return its handle.

        The handle is done when the message is confirmed, when ``timeout`` seconds have passed, or at the client's end.

        Args:
            waits: Whether it may wait for a connection.
            mark: Whether it asks or answers.
        Raises:
            UsageError: If the recipient does not confirm; nothing was sent. `InvalidMessage` if it cannot be carried.
            ParticipantNotFound: If the recipient is none.
            SendTimeout: If too much was unconfirmed all the time; nothing was sent.
            NotSent: If there is no connection, and it does not wait.
            NotEnabled: If messaging was disabled meanwhile.
        """
        client = self._client
        identity = self._address(to)
        check_text(type, "type")
        check_own_type(type)
        if not is_of_programs(type):
            raise UsageError(f"a message of type {type!r} cannot be confirmed: the type is not a program's")
        if not waits and client.uplink.state is ClientState.OFFLINE:
            raise carry_over(NotSent, "the client is offline, and nothing was sent", client.failure())
        body, data = copy_json(as_object(message, "message")), bytes(as_buffer(attachment, "attachment"))
        size = self._measure(id_of(to), type, body, data, mark)
        what = f"the message {type!r} to {identity.name or identity.instance}"
        deadline = Deadline(client.runtime, timeout)
        # The reader, and the task that reconnects, would wait for themselves.
        longest = 0 if client.uplink.is_on_its_task else timeout
        if isinstance(mark, Answer):
            longest = min(longest or FOREVER, ROOM_FOR_ANSWER if self.find(identity) else 0)
        delivery = Delivery(what, client.runtime, client.refuse_to_block)
        delivery._default_timeout = client.default_timeout
        with self._condition:
            self._condition.wait_for(lambda: self._has_ended or self._exchange.has_room(identity, size), longest)
            client.check_open()
            self._check_enabled()  # In here: what is pending when it ends is withdrawn, and nothing comes behind that.
            if not self._exchange.has_room(identity, size):
                raise SendTimeout(
                    f"{what}: {WINDOW} messages or 1 MiB were unconfirmed for {longest or 0:.3g} s; not sent",
                    retryable=True,
                )
            with critical_section(client.runtime):
                send = self._exchange.submit(self._now(), identity, type, body, data, size, mark)
                self._pending[send] = _Pending(delivery, deadline, timeout)
        self._wake()
        return delivery

    def give_up(self, delivery: Delivery) -> bool:
        """Wait no more for a message; return whether it is a confirmed one, which is done then."""
        with critical_section(self._client.runtime):
            with self._condition:
                done = [self._expire(send) for send in self._sends_of(delivery)]
            self._resolve(done)
        self._wake()
        return bool(done)

    def _sends_of(self, delivery: Delivery) -> list[ConfirmedSend]:
        return [send for send, pending in self._pending.items() if pending.delivery is delivery]

    def _address(self, to: object) -> Identity:
        """Return who a recipient is; raises as `submit`, and TypeError if it is no participant."""
        client, id = self._client, id_of(to)
        if id == client.local_participant.id:
            raise UsageError("a message to oneself cannot be confirmed: use a queue")
        if (identity := self.claim_of(to)) is not None:
            return identity
        participant = to if isinstance(to, RemoteParticipant) else client.participants.get(id)
        if participant is None or not participant.online:
            self._check_enabled()
            who = to.name if isinstance(to, RoomParticipant) and to.name else id
            namesake = client.participants.by_name(who)
            hint = "" if namesake is None else f"; give get_participant_by_name({who!r}), or its id {namesake.id!r}"
            raise ParticipantNotFound(f"{who!r} does not take part in the room's messaging{hint}")
        raise UsageError(
            f"{participant.name or id!r} does not confirm messages: it is no client of this package, or of another "
            "version; send without confirm=True"
        )

    def _measure(self, to: str, type: str, body: JsonObject, data: bytes, mark: Mark | None) -> int:
        """Return how many bytes a message takes; raises `InvalidMessage` if it cannot be carried."""
        session, own = self._client.session, encode_body(Numbered(_LARGEST, _LARGEST, type, body, mark=mark))
        try:
            return sum(map(len, session.encode(Send(to, *own, data))[1:]))
        except InvalidMessage as error:
            fault = error
        session.encode(Send(to, type, body, data))  # Its error names the place as the program knows it.
        raise fault

    # --- what comes, on the reader ------------------------------------------------------------------------------------

    def take(self, event: events.Received) -> None:
        """Take a message whose type is our own. Never waits."""
        try:
            with self._condition:
                self._exchange.take(self._now(), event.sender, event.type, event.message, event.attachment)
                happened = self._exchange.take_events()
                # Where Ctrl-C struck in `submit`, no caller waits for what was submitted.
                confirmed = filter(self._pending.__contains__, self._exchange.take_confirmed())
                done: list[_Done] = [(self._forget(send).delivery, None) for send in confirmed]
        except (ProtocolError, InvalidMessage) as error:
            self._client.budget.warn("confirming", "dropped a message of %s: %s", event.sender, safe_text(error))
            return
        self._resolve(done)
        for one in happened:
            self._report(one)
        self._placement.place()
        self._wake()

    def _report(self, event: Proven | Missed) -> None:
        match event:
            case Proven(identity, participant_id, replaced):
                self._former.pop(participant_id, None)
                self._former[participant_id] = identity
                if len(self._former) > KNOWN:
                    del self._former[next(iter(self._former))]
                if replaced is not None:
                    self._client.replaced(replaced)
            case Missed(participant_id, count):
                body = {"from": participant_id, "count": count}
                participant = self._client.participants.get(participant_id)
                self._client.publish("messages_missed", "messages_missed", body, participant)

    # --- the confirming task ------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Have the confirming task look; start it, if there is something for it to do."""
        with critical_section(self._client.runtime):
            with self._condition:
                is_idle = not (self._exchange.is_due or self._exchange.first or self._pending or self._refused)
                if self._has_ended or (is_idle and not self._has_task):
                    return
                self._condition.notify_all()
                has_task, self._has_task = self._has_task, True
            try:
                if not has_task:
                    self._task = self._client.runtime.spawn(self._run, name=f"meshsync confirming of {self._name}")
            except RuntimeError as error:
                with self._condition:
                    self._has_task = False
                self._client.budget.warn("confirming task", "no message is confirmed now: %s", safe_text(error))

    def _run(self) -> None:
        try:
            with self._client.runtime.housekeeping():
                while True:
                    if not self._work():
                        break
        except TaskExit:
            raise
        except Exception:
            logger.exception("confirming messages failed; it begins again with the next message")
        finally:
            with self._condition:
                self._has_task = self._is_sending = False
                self._condition.notify_all()

    def _work(self) -> bool:
        """Wait for something to do, and do it; return False at the end."""
        with self._condition:
            while True:
                if self._has_ended:
                    return False
                now = self._now()
                done = self._look(now)
                connection = self._connection
                directs = [] if connection is None else self._exchange.drain()
                self._is_sending = bool(directs)
                if directs or done or self._placement.is_due:
                    break
                self._condition.notify_all()  # For those that wait until all is sent.
                self._condition.wait(self._rest(now))
        self._resolve(done)
        for direct in directs:
            assert connection is not None
            self._send(direct, connection)
        self._placement.place()
        return True

    def _look(self, now: float) -> list[_Done]:
        """Do what is due; return what is done by it."""
        if self._connection is not None:
            self._exchange.look(now)
        for _, direct in [entry for entry in self._refused if entry[0] <= now]:
            self._exchange.refuse(direct)
        self._refused = [entry for entry in self._refused if entry[0] > now]
        late = [send for send, pending in self._pending.items() if pending.deadline.is_over]
        return [self._expire(send) for send in late]

    def _rest(self, now: float) -> float | None:
        """Return how long there is nothing to do, in seconds; None for ever."""
        times = [when - now for when, _ in self._refused]
        if self._connection is not None and self._exchange.deadline is not None:
            times.append(self._exchange.deadline - now)
        times += [left for pending in self._pending.values() if (left := pending.deadline.left()) is not None]
        return max(0.0, min(times)) if times else None

    def _send(self, direct: Direct, connection: Connection) -> None:
        request = Send(direct.to, direct.type, direct.message, direct.attachment)
        with suppress(ConnectionLost, UsageError):  # Where it has ended, or is closed, it goes out again on the next.
            connection.request(request, "a confirmed message", None, partial(self._answered, direct, connection))

    def _answered(self, direct: Direct, connection: Connection, error: MeshsyncError | None) -> None:
        """Note the room's answer to what was sent. Called on the reader."""
        if error is None or isinstance(error, ConnectionLost):
            return
        done: list[_Done] = []
        with self._condition:
            if connection is not self._connection:
                return
            if isinstance(error, ParticipantNotFound):
                self._exchange.lose(self._now(), direct.to)
            elif direct.send in self._pending and isinstance(error, RoomError) and error.code in _LASTING:
                self._exchange.give_up(direct.send)
                done.append((self._forget(direct.send).delivery, error))
            else:
                self._refused.append((self._now() + PAUSE, direct))
        self._resolve(done)
        self._wake()

    # --- the end ------------------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> None:
        """Wait until all that is due is sent, at most ``timeout`` seconds: what was placed is to be confirmed."""
        with self._condition:
            self._condition.wait_for(
                lambda: not (self._has_task and (self._is_sending or self._exchange.is_due) and self._connection),
                timeout,
            )

    def withdraw_all(self) -> None:
        """Give all up that is not confirmed: the program has disabled messaging."""

        def failed(kind: type[ConnectionLost], what: str) -> ConnectionLost:
            error = kind(f"{what}: messaging was disabled before it was confirmed")
            error.connection_alive = True
            return error

        self._withdraw_all(failed)

    def _withdraw_all(self, failed: Callable[[type[ConnectionLost], str], ConnectionLost]) -> None:
        done: list[_Done] = []
        with critical_section(self._client.runtime):
            with self._condition:
                for send in list(self._pending):
                    self._exchange.give_up(send)
                    delivery = self._forget(send).delivery
                    kind = NotSent if send.state is SendState.WITHDRAWN else DeliveryUnknown
                    done.append((delivery, failed(kind, delivery._what)))
            self._resolve(done)

    def end(self, cause: MeshsyncError | None) -> None:
        """Send and place nothing any more; ``cause`` is None if the program closed the client."""
        with self._condition:
            self._has_ended = True
        self.disconnect()
        self._withdraw_all(lambda kind, what: carry_over(kind, f"{what} was not confirmed", cause))
        self._placement.end()

    # --- inside, with the condition held ------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._client.runtime.monotonic()

    def _forget(self, send: ConfirmedSend) -> _Pending:
        pending = self._pending.pop(send)
        self._condition.notify_all()  # There is room for another.
        return pending

    def _expire(self, send: ConfirmedSend) -> _Done:
        """Wait no more for a message, since its time is over."""
        self._exchange.give_up(send)
        pending = self._forget(send)
        delivery, what, timeout = pending.delivery, pending.delivery._what, pending.timeout or 0.0
        if send.state is SendState.WITHDRAWN:
            text = f"{what}: its recipient was not reached within {timeout:.3g} s; not sent"
            return delivery, SendTimeout(text, retryable=True)
        error = DeliveryUnknown(f"{what}: not confirmed within {timeout:.3g} s: handled once, or not at all")
        error.connection_alive = True
        return delivery, error

    @staticmethod
    def _resolve(done: list[_Done]) -> None:
        """Resolve handles; with the condition released."""
        for delivery, error in done:
            delivery._resolve(error)
