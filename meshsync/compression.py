"""Compressed streams: the name under which programs import ``meshsync.filters.compression``."""

from meshsync.filters.compression import Compression, compression

__all__ = ["Compression", "compression"]
