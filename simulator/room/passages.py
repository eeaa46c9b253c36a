"""What faults keep a room from passing on between participants: it is held until none does any more, or lost.

Everything that the room sends one participant on account of another's request passes here, calls included; what it
sends about the roster does not. What is held from one participant to another keeps its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from meshsync.protocol.operations import Connected, Push, Reply, Request, RoomReady
from simulator.faults.asking import ask
from simulator.faults.layers import Lose, Pass, RoomFault, Withhold
from simulator.room.members import Member, Output
from simulator.room.rules import RESERVED_TYPES
from simulator.room.watched import Watcher

__all__ = ["Kept", "Passages"]


@dataclass(frozen=True, slots=True)
class Kept:
    """An output for one recipient that a fault keeps from it."""

    output: Output
    is_lost: bool

    @property
    def recipient(self) -> Member:
        return self.output.to[0]


@dataclass(frozen=True, slots=True)
class _Held:
    """The same while it is held, and what it came of."""

    sender: Member
    sent_ns: int
    request: Request
    output: Output


class Passages:
    """What a room's faults keep from recipients.

    Args:
        in_force: The lasting faults that are in force; its owner changes it.
        watcher: Notified of what is let go, or is lost.
        settle: Called with the id of each output that is lost.
        region_of: Returns the region of a participant, by its name, which faults may name too; None if it has none.
    """

    def __init__(
        self,
        in_force: Sequence[RoomFault],
        watcher: Watcher,
        settle: Callable[[int], None],
        region_of: Callable[[str], str | None],
    ) -> None:
        self._region_of = region_of
        self._in_force = in_force
        self._watcher = watcher
        self._settle = settle
        self._held: list[_Held] = []

    @property
    def is_watched(self) -> bool:
        """Whether a fault in force may keep something."""
        return any(type(fault).on_passage is not RoomFault.on_passage for fault in self._in_force)

    def sift(self, sender: Member, outputs: Sequence[Output]) -> tuple[list[Output], list[Kept]]:
        """Return the outputs without the recipients that a fault keeps them from, and what it keeps.

        Of the former some may have no recipient; a reply without one is left out.
        """
        passed: list[Output] = []
        kept: list[Kept] = []
        for output in outputs:
            judged = output.to if _is_passed_on(output) else ()
            verdicts = {to.id: self._verdict(sender, to) for to in judged if to is not sender}
            open_to = tuple(to for to in output.to if isinstance(verdicts.get(to.id, _PASS), Pass))
            for to in output.to:
                if to not in open_to:
                    kept.append(Kept(replace(output, to=(to,)), isinstance(verdicts[to.id], Lose)))
            if open_to or not isinstance(output.what, Reply):
                passed.append(output if len(open_to) == len(output.to) else replace(output, to=open_to))
        return passed, kept

    def keep(self, sender: Member, sent_ns: int, request: Request, kept: Iterable[Kept]) -> None:
        """Hold what `sift` has kept, or lose it."""
        for one in kept:
            held = _Held(sender, sent_ns, request, one.output)
            if one.is_lost:
                self._lose(held)
            else:
                self._held.append(held)

    def release(self) -> list[Output]:
        """Return what no fault holds any more, in its order."""
        waiting, self._held = self._held, []
        released: list[Output] = []
        for held in waiting:
            verdict = self._verdict(held.sender, held.output.to[0])
            if isinstance(verdict, Withhold):
                self._held.append(held)
            elif isinstance(verdict, Lose):
                self._lose(held)
            else:
                self._watcher.released(held.sender, held.sent_ns, held.request, held.output)
                released.append(held.output)
        return released

    def forget(self, recipient: Member) -> None:
        """Lose what is held for a participant that leaves."""
        waiting, self._held = self._held, []
        for held in waiting:
            if held.output.to[0] is recipient:
                self._lose(held)
            else:
                self._held.append(held)

    def _verdict(self, sender: Member, to: Member) -> Pass | Withhold | Lose:
        for fault in self._in_force:
            for origin, destination in product(self._names_of(sender), self._names_of(to)):
                verdict = ask(RoomFault.on_passage, fault, origin, destination)
                if not isinstance(verdict, Pass):
                    return verdict
        return _PASS

    def _names_of(self, member: Member) -> tuple[str, ...]:
        """Return by what faults may name a participant: its name, and then its region."""
        region = self._region_of(member.name)
        return (member.name,) if region is None else (member.name, region)

    def _lose(self, held: _Held) -> None:
        self._watcher.blocked(held.sender, held.request, held.output)
        self._settle(held.output.id)


_PASS = Pass()


def _is_passed_on(output: Output) -> bool:
    """Return whether it is something of the participant that asked, and not of the room itself."""
    what = output.what
    if isinstance(what, Push):
        return what.type not in RESERVED_TYPES
    return not isinstance(what, (RoomReady, Connected))
