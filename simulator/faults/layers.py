"""The layers of a simulation that faults belong to: the actions and questions of each.

A kind of fault derives from exactly one of five classes. Two are of one-off faults, which *strike*:

- `ConnectionFault` strikes each live connection of the participants that it names.
- `SimulationFault` strikes once, with the whole simulation as its argument.

One is of lasting faults of programs: `ProgramFault` hinders a program from its beginning to its end.

Two are of lasting faults, which are rules. For each decision, all rules in force are asked, in the order in which they
struck, and each gives a *verdict*:

- `NetworkFault` is asked about links and about attempts to connect; all verdicts add up.
- `RoomFault` is asked about requests, and about what is passed on from one participant to another, where the first
  verdict but `PASS` wins, and about replies, where they add up.

Verdicts check their fields as faults do. A verdict of another question, or none, is a `UsageError` that names the kind.

Rooms and networks lie above this package. The protocols that it needs of them are declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Protocol, TypeAlias

from meshsync.protocol.operations import Request
from simulator.faults import fields
from simulator.faults.fault import Fault, LastingFault, OneOffFault
from simulator.latency import Law

__all__ = [
    "DIRECTIONS",
    "PASS",
    "Chance",
    "ConnectionFault",
    "Delay",
    "Fail",
    "Hold",
    "Limit",
    "Lose",
    "NetworkFault",
    "Pass",
    "Postpone",
    "ProgramFault",
    "Refuse",
    "RejectOffer",
    "RoomFault",
    "RoomRequest",
    "SimulationFault",
    "StruckConnection",
    "StruckNetwork",
    "StruckParticipant",
    "StruckPrograms",
    "StruckRoom",
    "StruckSimulation",
    "Withhold",
]

DIRECTIONS = ("both", "up", "down")
"""Up is from a participant to its room."""

Chance: TypeAlias = Callable[[str], Random]
"""Returns the random stream of a purpose. A kind begins its purposes with its word: ``error_replies/bob``."""


# --- verdicts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pass:
    """The rule does not apply."""


PASS = Pass()


@dataclass(frozen=True, slots=True)
class Hold(fields.Value):
    """Of a link: frames in flight stand still, in one of `DIRECTIONS`, and go on when no rule holds it any more.

    What one direction alone carries arrives, but no acknowledgement of it comes back.
    """

    direction: str = field(default="both", metadata=fields.choice(*DIRECTIONS))


@dataclass(frozen=True, slots=True)
class Delay(fields.Value):
    """Of a link: later frames are delayed by a law, in one of `DIRECTIONS`; of two laws the later one counts.

    Of an attempt: it begins later by one draw.
    """

    law: Law = field(metadata=fields.law)
    direction: str = field(default="both", metadata=fields.choice(*DIRECTIONS))


@dataclass(frozen=True, slots=True)
class Limit(fields.Value):
    """Of a link: a limit in bytes per second, in one of `DIRECTIONS`; the lowest limit counts."""

    bandwidth: float = field(metadata=fields.number(is_zero_fine=False))
    direction: str = field(default="both", metadata=fields.choice(*DIRECTIONS))


@dataclass(frozen=True, slots=True)
class Refuse:
    """Of an attempt: it is refused, as by a port without a listener."""


@dataclass(frozen=True, slots=True)
class Postpone(fields.Value):
    """Of a request or a reply: it is handled, or goes out, later by ``seconds``."""

    seconds: float = field(metadata=fields.number())


@dataclass(frozen=True, slots=True)
class RejectOffer(fields.Value):
    """Of a request that offers a stream: it is rejected in the name of its recipient, which is not notified."""

    reason: str = field(metadata=fields.text)


@dataclass(frozen=True, slots=True)
class Fail(fields.Value):
    """Of a request that is answered: the answer is an error, and the request has no other effect."""

    code: int = field(metadata=fields.whole(0))
    text: str = field(metadata=fields.text)


@dataclass(frozen=True, slots=True)
class Withhold:
    """Of what is passed on: the room keeps it from its recipient until no rule withholds it any more."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Of what is passed on: it never reaches its recipient, which is not notified, nor is its sender."""


# --- connections ------------------------------------------------------------------------------------------------------


class StruckConnection(Protocol):
    """A live connection, or an attempt to connect."""

    def reset(self) -> None:
        """Break it: frames in flight are lost, and both ends are notified at once."""

    def drop(self) -> None:
        """End it at the room's end without a close frame; what is on its way down still arrives, then its end."""

    def silence(self) -> None:
        """Let nothing arrive any more at either end, without notifying them."""

    def pause(self, seconds: float) -> None:
        """Pause the client's end, if it is there, for some seconds; of several pauses the longest counts."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame from the room's end, if it is there."""

    def push(self, packets: Sequence[bytes]) -> None:
        """Send packets from the room's end, if it is there, unchecked."""


@dataclass(frozen=True, slots=True)
class ConnectionFault(OneOffFault):
    """A one-off fault of connections."""

    def strike(self, connection: StruckConnection) -> None:
        """Strike one connection; called for each one of the participants in `names`, in the order of connecting."""
        raise NotImplementedError


