"""A transport without a network, whose peer is the test. Its behaviour is set before, so nothing is random.

A test blocks on conditions and never sleeps; ``PATIENCE`` limits its wait for an event that should come at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from meshsync.errors import ConnectionLost as Lost
from meshsync.errors import MeshsyncError, SendTimeout
from meshsync.protocol import codec
from meshsync.protocol.content import Content, Empty
from meshsync.protocol.envelopes import JsonObject
from meshsync.protocol.greeting import GreetingForm, encode_connected, encode_room_ready
from meshsync.protocol.operations import (
    AnswerChunk,
    Call,
    CallChunk,
    Connected,
    Enable,
    OpenCall,
    Push,
    Reply,
    Request,
    RoomReady,
    is_answered,
)
from meshsync.protocol.packets import Reassembler, split
from meshsync.runtime.interfaces import Shield
from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.interfaces import TransportStats

__all__ = ["PATIENCE", "ScriptedConnector", "ScriptedTransport", "greeting", "packets_of", "wait_until"]

RUNTIME = ThreadRuntime()
PATIENCE = 30.0
"""Seconds after which a test fails that waits for a due event."""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look again and again, yielding in between: for changes without notice."""
    for _ in range(1_000_000):
        if is_so():
            return
        RUNTIME.sleep(0)  # only yields
    raise AssertionError("it never came true")


Said = Reply | Push | RoomReady | Connected | Call | CallChunk | AnswerChunk
"""A message of a room."""


def packets_of(*messages: Said) -> list[bytes]:
    """Return the packets in which a room sends these messages."""
    packets: list[bytes] = []
    for message in messages:
        match message:
            case Reply(request_id, content):
                packets += split(request_id, *codec.encode_reply(content))
            case Call(push_id=push_id):
                packets += split(push_id, *codec.encode_push(message))
            case Push() | CallChunk() | AnswerChunk():
                packets += split(0, *codec.encode_push(message))
            case RoomReady():
                packets += split(0, *encode_room_ready(message, GreetingForm.ENVELOPE))
            case Connected():
                packets += split(0, *encode_connected(message, GreetingForm.ENVELOPE))
    return packets


def greeting(participant_id: str = "p-me", name: str = "me") -> list[bytes]:
    """Return the packets of a greeting."""
    return packets_of(RoomReady("lab", "ws://lab.test/rooms/lab", "s-1"), Connected(participant_id, {"name": name}))


