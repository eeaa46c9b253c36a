"""What one client sends to one peer and wants confirmed: numbers, the window, and what is to be sent again. Sans-I/O.

A message gets its number when it is first sent, so that one given up before leaves no gap. Numbers go out in
order, on one route at a time (the two participants' ids of the moment, each proven to the other), and the recipient
takes them in order: one that follows a gap waits until the base, which tells the recipient to skip it, has reached it.

Not the business of this module: time, since a caller that waits no longer gives its message up; and who the peer is.
"""

from __future__ import annotations

from enum import Enum

from meshsync.confirming.bodies import WINDOW, Confirmed, Identity, Mark, Numbered
from meshsync.protocol.envelopes import JsonObject
from meshsync.runtime.lifecycle import move

__all__ = ["WINDOW_SIZE", "ConfirmedSend", "ConfirmedSender", "SendState"]

WINDOW_SIZE = 1024 * 1024
"""Bytes that may be unconfirmed besides the `WINDOW`; a larger message goes alone."""


class SendState(Enum):
    """The life of a confirmed message at its sender."""

    WAITING = "waiting"
    """Never sent."""
    UNDER_WAY = "under way"
    """Sent on the present route, or known to have come on an earlier one."""
    LOST = "lost"
    """Sent, but to be sent again, since it may not have come."""
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    """Given up before it was sent: never handled."""
    UNKNOWN = "unknown"
    """Given up after it was sent: handled once or not at all."""


_MOVES = {
    SendState.WAITING: {SendState.UNDER_WAY, SendState.WITHDRAWN},
    SendState.UNDER_WAY: {SendState.LOST, SendState.CONFIRMED, SendState.UNKNOWN},
    SendState.LOST: {SendState.UNDER_WAY, SendState.CONFIRMED, SendState.UNKNOWN},
}


class ConfirmedSend:
    """One message on its way to one peer."""

    __slots__ = ("attachment", "identity", "mark", "message", "number", "size", "state", "type")

    def __init__(
        self,
        identity: Identity,
        type: str,
        message: JsonObject,
        attachment: bytes,
        size: int,
        mark: Mark | None = None,
    ) -> None:
        self.identity: Identity = identity
        """The recipient's."""
        self.type: str = type
        self.message: JsonObject = message
        self.attachment: bytes = attachment
        self.size: int = size
        """In bytes."""
        self.mark: Mark | None = mark
        """Whether it asks or answers."""
        self.number: int = 0
        """From 1 on; 0 before it is first sent."""
        self.state: SendState = SendState.WAITING

    def _go(self, state: SendState) -> None:
        self.state = move(_MOVES, self.state, state, "a confirmed message")

    @property
    def is_settled(self) -> bool:
        """Whether its state is a last one."""
        return self.state not in _MOVES


class ConfirmedSender:
    """The messages to one peer. Not safe to use from two tasks at once."""

    def __init__(self) -> None:
        self._alive: list[ConfirmedSend] = []
        """Those that a caller waits for, in order; those with a number come first."""
        self._unconfirmed: dict[int, int] = {}
        """The size of each number that the peer may hold unhandled, given up or not, in order."""
        self._last = 0
        self._upto = 0
        self._has_route = False

    @property
    def is_idle(self) -> bool:
        """Whether no caller waits for anything."""
        return not self._alive

    def has_room(self, size: int) -> bool:
        """Return whether a message of ``size`` bytes may be submitted now."""
        return _fits(size, len(self._alive), sum(send.size for send in self._alive))

    def submit(self, send: ConfirmedSend) -> None:
        """Add a message behind all others.

        Raises:
            RuntimeError: If there is no room, which is for the caller to ask first.
        """
        if not self.has_room(send.size):
            raise RuntimeError("a confirmed message was submitted beyond the window")
        self._alive.append(send)

    def give_up(self, send: ConfirmedSend) -> None:
        """Wait no more for a message; its state tells whether it may be handled all the same. A settled one stays."""
        if not send.is_settled:
            send._go(SendState.UNKNOWN if send.number else SendState.WITHDRAWN)
            self._alive.remove(send)

    def rewind(self, number: int) -> None:
        """Note that a number, which did not go out after all, and those sent behind it are to be sent again."""
        self._forget_above(number - 1)

    # --- the route --------------------------------------------------------------------------------------------------

    def resume(self, upto: int, arrived: int) -> list[ConfirmedSend]:
        """Begin a route to the proven peer, which reports what came on earlier ones; return what that confirms.

        Only what did not come is sent again. What was given up and did not come cannot come any more.
        """
        self._has_route = True
        confirmed = self._confirm(upto)
        self._forget_above(arrived)
        for send in self._alive:
            if send.state is SendState.LOST and send.number <= arrived:
                send._go(SendState.UNDER_WAY)
        return confirmed

    def suspend(self) -> None:
        """End the route: nothing goes out until the next."""
        self._has_route = False
        for send in self._alive:
            if send.state is SendState.UNDER_WAY:
                send._go(SendState.LOST)

    def take(self, report: Confirmed) -> list[ConfirmedSend]:
        """Note what the peer reports on the present route; return what that confirms."""
        confirmed = self._confirm(report.upto)
        if report.is_asking:
            self._forget_above(report.arrived)
        return confirmed

    def drain(self) -> list[tuple[ConfirmedSend, Numbered]]:
        """Return what is to be sent now, in order; it counts as sent."""
        ready: list[tuple[ConfirmedSend, Numbered]] = []
        size = sum(self._unconfirmed.values())
        for send in self._alive if self._has_route else ():
            if send.state is SendState.UNDER_WAY:
                continue
            if not _fits(send.size, len(self._unconfirmed), size):
                break
            number, base = send.number or self._last + 1, self._alive[0].number or self._last + 1
            # The recipient would wait for what is missing in between, unless the base tells that it is given up.
            if number != base and number - 1 > self._upto and number - 1 not in self._unconfirmed:
                break
            if number >= base + WINDOW:
                break
            send.number, self._last = number, max(self._last, number)
            send._go(SendState.UNDER_WAY)
            self._unconfirmed[number] = send.size
            size += send.size
            ready.append((send, Numbered(number, base, send.type, send.message, send.attachment, send.mark)))
        return ready

    def _confirm(self, upto: int) -> list[ConfirmedSend]:
        self._upto = max(self._upto, min(upto, self._last))
        for number in [number for number in self._unconfirmed if number <= self._upto]:
            del self._unconfirmed[number]
        confirmed = [send for send in self._alive if 0 < send.number <= self._upto]
        del self._alive[: len(confirmed)]
        for send in confirmed:
            send._go(SendState.CONFIRMED)
        return confirmed

    def _forget_above(self, arrived: int) -> None:
        for number in [number for number in self._unconfirmed if number > arrived]:
            del self._unconfirmed[number]
        for send in self._alive:
            if send.number > arrived and send.state is SendState.UNDER_WAY:
                send._go(SendState.LOST)


def _fits(size: int, count: int, others: int) -> bool:
    return not count or (count < WINDOW and others + size <= WINDOW_SIZE)
