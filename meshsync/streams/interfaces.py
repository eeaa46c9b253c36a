"""Streams as programs see them: chunks, and the interfaces of writers and readers, plain or wrapped by a filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TypeVar

from meshsync.hints import Hinted
from meshsync.messages import Buffer
from meshsync.participants import RemoteParticipant
from meshsync.runtime.deadlines import Timeout

__all__ = ["MessageStreamChunk", "StreamReader", "StreamWriter"]

W = TypeVar("W", bound="StreamWriter")


@dataclass(frozen=True, slots=True)
class MessageStreamChunk(Hinted):
    """One piece of a stream: a JSON object and bytes. It arrives whole, in order, exactly as it was cut."""

    header: Mapping[str, Any]
    data: Buffer = field(default=b"", repr=False)
    """Always ``bytes`` where received, ``b""`` for none; any buffer, or None, may be sent."""


class StreamWriter(Protocol):
    """The interface of writers, plain or wrapped; `MessageStreamWriter` documents each call."""

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        ...

    @property
    def to(self) -> RemoteParticipant:
        """The participant that reads it."""
        ...

    @property
    def reader(self) -> StreamReader:
        """The peer's chunks on the same stream."""
        ...

    def write(self, chunk: MessageStreamChunk | Buffer, *, timeout: Timeout = "default") -> None:
        """Send a chunk, or bytes alone as a chunk with an empty header, and return before it is acknowledged."""
        ...

    def flush(self, *, timeout: Timeout = "default") -> None:
        """Wait until all that was written is acknowledged."""
        ...

    def close(self, *, timeout: Timeout = "default") -> None:
        """End the stream regularly when all that was written is acknowledged."""
        ...

    def abort(self, reason: str = "") -> None:
        """End the stream at once, incomplete."""
        ...

    def __enter__(self: W) -> W: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class StreamReader(Protocol):
    """The interface of readers, plain or wrapped; `MessageStreamReader` documents each call."""

    @property
    def stream_id(self) -> str:
        """The id that its opener gave to the stream."""
        ...

    @property
    def sender(self) -> RemoteParticipant:
        """The participant that writes it."""
        ...

    @property
    def header(self) -> Mapping[str, Any]:
        """The header that its opener gave to the stream."""
        ...

    @property
    def writer(self) -> StreamWriter:
        """The way back to the peer, on the same stream."""
        ...

    def accept(self) -> None:
        """Accept the stream; once accepted, this does nothing."""
        ...

    def reject(self, reason: str = "") -> None:
        """Reject the stream."""
        ...

    def read(self, timeout: Timeout = "default") -> MessageStreamChunk | None:
        """Return the next chunk, None at the regular end."""
        ...

    def read_all(self, timeout: Timeout = "default") -> bytes:
        """Return the data of all chunks up to the regular end, joined."""
        ...

    def __iter__(self) -> Iterator[MessageStreamChunk]: ...
    def __next__(self) -> MessageStreamChunk: ...
    def close(self, reason: str = "") -> None:
        """Read no more: the peer is notified."""
        ...
