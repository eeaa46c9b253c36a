"""Attachments that both ends of a test can make, so that they need not go through a pipe. Uses nothing but Python.

``official_peer.mjs`` makes the same bytes.
"""

from __future__ import annotations

import hashlib


def attachment_of(size: int, seed: int) -> bytes:
    """Return so many bytes: the SHA-256 of ``seed:0``, of ``seed:1``, and so on, cut off at the end."""
    blocks = -(-size // hashlib.sha256().digest_size)
    return b"".join(hashlib.sha256(f"{seed}:{number}".encode()).digest() for number in range(blocks))[:size]


def fingerprint(data: bytes) -> dict[str, object]:
    """Return what is told of an attachment instead of itself: its size in bytes and its SHA-256."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
