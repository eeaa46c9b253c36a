"""Encryption of a stream, with authentication (AEAD), by a key that both participants have. Needs the extra ``crypto``.

Protected, against any party without the key, the room included:

- Data and headers of chunks can neither be read nor forged. A chunk that is changed, repeated, left out, moved to
  another place, direction or stream fails the stream, and so does an end that the peer did not intend.
- The stream's opening header, with the filters that come before this one, is authenticated but not hidden: if it is
  changed, or the keys differ, the stream is rejected before anything is accepted.
- The acceptor's chunks are known to answer this very stream.

Not protected:

- Writer, reader, time, size, number of chunks, and the lengths of their headers stay visible. If data is compressed
  first, its size may reveal its content where other parties choose part of it.
- Holders of the key are alike: which of them writes is not proven. A program that shares a key among more than two
  relies on the room for their identities.
- A recorded stream can be offered again as a whole to any holder of the key, its writer included. A program to which
  that matters puts a value into the header that it remembers, such as a number, and a name.
- The room can delay, cut off or reject any stream, which is then noticed. The last chunks before an end that this
  program made may be missing.
- There is no forward secrecy: a later holder of the key can read recorded streams.

On the wire. The opener's entry in the header has ``cipher``, ``salt`` and ``proof``; a chunk's header has ``aead``, the
encrypted header, ``end``, true on the last chunk of its direction, and on the acceptor's first chunk ``salt``. Bytes
within JSON are base64. Keys are derived with HKDF-SHA256 (RFC 5869) from the shared one and the salts, 32 random bytes
per stream and direction, bound to the direction and to the opening header in canonical form. The stream's id is not
among these, since a room may give it another one on the way: the opener's salt stands for it. The nonce of AES-256-GCM
(NIST SP 800-38D, section 8.2.1) is the chunk's number in its direction, 8 bytes, and 0 for the header or 1 for the
data, 4 bytes. The encrypted header is authenticated with the data, so that the two stay together.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from meshsync.errors import InvalidMessage, StreamError, StreamInterrupted, UsageError
from meshsync.filters.filtering import CHUNK_LIMIT, MakeFilter, StreamFilter
from meshsync.protocol.envelopes import decode_object, encode_object
from meshsync.runtime.interfaces import Runtime
from meshsync.streams.interfaces import MessageStreamChunk
from meshsync.world import runtime_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Encryption", "encryption"]

CIPHER = "AES-256-GCM"
"""As the opening names it."""
KEY_SIZE = 32
"""Bytes of the key that both participants have, and of those derived from it."""
SALT_SIZE = 32
"""Bytes; as many as SHA-256 makes. Source: RFC 5869, section 3.1."""

_SIZE_LIMIT = CHUNK_LIMIT * 101 // 100
"""Bytes: a filter before this one may have made the chunk a little longer."""
_NONCE = struct.Struct(">QI")
"""A chunk's number in its direction, and which part of the chunk: 12 bytes in all."""
_HEADER, _DATA = 0, 1
"""The parts of a chunk, in the nonce; no units."""
_MIDDLE, _END = b"chunk", b"end"


def encryption(key: bytes) -> MakeFilter:
    """Return a maker of filters, for ``filters=[…]``, that encrypt with a key; the module lists what is protected.

    Args:
        key: 32 random bytes, such as ``os.urandom(32)``; a password is none.
    Raises:
        UsageError: If the package ``cryptography`` is missing.
        ValueError: If the key has another length; `TypeError` if it is not bytes.
    """
    if not isinstance(key, (bytes, bytearray)):
        raise TypeError(f"key: give {KEY_SIZE} bytes, not {type(key).__qualname__}")
    if len(key) != KEY_SIZE:
        raise ValueError(f"key: {len(key)} bytes; give {KEY_SIZE} random ones")
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError("encryption needs cryptography: pip install 'meshsync-client[crypto]'") from None
    kept = bytes(key)
    return lambda: Encryption(kept)  # No partial, whose repr would show the key.


