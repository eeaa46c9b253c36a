"""Whole files through streams: sent in one pass, checked at the other end, and there entirely or not at all.

A file travels as an ordinary stream, so that any program may be at the other end, an official client's too:

- The header of the opening has a member ``file`` beside the program's own: ``name``, a text that may be missing, and
  ``size``, in bytes.
- The chunks are the file's bytes in order, each with an empty header but the last. The last one's header has
  ``sha256``, 64 hexadecimal digits of the whole file; it comes only if the file was the same from beginning to end. An
  empty file is one empty chunk. A program that reads no header just joins the data.
- The receiver answers, on the same stream, with one chunk without data whose header has ``received``, the SHA-256 of
  the file stored. Only then does the sender close the stream, since closing ends both directions; a sender that
  awaits no answer closes at once.
- A file that was sent in part before, by whichever process to whichever, goes on from there where it can: see
  ``meshsync.files.continuing``.
- Any failure ends the stream early, with a reason where both participants have a message for one (see
  ``meshsync.protocol.stream_messages``). To official clients it is closed then, and there is no ``sha256``.

Not the business of this module: how a stream works, which names are safe (``meshsync.files.file_names``), and how a
file comes to have its name only when it is whole (``meshsync.files.partial_file``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Any, Protocol

from meshsync.errors import (
    InvalidMessage,
    MeshsyncError,
    ReceiveTimeout,
    StreamError,
    StreamInterrupted,
    StreamRejected,
    StreamTimeout,
    UsageError,
)
from meshsync.files.continuing import LEAST_SIZE, Answers, Start, begin, find_start, is_resumable, offer_partial
from meshsync.files.file_names import safe_name
from meshsync.files.partial_file import PartialFile, find_folder
from meshsync.files.progress import Progress, Report, reporting
from meshsync.participants import LocalParticipant, RemoteParticipant
from meshsync.protocol.envelopes import as_object
from meshsync.reasons import safe_text
from meshsync.runtime.deadlines import Deadline, Timeout
from meshsync.streams.interfaces import MessageStreamChunk, StreamReader, StreamWriter
from meshsync.world import runtime_of

__all__ = ["ReceivedFile", "SentFile", "StreamCreator", "receive_file", "send_file"]

CHUNK_SIZE = 256 * 1024
"""Bytes. Smaller ones cost more time at both ends, larger ones save none; and a window should hold several."""
MAX_CHUNK_SIZE = 2 * 1024 * 1024
"""Bytes; once encoded, and with a filter's overhead, such a chunk fits into a message in every dialect."""
TIMEOUT = 30.0
"""Seconds for each step of sending."""


class StreamCreator(Protocol):
    """The part of a `MessagingClient` that sending uses."""

    def create_stream(
        self,
        to: RemoteParticipant | LocalParticipant | str,
        header: Mapping[str, Any],
        *,
        timeout: Timeout = "default",
    ) -> StreamWriter: ...


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that was sent."""

    name: str
    """As it was announced."""
    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits."""
    is_confirmed: bool
    """Whether the recipient confirmed that it has it, checked. Else the room has all of it, and no more is known."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that was received, checked and stored."""

    path: Path
    """Absolute."""
    size: int
    """Bytes."""
    sha256: str
    """64 hexadecimal digits."""


# --- sending ----------------------------------------------------------------------------------------------------------


