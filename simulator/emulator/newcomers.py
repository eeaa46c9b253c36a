"""Connections that have no participant yet: how long they may take, and how many there may be.

On the loopback all clients have one address, so that a limit for each address would protect nobody. The oldest gives
way instead: a client that sends its request is done in milliseconds, and one that keeps silent only grows old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from simulator.emulator.limits import Limits
from simulator.emulator.refusals import Refusals

__all__ = ["Newcomer", "Newcomers"]


class Newcomers:
    """All connections without a participant, in the order of arrival.

    Args:
        most: Returns how many there may be at this moment.
    """

    def __init__(self, limits: Limits, refusals: Refusals, most: Callable[[], int]) -> None:
        self.limits = limits
        self.refusals = refusals
        self._most = most
        self._waiting: dict[Newcomer, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, newcomer: Newcomer) -> None:
        """Add a connection; the oldest give way if there are too many."""
        self._waiting[newcomer] = None
        self._give_way(len(self._waiting) - self._most())

    def leave(self, newcomer: Newcomer) -> None:
        """Remove a connection that has a participant, or has ended. Again does nothing."""
        self._waiting.pop(newcomer, None)

    def halve(self) -> None:
        """End the older half: the process has no descriptors left."""
        self._give_way((len(self._waiting) + 1) // 2)

    def _give_way(self, count: int) -> None:
        for newcomer in tuple(self._waiting)[: max(count, 0)]:
            self.refusals.add("waiting", "the oldest connection without a participant gave way to others", logging.INFO)
            newcomer.abort()


class Newcomer(asyncio.Protocol):
    """One connection until it has a participant; what it sends goes to aiohttp's protocol."""

    def __init__(self, http: asyncio.Protocol, newcomers: Newcomers) -> None:
        self._http = http
        self._newcomers = newcomers
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the time for the first request runs."""
        self._transport = transport = cast("asyncio.Transport", transport)  # That of uvloop is none by its class.
        self._allow(self._newcomers.limits.handshake)
        self._newcomers.enter(self)
        self._http.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand data on."""
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand the end of data on."""
        return self._http.eof_received()

    def pause_writing(self) -> None:
        """Hand it on."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the one that has the transport now, if it is not this."""
        self.seated()
        self._http.connection_lost(exc)

    def answered(self) -> None:
        """Begin to wait for the next request."""
        self._allow(self._newcomers.limits.keep_alive)

    def seated(self) -> None:
        """End the waiting: there is a participant, or no connection any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._newcomers.leave(self)

    def abort(self) -> None:
        """Cut the connection."""
        self.seated()
        if self._transport is not None:
            self._transport.abort()

    def _allow(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        text = "a connection without a participant was ended: it sent no whole request in its time"
        self._newcomers.refusals.add("handshake", text, logging.INFO)
        self.abort()
