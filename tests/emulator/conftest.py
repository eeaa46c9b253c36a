"""Fixtures of whole clients over real sockets."""

from tests.support.rooms import emulated, join, server

__all__ = ["emulated", "join", "server"]