def send_file(
    messaging: StreamCreator,
    path: str | os.PathLike[str],
    to: RemoteParticipant | LocalParticipant | str,
    *,
    header: Mapping[str, Any] | None = None,
    name: str | None = None,
    chunk_size: int = CHUNK_SIZE,
    progress: Progress = False,
    confirm: bool | None = None,
    timeout: float | None = TIMEOUT,
) -> SentFile:
    """Send a file to a participant; return when it has it.

    If the recipient, by ``receive_file``, got a part of it before, under the same name and from a participant of this
    one's name, only the rest is sent, even if either program was started anew. Its SHA-256 shows whether it is a part.

    Args:
        header: Members for the recipient's program beside ``file``.
        name: The file's name there; by default its own name.
        chunk_size: Bytes in each chunk, at most 2 MiB.
        progress: Called with the bytes sent so far and the file's size, first with 0; True shows a bar. An exception
            of it ends the transfer.
        confirm: Whether to wait until the recipient has checked and stored the file, as those do that use
            ``receive_file``. By default this is expected of programs that use meshsync, and of no others.
        timeout: The longest wait for each step: acceptance, room for a chunk, the confirmation. In seconds; None waits
            for ever.
    Raises:
        ValueError: If ``chunk_size`` is out of range.
        OSError: If the file cannot be read; `FileNotFoundError`, `IsADirectoryError` and others.
        UsageError: If it is no regular file; `InvalidMessage` if a header or name cannot be sent. Nothing was sent.
        StreamRejected: If the recipient declined.
        StreamCancelled: If the recipient gave up; the text has its reason, such as a full disk.
        StreamInterrupted: If it left, or the connection was lost.
        StreamTimeout: If a step took too long. Without a confirmation it may have the file all the same.
        StreamError: If the file was changed meanwhile, or arrived otherwise than it was. The recipient keeps nothing.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"the first argument is the file's path, and the second its recipient, not {path!r:.100}")
    if not 1 <= chunk_size <= MAX_CHUNK_SIZE:
        raise ValueError(f"a chunk of a file has 1 to {MAX_CHUNK_SIZE} bytes, not {chunk_size}")
    with closing(_open_to_read(path)) as file:
        before = os.fstat(file.fileno())
        called = _name_to_announce(path, name)
        opening = _announce(header, called, before.st_size)
        is_confirmed = False
        with reporting(progress, called) as report:
            report(0, before.st_size)
            try:
                with messaging.create_stream(to, opening, timeout=timeout) as writer:
                    is_awaited = _can_confirm(writer) if confirm is None else confirm
                    answers, start = Answers(writer.reader), Start()
                    if is_awaited and before.st_size >= LEAST_SIZE:
                        start = find_start(file, before.st_size, writer, answers, timeout)
                    digest = _send_chunks(file, before, start, chunk_size, writer, report, timeout)
                    if is_awaited:
                        is_confirmed = _await_confirmation(writer, answers, digest, timeout)
            except MeshsyncError:
                if not is_confirmed:  # Else it has arrived, and how the stream ends matters no more.
                    raise
        if is_awaited and not is_confirmed:
            raise StreamTimeout(
                f"{called!r} was sent, but {_name_of(writer.to)} did not confirm it within {timeout or 0:g} s: it may "
                "have it; give confirm=False where the recipient does not use receive_file"
            )
    return SentFile(called, before.st_size, digest, is_confirmed)


def _open_to_read(path: str | os.PathLike[str]) -> FileIO:
    # Without blocking: to open a pipe would wait for its writer.
    file = FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"{os.fspath(path)!r} is no regular file: it has no size that could be announced")
    return file


def _name_to_announce(path: str | os.PathLike[str], name: str | None) -> str:
    try:
        return safe_name(os.path.basename(os.fsdecode(path)) if name is None else name)
    except ValueError as error:
        raise InvalidMessage(f"{error}; give another with name=") from None


def _announce(header: Mapping[str, Any] | None, name: str, size: int) -> dict[str, Any]:
    opening = as_object({} if header is None else header, "header")
    if "file" in opening:
        raise InvalidMessage("header: 'file' is where the file's name and size go; call yours otherwise")
    return {**opening, "file": {"name": name, "size": size} | ({"resume": True} if size >= LEAST_SIZE else {})}


def _send_chunks(
    file: FileIO,
    before: os.stat_result,
    start: Start,
    chunk_size: int,
    writer: StreamWriter,
    report: Report,
    timeout: float | None,
) -> str:
    """Send the file as it was found, from where its receiver has it; return its SHA-256."""
    size, sent, digest = before.st_size, start.position, start.digest
    header: dict[str, Any] = {}
    if sent:
        header["at"] = sent
        report(sent, size)
    while True:
        # Fresh bytes each time: a wrapped writer may keep its argument, so that reading into one buffer again and
        # again, half a millisecond less for a MiB, would damage buffered data.
        data = file.read(min(chunk_size, size - sent))
        digest.update(data)
        sent += len(data)
        if sent < size and data:
            writer.write(MessageStreamChunk(header, data), timeout=timeout)
            report(sent, size)
            header = {}
            continue
        try:
            _check_unchanged(file, before, sent)
        except StreamError as error:
            writer.abort(safe_text(error))  # Else the receiver reads no more than that the program failed.
            raise
        writer.write(MessageStreamChunk({**header, "sha256": digest.hexdigest()}, data), timeout=timeout)
        report(sent, size)
        return digest.hexdigest()


def _check_unchanged(file: FileIO, before: os.stat_result, sent: int) -> None:
    now = os.fstat(file.fileno())
    if now.st_size != before.st_size:
        raise StreamError(f"the file changed while it was sent: it had {before.st_size} bytes, and now {now.st_size}")
    if now.st_mtime_ns != before.st_mtime_ns:
        raise StreamError("the file was written to while it was sent")
    if sent < before.st_size or file.read(1):  # Files that the kernel makes up as they are read.
        raise StreamError(f"the file has not the {before.st_size} bytes that its size says")


def _can_confirm(writer: StreamWriter) -> bool:
    # Wrappers need not have it; most expect the same program at both ends.
    return bool(getattr(writer, "peer_is_meshsync", True))


def _await_confirmation(writer: StreamWriter, answers: Answers, digest: str, timeout: float | None) -> bool:
    """Wait for the recipient's answer; return whether it came in time."""
    deadline = Deadline(runtime_of(writer), timeout)
    try:
        with suppress(StreamError):  # The recipient may have answered, and ended the stream, already.
            writer.flush(timeout=deadline.left())  # Until then a wrapper may hold back the last of the file.
        answer = answers.read(deadline.left())
    except ReceiveTimeout:
        return False
    except StreamInterrupted:
        writer.flush(timeout=deadline.left())  # The writer knows whether it was cancelled.
        raise
    if answer is None:
        raise StreamInterrupted(f"{_name_of(writer.to)} closed the stream and did not confirm the file")
    if answer.header.get("received") != digest:
        raise StreamError(f"{_name_of(writer.to)} confirmed another file than was sent")
    return True


