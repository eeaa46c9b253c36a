"""The socket under a transport: what may be written to it, and what the system tells of it."""

from __future__ import annotations

import asyncio
import sys

from meshsync.protocol.heartbeat import Outflow
from meshsync.transport.acknowledgements import unacknowledged
from simulator.emulator.wire import Wire

__all__ = ["descriptor_of", "outflow"]


def descriptor_of(transport: asyncio.Transport) -> int | None:
    """Return the socket that a transport writes to; None if there is another way, or the system has no such number."""
    if sys.platform == "win32" or isinstance(transport, Wire):
        return None
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor


def outflow(transport: asyncio.Transport, written: int, room: int) -> Outflow:
    """Return what has become of bytes that were written: a ping waits behind them, in our buffer and in the system's.

    Args:
        room: How many bytes the system may hold, where it does not tell how many it does.
    """
    buffered = transport.get_write_buffer_size()
    descriptor = transport.get_extra_info("socket").fileno()
    is_open = not transport.is_closing() and descriptor >= 0
    waiting = unacknowledged(descriptor) if is_open else None
    if waiting is None:
        return Outflow(written, buffered + min(written - buffered, room))
    return Outflow(written, min(written, buffered + waiting), is_known=True)
