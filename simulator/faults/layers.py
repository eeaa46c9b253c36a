"""The layers of a simulation that faults belong to: what each lets a fault do, or asks it.

A kind of fault derives from exactly one of four classes. Two are of one-off faults, which *strike*:

- `ConnectionFault` strikes each live connection of the participants that it names.
- `SimulationFault` strikes once, and has the whole simulation before it.

Two are of lasting faults, which are rules. What is decided goes through all rules in force, in the order in which they
struck, and each gives a *verdict*:

- `NetworkFault` is asked about links and about attempts to connect; all verdicts add up.
- `RoomFault` is asked about requests, where the first verdict but `PASS` wins, and about replies, where they add up.

Rooms and networks lie above this package. What it needs of them is declared here, and they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeAlias

from meshsync.protocol.operations import Request
from simulator.faults.fault import LastingFault, OneOffFault
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
    "NetworkFault",
    "Pass",
    "Postpone",
    "Refuse",
    "RejectOffer",
    "RoomFault",
    "RoomRequest",
    "SimulationFault",
    "StruckConnection",
    "StruckNetwork",
    "StruckParticipant",
    "StruckRoom",
    "StruckSimulation",
]

DIRECTIONS = ("both", "up", "down")
"""Up is from a participant to its room."""

Chance: TypeAlias = Callable[[str], Random]
"""Returns the random stream of a purpose. A kind begins its purposes with its word: ``error_replies/bob``."""


# --- verdicts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pass:
    """The rule is not about this."""


PASS = Pass()


@dataclass(frozen=True, slots=True)
class Hold:
    """Of a link: what is in flight stands still, and goes on when no rule holds it any more."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Of a link: what sets out takes as long as a law says, in one of `DIRECTIONS`; of two laws the later one counts.

    Of an attempt: it begins later by one draw.
    """

    law: Law
    direction: str = "both"


@dataclass(frozen=True, slots=True)
class Limit:
    """Of a link: it carries at most so many bytes per second, in one of `DIRECTIONS`; the lowest limit counts."""

    bandwidth: float
    direction: str = "both"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Of an attempt: it is refused, as where nobody listens."""


@dataclass(frozen=True, slots=True)
class Postpone:
    """Of a request or a reply: it is handled, or goes out, so many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RejectOffer:
    """Of a request that offers a stream: it is rejected in the name of its recipient, who does not hear of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Of a request that is answered: the answer is an error, and nothing else comes of it."""

    code: int
    text: str


# --- connections ------------------------------------------------------------------------------------------------------


class StruckConnection(Protocol):
    """A live connection, or an attempt to connect."""

    def reset(self) -> None:
        """Break it: what is in flight is lost, and both ends learn of it at once."""

    def silence(self) -> None:
        """Have nothing arrive any more at either end, without telling them."""

    def pause(self, seconds: float) -> None:
        """Stop the client's end, if it is there, for so many seconds; the longest of several pauses counts."""

    def close(self, code: int, reason: str) -> None:
        """Have the room's end, if it is there, send a close frame."""

    def push(self, packets: Sequence[bytes]) -> None:
        """Have the room's end, if it is there, send packets as they are, right or wrong."""


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
            forgets: Whether the participants have left at once; else they are listed until heartbeats would fail.
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
        """Those without threads that were added, those who have left included."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all who are or were in the room, or wanted to be."""


class StruckSimulation(Protocol):
    """A whole simulation."""

    @property
    def network(self) -> StruckNetwork: ...
    @property
    def rooms(self) -> Sequence[StruckRoom]:
        """In the order of making."""

    def join(self, room: StruckRoom, name: str, role: str) -> None:
        """Have a new participant without a program join a room."""

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something so many virtual seconds from now; `quiet` does not call it off."""


@dataclass(frozen=True, slots=True)
class SimulationFault(OneOffFault):
    """A one-off fault of more than connections."""

    def strike(self, simulation: StruckSimulation) -> None:
        """Strike, once.

        Raises:
            UsageError: If that cannot be done; nothing has changed.
        """
        raise NotImplementedError


# --- the network ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetworkFault(LastingFault):
    """A lasting fault of links, of attempts to connect, or of both.

    Participants are given by name; an empty one is that of a client whose token is not valid.
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
        """Whether its sender waits for a reply; if not, it cannot `Fail`."""

    @property
    def is_acceptance(self) -> bool:
        """Whether its sender accepts a stream with it."""

    @property
    def offered_to(self) -> str | None:
        """The name of the participant to whom it offers a stream; None if it offers none, or to nobody."""


@dataclass(frozen=True, slots=True)
class RoomFault(LastingFault):
    """A lasting fault of rooms."""

    def on_request(self, request: RoomRequest, chance: Chance) -> Pass | Postpone | RejectOffer | Fail:
        """Return the verdict on a request."""
        return PASS

    def on_reply(self, name: str) -> Pass | Postpone:
        """Return the verdict on a reply to a participant; errors of `Fail` are replies too."""
        return PASS
