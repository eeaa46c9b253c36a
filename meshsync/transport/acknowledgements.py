"""What the peer's TCP has acknowledged, as far as the system tells: Linux does, for the heartbeat.

Not the business of this module: what follows from it (``protocol.heartbeat``).
"""

from __future__ import annotations

import sys

__all__ = ["UNSENT_LIMIT", "unacknowledged"]

UNSENT_LIMIT = 128 * 1024
"""Bytes that may lie unsent in the system, before a ping or pong, beside those in flight.

Source: 2 s at 60 kB/s. Half as much counts as room again (Linux, ``tcp_stream_memory_free``), so two packets of 64 KiB
keep a fast connection busy.
"""

if sys.platform == "linux":
    import fcntl
    import termios

    def unacknowledged(descriptor: int) -> int | None:
        """Return how many bytes of those handed to a TCP socket the peer's TCP has not acknowledged, unsent ones too.

        Returns:
            None if the system does not tell. Over TLS the bytes are those of TLS, some more than were given to it.
        Source: tcp(7), SIOCOUTQ, which is the same number as TIOCOUTQ.
        """
        try:
            return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder, signed=True)
        except OSError:
            return None

else:

    def unacknowledged(descriptor: int) -> int | None:
        """Return None: the system does not tell."""
        return None