class ScriptedTransport:
    """A transport to a room that greets, answers every request, and otherwise does as the test sets.

    Args:
        greets: Whether the greeting comes by itself.
        answers: Whether each request is answered at once, `Enable` with the roster behind.
        roster: The participants already there.
    """

    def __init__(self, *, greets: bool = True, answers: bool = True, roster: Sequence[JsonObject] = ()) -> None:
        self.answers = answers
        self.is_silent_on_calls = False
        """Whether opening a call is not answered, even with ``answers``: the peer has to."""
        self.roster_extras: JsonObject = {}
        """The members beside the participants in the roster."""
        self.has_room = True
        """Whether the buffer accepts more; `SendTimeout` else."""
        self.has_reserve = True
        """Whether it accepts messages from its reserve."""
        self.requests: list[tuple[int, Request]] = []
        """The requests that came, with their ids, in order."""
        self.closes: list[tuple[float, int]] = []
        """The time limit and code of each ``close``."""
        self.receivers: list[int] = []
        """The threads that called ``receive``, in order."""
        self.packets_written: int | None = None
        """The result of ``written``; by default all that was accepted."""
        self.before_answer: Callable[[], None] = lambda: None
        """Called at each request before it is answered, outside the lock."""
        self._roster = list(roster)
        self._changed = threading.Condition()
        self._incoming: deque[list[bytes]] = deque([greeting()] if greets else [])
        self._end: MeshsyncError | None = None
        self._accepted = {False: 0, True: 0}
        """Packets, those that may use the reserve apart."""
        self._waiting_senders = 0
        self._is_time_up = False
        self._reassembler = Reassembler()

    # --- the client's side --------------------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes], timeout: float | None, *, is_reserved: bool = False) -> None:
        with self._changed:
            has_reserve = is_reserved and self.has_reserve
            self._waiting_senders += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self.has_room or has_reserve or self._is_time_up or self._end is not None, timeout
            )
            self._waiting_senders -= 1
            if self._end is not None:
                raise Lost(str(self._end))
            if not (self.has_room or has_reserve):
                raise SendTimeout("no room in the scripted buffer", retryable=True)
            self._accepted[is_reserved] += len(packets)
            came = [(m.id, codec.decode_request(m)) for m in self._reassembler.feed(packets)]
            self.requests += came
            self._changed.notify_all()
        for request_id, request in came if self.answers else ():
            self.before_answer()
            if is_answered(request) and not (self.is_silent_on_calls and isinstance(request, OpenCall)):
                self.answer(request_id)
            if isinstance(request, Enable):
                self.say(Push("p-me", "messaging.enabled", {"participants": self._roster, **self.roster_extras}))

    def receive(self, timeout: float | None, shield: Shield | None = None) -> Sequence[bytes]:
        with self._changed:
            self.receivers.append(threading.get_ident())
            self._changed.wait_for(lambda: self._incoming or self._end, timeout)
            if shield is not None:
                shield.put_up()
            if self._incoming:
                return self._incoming.popleft()
            if self._end is not None:
                raise self._end
            return ()

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        with self._changed:
            self.closes.append((timeout, code))
        self.end(Lost("the connection was closed on this side", reason="closed on this side"))

    def stats(self) -> TransportStats:
        return TransportStats(packets_sent=self.written())

    def accepted(self, *, is_reserved: bool = False) -> int:
        return self._accepted[is_reserved]

    def written(self) -> int:
        return sum(self._accepted.values()) if self.packets_written is None else self.packets_written

    # --- the room's side ----------------------------------------------------------------------------------------------

    def feed(self, packets: Sequence[bytes]) -> None:
        """Have packets arrive, all in one read."""
        with self._changed:
            self._incoming.append(list(packets))
            self._changed.notify_all()

    def say(self, *messages: Said) -> None:
        """Have messages arrive, all in one read."""
        self.feed(packets_of(*messages))

    def answer(self, request_id: int, content: Content | None = None) -> None:
        """Answer a request, by default with success."""
        self.say(Reply(request_id, Empty() if content is None else content))

    def end(self, error: MeshsyncError) -> None:
        """End the connection; what arrived before can still be read."""
        with self._changed:
            self._end = self._end or error
            self._changed.notify_all()

    def lose(self, text: str = "the network is gone") -> None:
        """End the connection as a network does."""
        self.end(Lost(text, code=1006, reason=text))

    def fill(self) -> None:
        """Accept no more packets in the buffer."""
        self.has_room = False

    def let_time_run_out(self) -> None:
        """End the waits of senders for room, as if their time were up."""
        with self._changed:
            self._is_time_up = True
            self._changed.notify_all()

    def make_room(self) -> None:
        """Accept all again."""
        with self._changed:
            self.has_room = True
            self._changed.notify_all()

    def wait_for_requests(self, count: int) -> list[Request]:
        """Wait until that many requests came in all, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE), self.requests
            return [request for _, request in self.requests]

    def wait_for_sender(self) -> None:
        """Wait until a task waits for room in the buffer."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting_senders > 0, PATIENCE), "nobody sends"


class ScriptedConnector:
    """Hands out one transport."""

    def __init__(self, transport: ScriptedTransport | MeshsyncError) -> None:
        self.transport = transport
        self.timeouts: list[float | None] = []
        """The time limit of each attempt, in seconds."""

    def connect(self, timeout: float | None) -> ScriptedTransport:
        self.timeouts.append(timeout)
        if isinstance(self.transport, MeshsyncError):
            raise self.transport
        return self.transport