class Encryption(StreamFilter):
    """Encrypts outgoing chunks, decrypts and checks incoming ones; see `encryption`."""

    name = "aead"
    needs_agreement = True

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._runtime: Runtime | None = None
        self._context = b""
        """The digest of the stream's header."""
        self._salt = b""
        """The opener's."""
        self._out: AESGCM | None = None
        self._in: AESGCM | None = None
        self._sent = 0
        self._received = 0
        self._has_ended = False
        """Whether the peer's last chunk has come."""

    def _live_in(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def _draw_salt(self) -> bytes:
        return runtime_of(self).entropy(SALT_SIZE)

    # --- the opening --------------------------------------------------------------------------------------------------

    def announce(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        self._salt, self._context = self._draw_salt(), _digest(header)
        self._out = self._cipher("opener", self._salt)
        return {"cipher": CIPHER, "salt": _to_text(self._salt), "proof": _to_text(self._derive("proof", self._salt))}

    def accept(self, entry: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        """Derive the opener's key from its announcement, and check that it means the same stream.

        Raises:
            StreamError: If the cipher is another one, the salt is missing, or key or header differ.
        """
        if entry.get("cipher") != CIPHER:
            raise StreamError(f"only {CIPHER} is known here, not {entry.get('cipher')!r:.50}")
        self._salt, self._context = _read_salt(entry), _digest(header)
        proof = _from_text(entry.get("proof"))
        if proof is None or not hmac.compare_digest(proof, self._derive("proof", self._salt)):
            raise StreamError("the two sides have different keys, or the stream's header was changed on its way")
        self._in = self._cipher("opener", self._salt)

    def _derive(self, purpose: str, salt: bytes) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = b"meshsync stream aead 1 " + purpose.encode() + self._context
        return HKDF(SHA256(), KEY_SIZE, salt, info).derive(self._key)

    def _cipher(self, writer: str, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derive(f"written by the {writer}", salt))

    # --- outgoing chunks ----------------------------------------------------------------------------------------------

    def encode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        """Return a chunk, encrypted.

        Raises:
            InvalidMessage: If it is larger than can be carried once encrypted; the stream goes on without it.
        """
        header = encode_object(chunk.header, "header")
        size = len(header) * 2 + len(chunk.data)
        if size > _SIZE_LIMIT:
            raise InvalidMessage(
                f"chunk: {size} bytes, its header counted twice; {CHUNK_LIMIT} can be encrypted at once"
            )
        yield self._seal(header, chunk.data, _MIDDLE)

    def finish(self) -> Iterator[MessageStreamChunk]:
        yield self._seal(b"{}", b"", _END)

    def _seal(self, header: bytes, data: bytes | bytearray | memoryview, kind: bytes) -> MessageStreamChunk:
        outer: dict[str, Any] = {} if kind is _MIDDLE else {"end": True}
        if self._out is None:
            # An answer has a salt of its own: if an opening is repeated, the same key must not come about again.
            salt = self._draw_salt()
            outer["salt"] = _to_text(salt)
            self._out = self._cipher("acceptor", self._salt + salt)
        sealed = self._out.encrypt(_NONCE.pack(self._sent, _HEADER), header, kind)
        encrypted = self._out.encrypt(_NONCE.pack(self._sent, _DATA), data, sealed)
        self._sent += 1
        outer["aead"] = _to_text(sealed)
        return MessageStreamChunk(outer, encrypted)

    # --- incoming chunks ----------------------------------------------------------------------------------------------

    def decode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        """Return a chunk, decrypted, nothing for the last one of the direction.

        Raises:
            StreamError: If it is not encrypted, or not the peer's chunk of that number.
        """
        from cryptography.exceptions import InvalidTag

        sealed = _from_text(chunk.header.get("aead"))
        if sealed is None:
            raise StreamError("a chunk came that is not encrypted: the other side does not apply this filter")
        if self._has_ended:
            raise StreamError("a chunk came after the last one: somebody on the way repeated or added it")
        if self._in is None:
            self._in = self._cipher("acceptor", self._salt + _read_salt(chunk.header))
        kind = _END if chunk.header.get("end") is True else _MIDDLE
        try:
            header = self._in.decrypt(_NONCE.pack(self._received, _HEADER), sealed, kind)
            data = self._in.decrypt(_NONCE.pack(self._received, _DATA), chunk.data, sealed)
        except InvalidTag:
            raise StreamError(
                f"chunk {self._received + 1} is not what the other side wrote there: somebody on the way changed, "
                "repeated, left out or moved a chunk"
            ) from None
        self._received += 1
        if kind is _END:
            self._has_ended = True
        else:
            yield MessageStreamChunk(decode_object(header, "the chunk's header"), data)

    def check_end(self) -> None:
        """Check that the peer's last chunk has come.

        Raises:
            StreamInterrupted: If it has not.
        """
        if not self._has_ended:
            raise StreamInterrupted(
                "the stream was closed without the end that the peer has to confirm: it was cut off on the way, "
                "or the peer does not apply this filter"
            )


def _digest(header: Mapping[str, Any]) -> bytes:
    """Return a digest of a header that does not depend on how it is written as JSON."""
    value = json.loads(encode_object(header, "header", forwarded=True), parse_float=_number)
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).digest()


def _number(text: str) -> float | int:
    # A room that is written in another language may send 1.0 on as 1.
    number = float(text)
    return int(number) if number.is_integer() else number


def _to_text(data: bytes) -> str:
    return b64encode(data).decode()


def _from_text(text: object) -> bytes | None:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None


def _read_salt(header: Mapping[str, Any]) -> bytes:
    salt = _from_text(header.get("salt"))
    if salt is None or len(salt) != SALT_SIZE:
        raise StreamError("the other side sent no salt: it does not apply this filter, or the salt was lost on the way")
    return salt