# --- the simulation ---------------------------------------------------------------------------------------------------


class StruckNetwork(Protocol):
    """The network of a simulation."""

    def restart(self, down: float, *, forgets: bool) -> int:
        """Reset every connection, refuse attempts for ``down`` seconds, and return how many connections there were.

        Args:
            forgets: Whether the participants leave at once; else they are listed until heartbeats would fail.
        """


class StruckParticipant(Protocol):
    """A participant without a thread."""

    @property
    def name(self) -> str: ...
    @property
    def is_here(self) -> bool: ...
    def come_back(self) -> None: ...


class StruckRoom(Protocol):
    """A room of a simulation."""

    @property
    def name(self) -> str: ...
    @property
    def participants(self) -> Sequence[StruckParticipant]:
        """Those without threads that were added, those that have left included."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all participants that are or were in the room, or tried to join it."""


class StruckPrograms(Protocol):
    """The programs of a simulation, by the names under which they were spawned.

    Each method raises `UsageError` if no program has the name; nothing has changed then.
    """

    def pause(self, who: str, seconds: float) -> None:
        """Let a program and its connections stand still for some seconds; of several pauses the longest counts."""

    def slow(self, cause: Fault, who: str, factor: float, by: float) -> None:
        """Let a program's sleeps last ``factor`` times as long, and its turns begin ``by`` seconds later."""

    def skew(self, cause: Fault, who: str, offset: float, drift: float) -> None:
        """Let a program's wall clock be ahead by ``offset`` seconds, and by ``drift`` more each second."""

    def relieve(self, cause: Fault) -> None:
        """End what a fault has begun."""

    def relieve_all(self) -> None:
        """End all of that, pauses included."""


class StruckSimulation(Protocol):
    """A whole simulation."""

    @property
    def programs(self) -> StruckPrograms: ...
    @property
    def network(self) -> StruckNetwork: ...
    @property
    def rooms(self) -> Sequence[StruckRoom]:
        """In the order of making."""

    def join(self, room: StruckRoom, name: str, role: str) -> None:
        """Let a new participant without a program join a room."""

    def crash(self, who: str, how: str, restart_after: float | None) -> None:
        """End the life of a program by force, and begin another one after some virtual seconds, unless None.

        Raises:
            UsageError: If no program has that name.
        """

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after some virtual seconds; `quiet` does not cancel it."""


@dataclass(frozen=True, slots=True)
class SimulationFault(OneOffFault):
    """A one-off fault of more than connections."""

    is_recorded_by_itself: ClassVar[bool] = False
    """Whether what it does to the simulation is written down there, where its participants are known."""

    def strike(self, simulation: StruckSimulation) -> None:
        """Strike, once.

        Raises:
            UsageError: If it cannot strike; nothing has changed.
        """
        raise NotImplementedError


# --- programs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProgramFault(LastingFault):
    """A lasting fault of a program. It ends by itself in no case: `StruckPrograms.relieve` is called for it."""

    is_of_programs: ClassVar[bool] = True

    def hinder(self, programs: StruckPrograms) -> None:
        """Begin; the cause given to ``programs`` is this fault.

        Raises:
            UsageError: If there is no such program; nothing has changed.
        """
        raise NotImplementedError


# --- the network ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkFault(LastingFault):
    """A lasting fault of links, of attempts to connect, or of both.

    Participants are given by name; a client whose token is not valid has an empty name. On `PASS` the region of a
    participant that has one is asked about too, as if it were one.
    """

    def on_link(self, name: str) -> Pass | Hold | Delay | Limit:
        """Return the verdict on the links of a participant's connections; asked when a rule comes or goes."""
        return PASS

    def on_attempt(self, name: str) -> Pass | Refuse | Delay:
        """Return the verdict on a participant's attempts to connect; asked when one begins and when it arrives."""
        return PASS


# --- rooms ------------------------------------------------------------------------------------------------------------


class RoomRequest(Protocol):
    """A request that a room is about to handle."""

    @property
    def sender(self) -> str:
        """The participant's name."""

    @property
    def content(self) -> Request: ...
    @property
    def is_answered(self) -> bool:
        """Whether it gets a reply; if not, it cannot `Fail`."""

    @property
    def is_acceptance(self) -> bool:
        """Whether it accepts a stream."""

    @property
    def offered_to(self) -> str | None:
        """The name of the participant that it offers a stream to; None if it offers none, or to no participant."""


@dataclass(frozen=True, slots=True)
class RoomFault(LastingFault):
    """A lasting fault of rooms."""

    def on_request(self, request: RoomRequest, chance: Chance) -> Pass | Postpone | RejectOffer | Fail:
        """Return the verdict on a request."""
        return PASS

    def on_passage(self, sender: str, to: str) -> Pass | Withhold | Lose:
        """Return the verdict on what the room passes on from one participant to another, both given by name.

        Where they have regions, it is asked about those too, unless the verdict was another than `PASS`.
        """
        return PASS

    def on_reply(self, name: str) -> Pass | Postpone:
        """Return the verdict on a reply to a participant; errors of `Fail` are replies too."""
        return PASS
