"""Connections to the emulator of this machine, wherever it listens when one is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable

from meshsync.discovery import RunningEmulator, choose, find_emulators
from meshsync.errors import RoomUnavailable
from meshsync.transport.interfaces import Connector, Transport

__all__ = ["EmulatorConnector", "describe_emulators", "port_of"]


class EmulatorConnector:
    """Finds the emulator anew for each connection, since one that was restarted may listen on another port.

    Args:
        port: Of the one to choose; None if there is but one.
        connector_to: Makes a connector to an emulator.
    """

    def __init__(self, port: int | None, connector_to: Callable[[RunningEmulator], Connector]) -> None:
        self._port = port
        self._connector_to = connector_to
        self._url: str | None = None
        """Where the last connection was made to."""

    def connect(self, timeout: float | None) -> Transport:
        """Open a connection; see `meshsync.transport.interfaces.Connector.connect`.

        Raises:
            RoomUnavailable: If no emulator runs now. Also if the one before is gone and several others run: that may
                change, and none of them is what the program wants for sure.
            UsageError: If several run and there was none before.
        """
        found = self._find()
        transport = self._connector_to(found).connect(timeout)
        self._url = found.url
        return transport

    def _find(self) -> RunningEmulator:
        running = find_emulators()
        matching = [found for found in running if self._port in (None, found.port)]
        if self._url is not None:
            matching = [found for found in matching if found.url == self._url] or matching
        if len(matching) == 1:
            return matching[0]
        if len(matching) > 1 and self._url is None:
            return choose(running, self._port)
        known = ", ".join(map(str, running)) or "none"
        wanted = "one emulator of this user" if self._port is None else f"an emulator on port {self._port}"
        raise RoomUnavailable(
            f"no connection to the emulator: {wanted} has to run on this machine, and there is {known}; "
            "'python -m simulator serve' starts one"
        )


def port_of(address: str) -> int | None:
    """Return the port in ``emulator:6374``, None for ``emulator`` alone."""
    found = re.search(r":(\d+)$", address)
    return int(found.group(1)) if found else None


def describe_emulators() -> str:
    """Return the end of an error's text: which emulators run here, and how to join them; nothing if none does."""
    running = find_emulators()
    if not running:
        return "; for rooms on this machine, python -m simulator serve prints what to set"
    if len(running) == 1:
        return f'; an emulator runs at {running[0].url}: connect(url="emulator")'
    urls = ", ".join(found.url for found in running)
    return f'; emulators run at {urls}: connect(url="emulator:{running[0].port}")'
