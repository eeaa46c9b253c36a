"""A real WebSocket: opened by websocket-client, then taken over as a non-blocking socket.

After the handshake nobody ever blocks in a read or write. A sender that finds the wire idle writes what the kernel
takes and returns; whoever is in ``receive`` writes the rest, reads, answers pings and watches the heartbeat; ``close``
does that work itself when nobody else is there. Not the business of this module: the handshake's errors
(``handshake``), frames, order and bounds of what goes out (``protocol``), TLS (``wires``).

The rules that keep it right:

- One lock, a condition, guards all state. It is never held in a wait for the network.
- Two roles, the *writer* and the *reader*, each held by at most one task: only the writer may call the wire's ``send``,
  only the reader may poll and ``receive``. A role is held by the identity of an object its holder made.
- The sockets are closed by whoever gives up the last role after the end, so never under somebody's system call.
- An exception from outside (Ctrl-C) while bytes are on their way aborts the connection: it is never torn.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from meshsync.errors import ConnectionLost, MeshsyncError, ProtocolError, SendTimeout
from meshsync.protocol import frames, heartbeat
from meshsync.protocol.send_buffer import LIMIT, Batch, SendBuffer
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.lifecycle import move
from meshsync.transport.endings import CLOSED_HERE, MOVES, Ending, Life, broke
from meshsync.transport.interfaces import TransportStats
from meshsync.transport.poller import Poller
from meshsync.transport.sockets import PlainWire, TlsWire, Wire

__all__ = ["WebSocketTransport"]

_LINGER = 1.0
"""Seconds to get an answering goodbye out, or to read what a broken connection still holds."""

_READER_TURNS = 4
"""Buffers the reader writes before it reads again, so that neither direction starves."""


class WebSocketTransport:
    """One live WebSocket connection; see `meshsync.transport.interfaces.Transport`."""

    def __init__(
        self,
        connection: socket.socket,
        runtime: Runtime,
        *,
        received: bytes = b"",
        heartbeat_interval: float | None = heartbeat.INTERVAL,
        heartbeat_timeout: float = heartbeat.TIMEOUT,
        send_buffer: int = LIMIT,
        max_packet: int = frames.MAX_SIZE,
        mask: frames.Mask | None = None,
    ) -> None:
        """Take over a connected socket as the client; it is closed by nobody else from here on.

        Args:
            received: Bytes already read behind the handshake.
            heartbeat_interval: Seconds of silence before a ping; None for no heartbeat.
            heartbeat_timeout: Seconds from the ping to giving up.
            send_buffer: The most bytes accepted and unwritten.
            max_packet: The largest packet to take, in bytes.
            mask: How to mask; by default the fastest there is.
        """
        connection.setblocking(False)
        with suppress(OSError):  # no TCP, or the connection has gone already, which the first read tells
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._runtime = runtime
        self._now = runtime.monotonic
        self._entropy = runtime.entropy
        self._mask = mask
        self._lock = runtime.condition()
        self._wire: Wire = (
            TlsWire(connection, runtime.condition(), received)
            if isinstance(connection, ssl.SSLSocket)
            else PlainWire(connection, received)
        )
        self._poller = Poller(connection)
        self._buffer = SendBuffer(send_buffer)
        self._decoder = frames.FrameDecoder(masked=False, max_size=max_packet, mask=mask)
        self._heartbeat = heartbeat.Heartbeat(self._now(), interval=heartbeat_interval, timeout=heartbeat_timeout)
        self._life = Life.OPEN
        self._end: Ending | None = None
        self._fault: ProtocolError | None = None
        self._linger_until: float | None = None
        self._writer: object = None
        self._reader: object = None
        self._closer: object = None
        self._is_polling = False
        self._is_rung = False
        self._is_stalled = False
        """Whether the network last took less than it was given. Only then does a write that goes on show that the peer
        lives: an idle kernel takes writes to a dead one too."""
        self._is_shut = False
        self._waiters: deque[object] = deque()
        self._inbox: list[bytes] = []
        """Packets that ``close`` read, for a later ``receive``."""
        self._bytes_received = 0
        self._packets_received = 0

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes], timeout: float | None) -> None:
        """Accept the whole batch, or nothing of it; see `meshsync.transport.interfaces.Transport.send`."""
        batches = self._encode(packets)
        size = sum(len(data) for data, _ in batches)
        is_touched = False
        try:
            with self._lock:
                if self._life is not Life.OPEN or self._waiters or not self._buffer.has_room(size):
                    self._await_room(size, timeout)
                is_touched = True
                is_idle = self._writer is None and self._buffer.is_idle
                self._buffer.accept(batches, size)
                # If the wire is not idle, somebody is on it already: a writer, or the reader waiting for it.
                if not is_idle or not batches:
                    return
                self._writer = batches
                data = self._buffer.take()
            # At most its own and one more: a sender must not end up working for all the others.
            self._write(data, len(batches) + 1)
        except BaseException:
            if is_touched:
                self._abort(batches)
            raise

    def _encode(self, packets: Sequence[bytes]) -> list[Batch]:
        entropy, mask = self._entropy, self._mask
        return [
            (frames.encode(batch, entropy(4 * len(batch)), mask=mask), len(batch)) for batch in frames.batches(packets)
        ]

    def _await_room(self, size: int, timeout: float | None) -> None:
        """Wait, lock held, until ``size`` bytes may be accepted, in order of arrival: large batches must not starve."""
        deadline = None if timeout is None else self._now() + timeout
        ticket = object()
        try:
            # In here, since Ctrl-C may strike when it returns: a ticket left behind would bar all who come later.
            self._waiters.append(ticket)
            while True:
                if self._life is not Life.OPEN:
                    raise self._loss()
                if self._waiters[0] is ticket and self._buffer.has_room(size):
                    return
                left = None if deadline is None else deadline - self._now()
                if left is not None and left <= 0:
                    raise SendTimeout(
                        f"no room for {size} bytes within {timeout:g} s: {self._buffer.bytes_buffered} bytes wait "
                        "to be written",
                        retryable=True,
                    )
                self._lock.wait(left)
        finally:
            try:
                self._waiters.remove(ticket)
            finally:
                self._lock.notify_all()

    def _write(self, data: bytes | memoryview, turns: int) -> None:
        """As the writer, write ``data`` and up to ``turns`` buffers in all, then give up the role."""
        while True:
            try:
                sent = self._wire.send(data)
            except OSError as error:
                with self._lock:
                    self._writer = None
                    self._writing_failed(error)
                    self._shut_if_unused()
                return
            turns -= 1
            with self._lock:
                if sent:
                    self._buffer.advance(sent)
                    if self._is_stalled:
                        self._heartbeat.alive(self._now())
                    if self._waiters:
                        self._lock.notify_all()
                self._is_stalled = sent < len(data)
                if turns and not self._is_stalled and self._life is not Life.ENDED:
                    data = self._buffer.take()
                    if data:
                        continue
                self._writer = None
                if self._life is Life.ANSWERING and self._buffer.bye_sent:
                    self._finish(is_answered=True)
                elif not self._buffer.is_idle:
                    self._ring()
                self._shut_if_unused()
                return

    def _flush(self, mine: object) -> None:
        """As the reader, write what waits, unless a sender is at it."""
        with self._lock:
            if self._writer is not None or self._life in (Life.BROKEN, Life.ENDED):
                return
            data = self._buffer.take()
            if not data:
                return
            self._writer = mine
        self._write(data, _READER_TURNS)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None) -> Sequence[bytes]:
        """Return all complete packets; see `meshsync.transport.interfaces.Transport.receive`.

        Raises:
            RuntimeError: If another task is in ``receive``.
        """
        deadline = None if timeout is None else self._now() + timeout
        packets: list[bytes] = []
        is_touched = False
        try:
            while True:
                with self._lock:
                    if self._reader is not packets and not self._begin_reading(packets, deadline):
                        packets, self._inbox = self._inbox, []
                        return packets
                    events, wait = self._plan(deadline)
                ready = self._poller.wait(events, wait)
                is_touched = True
                if self._turn(ready, packets, deadline):
                    break
                is_touched = False
            if not packets and self._life is Life.ENDED:
                raise self._error()
            return packets
        except MeshsyncError:
            raise
        except BaseException:
            # Interrupted while waiting, nothing is lost; later, bytes may be that nobody would ever see.
            if is_touched or packets:
                self._abort(packets)
            else:
                with self._lock:
                    self._end_reading(packets)
            raise

    def _begin_reading(self, mine: object, deadline: float | None) -> bool:
        """Take the reader's role, lock held; False if there is nothing to read for: packets are there or time is up."""
        while not self._inbox:
            if self._life is Life.ENDED:
                raise self._error()
            if self._reader is None:
                self._reader = mine
                return True
            if self._reader is not self._closer:
                raise RuntimeError("another task is in receive(): only one may be at a time")
            left = None if deadline is None else deadline - self._now()
            if left is not None and left <= 0:
                return False
            self._lock.wait(left)
        return False

    def _end_reading(self, mine: object) -> None:
        if self._reader is mine:
            self._is_polling = False
            self._reader = None
            if self._life is not Life.OPEN:
                self._lock.notify_all()  # close() may want to take over
            self._shut_if_unused()

    def _plan(self, deadline: float | None) -> tuple[int, float | None]:
        """Return what to wait for and how long, lock held."""
        events = 0
        if self._life is not Life.ANSWERING:
            events = self._wire.read_wants
        if self._writer is None and self._life is not Life.BROKEN and not self._buffer.is_idle:
            events |= self._wire.write_wants
        self._is_polling = True
        if self._wire.has_more:
            return events, 0.0
        ends = [end for end in (deadline, self._heartbeat.deadline, self._linger_until) if end is not None]
        return events, max(0.0, min(ends) - self._now()) if ends else None

    def _turn(self, ready: int, packets: list[bytes], deadline: float | None) -> bool:
        """As the reader, do what the socket is ready for; return whether that is all, the role then given up."""
        self._is_polling = False  # no lock needed: a ring too many does no harm, and `_plan` looks again under it
        wire = self._wire
        if ready & wire.write_wants and not self._buffer.is_idle:
            self._flush(packets)
        data: bytes | None = None
        failure: OSError | None = None
        if (ready & wire.read_wants or wire.has_more) and self._life is not Life.ANSWERING:
            try:
                data = wire.receive()
            except OSError as error:
                failure = error
            if data:
                try:
                    self._decoder.feed(data, packets)
                except ProtocolError as fault:
                    self._fault = fault
        with self._lock:
            is_urgent = self._settle(data, failure, packets)
            if not is_urgent:
                return self._is_done(packets, deadline)
        self._flush(packets)
        with self._lock:
            return self._is_done(packets, deadline)

    def _is_done(self, packets: list[bytes], deadline: float | None) -> bool:
        if packets or self._life is Life.ENDED or (deadline is not None and self._now() >= deadline):
            self._end_reading(packets)
            return True
        return False

    def _settle(self, data: bytes | None, failure: OSError | None, packets: list[bytes]) -> bool:
        """Draw the conclusions from a read, lock held; return whether something is to be written at once."""
        if self._is_rung:
            self._is_rung = False
            self._poller.hush()
        now = self._now()
        is_urgent = False
        if data:
            self._heartbeat.alive(now)
            self._bytes_received += len(data)
            self._packets_received += len(packets)
            ping = self._decoder.take_ping()
            if ping is not None:
                self._buffer.put_pong(frames.encode_control(frames.Opcode.PONG, ping, self._entropy(4)))
                is_urgent = True
            if self._fault is not None:
                bye = frames.encode_close(self._fault.code, str(self._fault), self._entropy(4))
                self._say_goodbye_and_end(now, bye, Ending(str(self._fault), self._fault.code, str(self._fault)))
                is_urgent = True
            elif self._decoder.close is not None:
                self._hear_goodbye(now, self._decoder.close)
                is_urgent = True
        elif failure is not None:
            self._finish(self._end or broke(failure))
        elif data is not None:
            self._finish(
                self._end or Ending("the other side dropped the connection without a goodbye", reason="dropped")
            )
        else:
            beat = self._heartbeat.look(now)
            if beat is heartbeat.Beat.ASKED:
                self._buffer.put_ping(frames.encode_control(frames.Opcode.PING, b"", self._entropy(4)))
                is_urgent = True
            elif beat is heartbeat.Beat.DEAD:
                self._finish(Ending("the other side gives no sign of life", reason="no sign of life"))
        if self._linger_until is not None and now >= self._linger_until:
            self._finish()
        return is_urgent

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        """End the connection; see `meshsync.transport.interfaces.Transport.close`.

        Half of ``timeout`` at most is spent on flushing; what has not been begun by then is dropped.

        Raises:
            ValueError: If ``code`` is no close code that may be sent; nothing has changed.
        """
        bye = frames.encode_close(code, reason, self._entropy(4))
        packets: list[bytes] = []
        begun = self._now()
        deadline, flush_until = begun + timeout, begun + timeout / 2
        try:
            with self._lock:
                if timeout <= 0:
                    self._finish(CLOSED_HERE)
                if self._life is Life.ENDED or self._closer is not None:
                    return
                self._closer = packets
                if self._life is Life.OPEN:
                    self._move(Life.CLOSING, CLOSED_HERE)
                    self._buffer.put_bye(bye)
            while not self._close_step(packets, flush_until, deadline):
                pass
        except BaseException:
            self._abort(packets)
            raise

    def _close_step(self, packets: list[bytes], flush_until: float, deadline: float) -> bool:
        """Bring the end nearer by waiting once; return whether it had come already."""
        with self._lock:
            now = self._now()
            if now >= deadline:
                self._finish()
            if self._life is Life.ENDED:
                return True
            if now >= flush_until:
                self._buffer.drop_data()
            until = flush_until if now < flush_until else deadline
            if self._reader is not None:
                # Whoever is in receive() does the work; this only watches the time.
                self._ring()
                self._lock.wait(until - now)
                return False
            self._reader = packets
            events, wait = self._plan(until)
        self._turn(self._poller.wait(events, wait), packets, None)
        with self._lock:
            self._end_reading(packets)
            if packets:
                self._inbox += packets
                packets.clear()
                self._lock.notify_all()
        return False

    def _hear_goodbye(self, now: float, close: frames.CloseFrame) -> None:
        said = f"{close.code or 'no code'}{': ' + close.reason if close.reason else ''}"
        end = Ending(f"the other side closed the connection ({said})", close.code, close.reason)
        if self._life is Life.CLOSING and self._buffer.bye_sent:
            self._finish(Ending(CLOSED_HERE.text, close.code, close.reason), is_answered=True)
        elif self._life is Life.BROKEN:
            self._finish(end)
        else:
            self._say_goodbye_and_end(now, frames.encode_close(close.code, close.reason, self._entropy(4)), end)

    def _say_goodbye_and_end(self, now: float, bye: bytes, end: Ending) -> None:
        """Send a close frame as soon as the frame on its way is through, and end after it."""
        if self._buffer.bye_sent or self._life is Life.BROKEN:
            self._finish(end)
        elif self._life in (Life.OPEN, Life.CLOSING):
            self._move(Life.ANSWERING, end)
            self._buffer.drop_data()
            self._buffer.put_bye(bye)
            self._linger_until = now + _LINGER

    def _writing_failed(self, error: OSError) -> None:
        """Stop writing, lock held; what the other side said before it went can still be read."""
        end = broke(error)
        if self._life is Life.ANSWERING:
            self._finish()
        elif self._life in (Life.OPEN, Life.CLOSING):
            if isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                self._move(Life.BROKEN, end)
                self._linger_until = self._now() + _LINGER
                self._ring()
            else:
                self._finish(end)

    def _move(self, life: Life, end: Ending | None = None) -> None:
        self._life = move(MOVES, self._life, life, "a connection")
        if end is not None:
            self._end = end
        self._lock.notify_all()

    def _finish(self, end: Ending | None = None, *, is_answered: bool = False) -> None:
        """End, lock held: the one way to it. Without ``end``, as was foreseen when the connection left OPEN."""
        if self._life is Life.ENDED:
            return
        end = end or self._end or CLOSED_HERE
        if is_answered and self._fault is None:
            end = replace(end, clean=True)
        self._move(Life.ENDED, end)
        # Makes the other side and any call under way on the socket notice; `ssl` would first unwrap it, unlocked.
        with suppress(OSError):  # the network has gone already
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._ring()
        self._shut_if_unused()

    def _shut_if_unused(self) -> None:
        """Close the sockets, lock held, once nobody can be in a system call on them."""
        if self._life is Life.ENDED and self._reader is None and self._writer is None and not self._is_shut:
            self._is_shut = True
            self._socket.close()
            self._poller.close()

    def _abort(self, mine: object) -> None:
        """Give up roles and connection after an exception that may have left bytes half done."""
        with self._lock:
            if self._writer is mine:
                self._writer = None
            if self._reader is mine:
                self._reader = None
            self._finish(Ending("a call was interrupted while bytes were on their way", reason="interrupted"))
            self._shut_if_unused()

    def _ring(self) -> None:
        """Make the reader look again, lock held."""
        if self._is_polling and not self._is_rung and not self._is_shut:
            self._is_rung = True
            self._poller.ring()

    def _loss(self) -> ConnectionLost:
        return (self._end or CLOSED_HERE).loss()

    def _error(self) -> MeshsyncError:
        if self._fault is not None:
            return ProtocolError(str(self._fault), code=self._fault.code)
        return self._loss()

    # --- figures ------------------------------------------------------------------------------------------------------

    def stats(self) -> TransportStats:
        """Return what was carried so far; `packets_sent` counts those of which a byte was handed to the network."""
        with self._lock:
            return TransportStats(
                bytes_sent=self._buffer.bytes_sent,
                bytes_received=self._bytes_received,
                packets_sent=self._buffer.packets_started(),
                packets_received=self._packets_received,
                bytes_buffered=self._buffer.bytes_buffered,
            )

    def written(self) -> int:
        """Return how many accepted packets have had a byte handed to the network."""
        with self._lock:
            return self._buffer.packets_started()