# --- receiving --------------------------------------------------------------------------------------------------------


def receive_file(
    reader: StreamReader,
    directory: str | os.PathLike[str],
    *,
    name: str | None = None,
    progress: Progress = False,
    overwrite: bool = False,
    max_size: int | None = None,
    timeout: Timeout = "default",
) -> ReceivedFile:
    """Receive a file into a directory; return when it is there, complete and checked.

    A stream that is undecided is accepted, or rejected where a file like this is not wanted. On any exception the
    sender is notified. The file never lies anywhere but directly in the directory, no link in it is followed, and
    permissions are those of any new file.

    After an exception nothing stays in the directory, with one exception: where the stream was interrupted, no chunk
    came in time, or the process is ended, the part of a file that its sender can continue stays under a temporary name,
    ``.meshsync-….part``. When a participant of that sender's name sends a file for the same name again, also to another
    process, ``receive_file`` offers that part and gets the rest, or the whole if it is a part of another file.

    Args:
        name: The file's name; by default the one that the sender gave it.
        progress: As for ``send_file``, with the bytes received so far.
        overwrite: Whether a file of that name is replaced, in one step, rather than kept.
        max_size: The largest file to accept, in bytes.
        timeout: The longest wait for the next chunk, in seconds; None waits for ever. By default as for ``read``.
    Returns:
        Where it is, its size and its SHA-256. Where the sender's program announced no file, which needs a ``name``,
        they are those of the data that came before it closed the stream.
    Raises:
        StreamError: If the data is not as it was sent; `StreamRejected` if the name is not safe on every system, or the
            file announced too large.
        StreamInterrupted: If the stream ended before the file did.
        ReceiveTimeout: If no chunk came in time.
        FileExistsError: If there is a file of that name and ``overwrite`` is false; `OSError` if it cannot be stored.
        UsageError: If a ``name`` is missing or not safe.
    """
    if not hasattr(reader, "header"):
        raise TypeError(f"the first argument is the stream's reader, and the second a directory, not {reader!r:.100}")
    try:
        offer = _read_offer(reader, name)
        if max_size is not None and (offer.size or 0) > max_size:
            raise StreamRejected(_too_large(offer.size, max_size))
        folder = find_folder(directory, offer.name, overwrite=overwrite)
        key = _key(reader.sender, offer)
        held = PartialFile(folder, runtime_of(reader), key, lambda: not reader.sender.online)
        with held as partial, reporting(progress, offer.name) as report:
            try:
                size, digest = _receive_chunks(reader, offer, partial, report, max_size, timeout)
            except BaseException as error:
                if _may_go_on(error):
                    partial.keep()
                raise
            partial.settle(offer.name, overwrite=overwrite)
    except BaseException as error:
        reader.close(_excuse(error))
        raise
    with suppress(MeshsyncError):  # The file is here, whether or not its sender is notified.
        patience = "default" if timeout is None else timeout
        reader.writer.write(MessageStreamChunk({"received": digest}), timeout=patience)
        reader.writer.flush(timeout=patience)
    return ReceivedFile(Path(folder, offer.name), size, digest)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A file as the stream's opener announced it."""

    name: str
    size: int | None
    """Bytes; None if the stream announces no file, so that its end gives the size."""
    is_resumable: bool = False
    """Whether the sender can go on where an earlier transfer stopped."""


