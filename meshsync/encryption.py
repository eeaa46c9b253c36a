"""Encrypted streams: the name under which programs import ``meshsync.filters.encryption``."""

from meshsync.filters.encryption import Encryption, encryption

__all__ = ["Encryption", "encryption"]
