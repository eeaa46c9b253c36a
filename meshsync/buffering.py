"""Joining small chunks: the name under which programs import ``meshsync.filters.buffering``."""

from meshsync.filters.buffering import BufferedWriter, buffered

__all__ = ["BufferedWriter", "buffered"]