def _read_offer(reader: StreamReader, name: str | None) -> _Offer:
    if name is not None:
        try:
            name = safe_name(name)
        except ValueError as error:
            raise UsageError(str(error)) from None
    file = reader.header.get("file")
    if file is None:
        if name is None:
            raise UsageError(f"{_name_of(reader.sender)} announced no file: to store the stream, give a name")
        return _Offer(name, None)
    size = file.get("size") if isinstance(file, dict) else None
    if type(size) is not int or size < 0:
        raise StreamRejected(f"{_name_of(reader.sender)} announced a file without a size in bytes")
    if name is not None:
        return _Offer(name, size, is_resumable(file))
    announced = file.get("name")
    if not isinstance(announced, str):
        raise StreamRejected(f"{_name_of(reader.sender)} announced a file without a name: give one to store it")
    try:
        return _Offer(safe_name(announced), size, is_resumable(file))
    except ValueError as error:
        raise StreamRejected(str(error)) from None


def _key(sender: RemoteParticipant, offer: _Offer) -> str | None:
    """Return what an earlier transfer of the same file has in common with this one, or None if it cannot go on.

    The ids of participants end with their connections, so that only a name tells a sender from the others: what one
    has sent is no other's business, not even its SHA-256. Whether the content is the same is found out by comparing.
    """
    return f"{sender.name}\n{offer.name}" if offer.is_resumable and sender.name else None


def _may_go_on(error: BaseException) -> bool:
    """Return whether nothing is wrong with the file or the place where it is to lie."""
    return isinstance(error, StreamInterrupted | ReceiveTimeout) or not isinstance(error, Exception)


def _receive_chunks(
    reader: StreamReader,
    offer: _Offer,
    partial: PartialFile,
    report: Report,
    max_size: int | None,
    timeout: Timeout,
) -> tuple[int, str]:
    """Store the chunks; return their size and SHA-256 when all are there and as they were sent."""
    received, digest = 0, sha256()
    report(0, offer.size)
    held = offer_partial(reader, partial, offer.size or 0) if offer.is_resumable else None
    while (chunk := reader.read(timeout)) is not None:
        if held is not None:
            start, held = begin(partial, held, chunk.header), None
            received, digest = start.position, start.digest
            if received:
                report(received, offer.size)
        received += len(chunk.data)
        if offer.size is not None and received > offer.size:
            raise StreamError(f"{offer.name!r} has more than the {offer.size} bytes announced")
        if max_size is not None and received > max_size:
            raise StreamError(_too_large(None, max_size))
        digest.update(chunk.data)
        partial.write(chunk.data)
        report(received, offer.size)
        if offer.size is not None and "sha256" in chunk.header:
            _check(offer, received, digest.hexdigest(), chunk.header["sha256"])
            return received, digest.hexdigest()
    if offer.size is not None:
        raise StreamInterrupted(f"{offer.name!r} ended after {received} of {offer.size} bytes, without its SHA-256")
    return received, digest.hexdigest()


def _check(offer: _Offer, size: int, digest: str, announced: object) -> None:
    if size != offer.size:
        raise StreamError(f"{offer.name!r} has {size} bytes, not the {offer.size} announced")
    if digest != announced:
        raise StreamError(
            f"{offer.name!r} was damaged: its SHA-256 is {digest}, and was {announced!r:.80} at its sender"
        )


def _too_large(size: int | None, max_size: int) -> str:
    has = "it has more" if size is None else f"it has {size}"
    return f"the file is too large: at most {max_size} bytes are taken, {has}"


def _excuse(error: BaseException) -> str:
    """Return the text of an error that the sender may know: nothing of paths, or of the program."""
    if isinstance(error, UsageError):
        return "the receiver's program erred"
    if isinstance(error, MeshsyncError):
        return safe_text(error)
    if isinstance(error, FileExistsError):
        return "there is a file of that name already"
    if isinstance(error, OSError) and error.strerror:
        return f"the receiver cannot store the file: {safe_text(error.strerror)}"
    return "the receiver gave up"


def _name_of(participant: RemoteParticipant | LocalParticipant) -> str:
    return participant.name or participant.id
