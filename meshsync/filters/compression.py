"""Compression of a stream's data with zlib.

Each direction is one zlib stream (RFC 1950) from its first chunk to its last, so that chunks profit from those before
them. Every chunk can be read when it has come: it ends with a flush. The last chunk of a direction has an empty header
and ends the zlib stream, whose checksum covers all data. Headers, and chunks without data, are left as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial

from meshsync.errors import InvalidMessage, StreamError, StreamInterrupted
from meshsync.filters.filtering import CHUNK_LIMIT, MakeFilter, StreamFilter
from meshsync.streams.interfaces import MessageStreamChunk

__all__ = ["Compression", "compression"]


def compression(level: int = 6, *, limit: int = CHUNK_LIMIT) -> MakeFilter:
    """Return a maker of filters, for ``filters=[…]``, that compress with zlib.

    Args:
        level: Between 0, none, and 9, most; of this program's own data. The peer has its own. Level 1 is four times as
            fast as 6.
        limit: The most bytes of data in one chunk, sent or received: a chunk that claims to be small and expands beyond
            this fails the stream, having taken no more memory than this.
    Raises:
        ValueError: If ``level`` is out of range.
    """
    if level not in range(10):
        raise ValueError(f"level: {level!r} is not between 0 and 9")
    return partial(Compression, level, limit)


class Compression(StreamFilter):
    """Compresses outgoing chunks and expands incoming ones; see `compression`."""

    name = "zlib"

    def __init__(self, level: int, limit: int) -> None:
        self._level = level
        self._limit = limit
        # Made when they are needed, since most streams are written in one direction and each needs 256 KiB.
        self._compressor: zlib._Compress | None = None
        self._expander: zlib._Decompress | None = None
        self._has_ended = False
        """Whether the peer's last chunk has come."""

    def encode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        """Return a chunk whose data are compressed.

        Raises:
            InvalidMessage: If there are more of them than the limit; the stream goes on without it.
        """
        if len(chunk.data) > self._limit:
            raise InvalidMessage(f"chunk: {len(chunk.data)} bytes; {self._limit} can be compressed at once")
        if len(chunk.data):
            compressor = self._ready()
            data = compressor.compress(chunk.data) + compressor.flush(zlib.Z_SYNC_FLUSH)
            chunk = MessageStreamChunk(chunk.header, data)
        yield chunk

    def finish(self) -> Iterator[MessageStreamChunk]:
        yield MessageStreamChunk({}, self._ready().flush(zlib.Z_FINISH))

    def _ready(self) -> zlib._Compress:
        if self._compressor is None:
            self._compressor = zlib.compressobj(self._level)
        return self._compressor

    def decode(self, chunk: MessageStreamChunk) -> Iterator[MessageStreamChunk]:
        """Return a chunk whose data are expanded, nothing for the last one of the direction.

        Raises:
            StreamError: If they do not continue the peer's zlib stream, expand beyond the limit, or come after its end.
        """
        if self._has_ended:
            raise StreamError("the other side sent a chunk after its last one")
        if not len(chunk.data):
            yield chunk
            return
        if self._expander is None:
            self._expander = zlib.decompressobj()
        expander = self._expander
        try:
            data = expander.decompress(chunk.data, self._limit + 1)
        except zlib.error as error:
            raise StreamError(f"the other side sent what is no continuation of its zlib data: {error}") from error
        if len(data) > self._limit:
            raise StreamError(
                f"the other side sent {len(chunk.data)} bytes that expand to more than {self._limit}, the most "
                "that one chunk may hold"
            )
        self._has_ended = expander.eof
        if not self._has_ended:
            yield MessageStreamChunk(chunk.header, data)
        elif data or chunk.header or expander.unused_data:
            raise StreamError("the other side ended its zlib data in the middle of a chunk")

    def check_end(self) -> None:
        """Check that the peer's zlib stream has ended.

        Raises:
            StreamInterrupted: If it has not.
        """
        if not self._has_ended:
            raise StreamInterrupted("the stream was closed without its last chunk: it is incomplete")
