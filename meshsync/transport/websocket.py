"""A real WebSocket: opened by websocket-client, then taken over as a non-blocking socket.

After the handshake no task ever blocks in a read or write. A sender that finds the wire idle writes what the kernel
accepts and returns; the task in ``receive`` writes the rest, reads, answers pings and watches the heartbeat; ``close``
does that work itself when no task is there. Not the business of this module: the handshake's errors (``handshake``),
frames, order and bounds of outgoing data (``protocol``), TLS (``sockets``), which task uses the socket
(``shared_socket``), the connection's end (``closing``).

The rules that keep it right:

- One lock, a condition, guards all state. It is never held in a wait for the network.
- The socket is used in two roles only; see `SharedSocket`.
- An exception from outside (Ctrl-C) never tears the connection. Where it strikes a sender, what was accepted is sent by
  others; where it cannot be known how many bytes went out or came in, the connection is aborted.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshsync.errors import MeshsyncError, ProtocolError
from meshsync.protocol import frames, heartbeat
from meshsync.protocol.send_buffer import LIMIT, Batch, SendBuffer
from meshsync.runtime.allocation import keep_freed_memory
from meshsync.runtime.deadlines import Deadline
from meshsync.runtime.interfaces import Runtime, Shield
from meshsync.transport.closing import Closing
from meshsync.transport.endings import CLOSED_HERE, DROPPED, INTERRUPTED, NO_SIGN_OF_LIFE, Life, broke
from meshsync.transport.interfaces import TransportStats
from meshsync.transport.senders import WaitingSenders
from meshsync.transport.shared_socket import SharedSocket

__all__ = ["WebSocketTransport"]

_READER_TURNS = 4
"""The most buffers that the reader writes before it reads again, so that neither direction starves."""

_OPEN, _ANSWERING, _BROKEN, _ENDED = Life.OPEN, Life.ANSWERING, Life.BROKEN, Life.ENDED
# Not looked up by name at each packet: before 3.12 that is a call in Python.


class WebSocketTransport:
    """One live WebSocket connection; see `meshsync.transport.interfaces.Transport`."""

    def __init__(
        self,
        socket: SharedSocket,
        runtime: Runtime,
        *,
        heartbeat_interval: float | None = heartbeat.INTERVAL,
        heartbeat_timeout: float = heartbeat.TIMEOUT,
        send_buffer: int = LIMIT,
        max_packet: int = frames.MAX_SIZE,
        mask: frames.Mask | None = None,
    ) -> None:
        """Take over a connected socket as the client.

        Args:
            heartbeat_interval: Seconds of silence before a ping; None for no heartbeat.
            heartbeat_timeout: Seconds from the ping to giving up.
            send_buffer: The most bytes accepted and unwritten.
            max_packet: The largest incoming packet, in bytes.
            mask: How to mask; by default the fastest there is.
        Raises:
            ValueError: If a duration of the heartbeat is not positive.
        """
        keep_freed_memory()
        self._runtime = runtime
        self._now = runtime.monotonic
        self._entropy = runtime.entropy
        self._mask = mask
        self._socket = socket
        self._lock = socket.lock
        self._buffer = SendBuffer(send_buffer)
        self._decoder = frames.FrameDecoder(masked=False, max_size=max_packet, mask=mask)
        self._heartbeat = heartbeat.Heartbeat(self._now(), interval=heartbeat_interval, timeout=heartbeat_timeout)
        self._closing = Closing(runtime, socket, self._buffer)
        self._senders = WaitingSenders(runtime, socket.lock, self._buffer, self._closing.check_open)
        self._closer: list[bytes] | None = None
        """With this ``close`` holds the reader's role, once it was called."""
        self._inbox: list[bytes] = []
        """Packets that ``close`` read, for a later ``receive``."""
        self._writing: tuple[int, list[int]] = (0, [0])
        """Of the last write: the bytes sent before, and its result; see `Wire.send`."""
        self._bytes_received = 0
        self._packets_received = 0

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, packets: Sequence[bytes], timeout: float | None, *, is_reserved: bool = False) -> None:
        """Accept the whole batch, or nothing of it; see `meshsync.transport.interfaces.Transport.send`."""
        batches = self._encode(packets)
        size = 0
        for batch, _ in batches:
            size += len(batch)
        try:
            with self._lock:
                if self._closing.life is not _OPEN or self._senders.tickets or not self._buffer.has_room(size):
                    if is_reserved:
                        self._senders.use_reserve(size)
                    else:
                        self._senders.await_room(size, timeout)
                is_idle = self._socket.writer is None and self._buffer.is_idle
                self._buffer.accept(batches, size, is_reserved=is_reserved)
                # If the wire is not idle, a task is on it already: a writer, or the reader waiting for it.
                if not is_idle or not batches:
                    return
                self._socket.writer = batches
                data = self._buffer.take()
            # At most its own and one more: a sender must not write for all the others.
            self._write(data, len(batches) + 1)
        except MeshsyncError:
            raise
        except BaseException:
            try:
                self._leave_interrupted(batches)
            except BaseException:  # A second Ctrl-C.
                self._abort(batches)
                raise
            raise

    def _encode(self, packets: Sequence[bytes]) -> list[Batch]:
        entropy, mask = self._entropy, self._mask
        return [
            (frames.encode(batch, entropy(4 * len(batch)), mask=mask), len(batch)) for batch in frames.batches(packets)
        ]

    def _write(self, data: bytes | memoryview, turns: int) -> None:
        """As the writer, write ``data`` and up to ``turns`` buffers in all, then give up the role."""
        while True:
            result: list[int] = []
            self._writing = (self._buffer.bytes_sent, result)
            try:
                sent = self._socket.wire.send(data, result)
            except OSError as error:
                with self._lock:
                    self._closing.writing_failed(error)
                    self._socket.leave_writing()
                return
            turns -= 1
            with self._lock:
                if sent:
                    self._buffer.advance(sent)
                    if self._senders.tickets:
                        self._lock.notify_all()
                is_idle = self._buffer.is_idle
                if not is_idle and turns and sent == len(data) and self._closing.life is not _ENDED:
                    data = self._buffer.take()
                    if data:
                        continue
                if self._closing.life is _ANSWERING:
                    self._closing.answer_went()
                if not is_idle:
                    self._socket.ring()
                self._socket.leave_writing()
                return

    def _leave_interrupted(self, mine: object) -> None:
        """Leave what was accepted to others, after an exception that struck a sender anywhere."""
        with self._lock:
            if self._socket.writer is mine:
                before, result = self._writing
                if not result:  # Bytes may have gone, and it is not known how many.
                    self._closing.finish(INTERRUPTED)
                elif self._buffer.bytes_sent != before + result[0]:
                    self._buffer.advance(result[0])
                if self._closing.life is _ANSWERING:
                    self._closing.answer_went()
            if self._senders.tickets:
                self._lock.notify_all()
            if not self._buffer.is_idle:
                self._socket.ring_again()
            if self._socket.writer is mine:
                self._socket.leave_writing()
            else:
                self._socket.close_if_unused()

    def _flush(self, mine: object) -> None:
        """As the reader, write the buffered data, unless a sender does."""
        with self._lock:
            if self._socket.writer is not None or self._closing.life in (_BROKEN, _ENDED):
                return
            data = self._buffer.take()
            if not data:
                return
            self._socket.writer = mine
        self._write(data, _READER_TURNS)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None, shield: Shield | None = None) -> Sequence[bytes]:
        """Return all complete packets; see `meshsync.transport.interfaces.Transport.receive`.

        Raises:
            RuntimeError: If another task is in ``receive``.
        """
        until = None if timeout is None else self._now() + timeout
        packets: list[bytes] = []
        is_touched = False
        try:
            while True:
                with self._lock:
                    if self._socket.reader is not packets and not self._begin_reading(packets, until):
                        packets, self._inbox = self._inbox, []
                        return packets
                    events, wait = self._plan(until)
                ready = self._socket.wait(events, wait)
                if self._socket.reader is not packets:
                    continue  # A handler of a signal read meanwhile, in this task.
                if shield is not None:
                    shield.put_up()
                is_touched = True
                if self._turn(ready, packets, until):
                    break
                is_touched = False
                if shield is not None:
                    shield.put_down()
            if not packets and self._closing.life is _ENDED:
                raise self._closing.error()
            return packets
        except MeshsyncError:
            raise
        except BaseException:
            # Interrupted while waiting, nothing is lost; later, bytes may be that no call would ever return.
            if is_touched or packets:
                self._abort(packets)
            else:
                with self._lock:
                    self._end_reading(packets)
            raise

    def _begin_reading(self, mine: list[bytes], until: float | None) -> bool:
        """Get the reader's role, lock held; False if reading is needless: packets are there or time is up.

        Args:
            until: The end of the time, by the runtime's monotonic clock; None if there is none.
        """
        while not self._inbox:
            if self._closing.life is _ENDED:
                raise self._closing.error()
            if self._socket.reader is None:
                self._socket.reader, self._socket.receiver = mine, self._runtime.current()
                return True
            if self._socket.reader is not self._closer:
                self._socket.interrupt_reading(self._runtime.current())
                self._socket.reader = mine
                return True
            left = None if until is None else until - self._now()
            if left is not None and left <= 0:
                return False
            self._lock.wait(left)
        return False

    def _end_reading(self, mine: list[bytes]) -> None:
        """Give up the reader's role, lock held; packets that ``close`` read are for ``receive`` from now on."""
        if self._socket.reader is not mine:
            return
        if mine is self._closer:
            self._inbox += mine
            mine.clear()
        if self._closing.life is not _OPEN:
            self._lock.notify_all()  # close() may want to take over
        self._socket.leave_reading()

    def _plan(self, until: float | None) -> tuple[int, float | None]:
        """Return the events to wait for and how long, in seconds, lock held; for ``until`` see `_begin_reading`."""
        life, wire = self._closing.life, self._socket.wire
        events = 0 if life is _ANSWERING else wire.read_wants
        now = self._now()
        if self._socket.writer is None and life is not _BROKEN and not self._buffer.is_idle:
            events |= wire.write_wants
            self._heartbeat.watch(now)
        self._socket.is_polling = True
        if wire.has_more:
            return events, 0.0
        first, linger = self._heartbeat.deadline, self._closing.linger
        if until is not None and (first is None or until < first):
            first = until
        if linger is not None and linger.at is not None and (first is None or linger.at < first):
            first = linger.at
        return events, None if first is None else max(0.0, first - now)

    def _turn(self, ready: int, packets: list[bytes], until: float | None) -> bool:
        """As the reader, read and write as the socket is ready; return whether that is all, the role then given up."""
        wire = self._socket.wire
        if ready & wire.write_wants and not self._buffer.is_idle:
            self._flush(packets)
        data: bytes | None = None
        failure: Exception | None = None
        if (ready & wire.read_wants or wire.has_more) and self._closing.life is not _ANSWERING:
            try:
                data = wire.receive()
                if data:
                    self._decoder.feed(data, packets)
            except (OSError, ProtocolError) as error:
                failure = error
        with self._lock:
            if self._socket.is_rung:
                self._socket.clear_rings()
            is_urgent = self._apply(data, failure, packets) if data else self._look(data, failure)
            if self._closing.linger is not None and self._closing.linger.is_over:
                self._closing.finish()
            if not is_urgent:
                return self._is_done(packets, until)
        self._flush(packets)
        with self._lock:
            return self._is_done(packets, until)

    def _is_done(self, packets: list[bytes], until: float | None) -> bool:
        if packets or self._closing.life is _ENDED or (until is not None and self._now() >= until):
            self._end_reading(packets)
            return True
        return False

    def _apply(self, data: bytes, failure: Exception | None, packets: list[bytes]) -> bool:
        """Draw the conclusions from the data read, lock held; return whether something is to be written at once."""
        self._heartbeat.alive(self._now())
        self._bytes_received += len(data)
        self._packets_received += len(packets)
        ping = self._decoder.take_ping()
        if ping is not None:
            self._buffer.put_pong(frames.encode_control(frames.Opcode.PONG, ping, self._entropy(4)))
        if isinstance(failure, ProtocolError):
            self._closing.peer_broke_protocol(failure)
        elif self._decoder.close is not None:
            self._closing.close_frame_came(self._decoder.close)
        else:
            return ping is not None
        return True

    def _look(self, data: bytes | None, failure: Exception | None) -> bool:
        """Find out, lock held, why no data was read; return whether something is to be written at once."""
        if isinstance(failure, OSError):
            self._closing.finish(self._closing.ending or broke(failure))
        elif data is not None:
            self._closing.finish(self._closing.ending or DROPPED)
        else:
            beat = self._look_at_heartbeat()
            if beat is heartbeat.Beat.ASKED:
                self._buffer.put_ping(frames.encode_control(frames.Opcode.PING, b"", self._entropy(4)))
                return True
            if beat is heartbeat.Beat.DEAD:
                self._closing.finish(NO_SIGN_OF_LIFE)
        return False

    def _look_at_heartbeat(self) -> heartbeat.Beat | None:
        now, when = self._now(), self._heartbeat.deadline
        if when is None or now < when:
            return None
        # Not what the kernel accepts: it does so for a lost peer too, and for one whose program is dead.
        return self._heartbeat.look(now, self._socket.outflow(self._buffer.bytes_sent, self._buffer.bytes_on_way))

    # --- ending -------------------------------------------------------------------------------------------------------

    def close(self, timeout: float, code: int = 1000, reason: str = "") -> None:
        """End the connection; see `meshsync.transport.interfaces.Transport.close`.

        Half of ``timeout`` at most is spent on flushing; data not begun by then is dropped.

        Raises:
            ValueError: If ``code`` is no close code that may be sent; nothing has changed.
        """
        close_frame = frames.encode_close(code, reason, self._entropy(4))
        packets: list[bytes] = []
        deadline, flushing = Deadline(self._runtime, timeout), Deadline(self._runtime, timeout / 2)
        try:
            with self._lock:
                if timeout <= 0:
                    self._closing.finish(CLOSED_HERE)
                if self._closing.life is _ENDED or self._closer is not None:
                    return
                self._closer = packets
                self._closing.begin(close_frame)
            while True:
                if self._close_step(packets, flushing, deadline):
                    break
        except BaseException:
            self._abort(packets)
            raise

    def _close_step(self, packets: list[bytes], flushing: Deadline, deadline: Deadline) -> bool:
        """Wait once for the end; return whether it had come already."""
        with self._lock:
            if deadline.is_over:
                self._closing.finish()
            if self._closing.life is _ENDED:
                return True
            until = flushing
            if flushing.is_over:
                self._buffer.drop_data()
                until = deadline
            if self._socket.reader is not None:
                # The task in receive() does the work; this one only watches the time.
                self._socket.ring()
                self._lock.wait(until.left())
                return False
            self._socket.reader = packets
            events, wait = self._plan(until.at)
        if not self._turn(self._socket.wait(events, wait), packets, until.at):
            with self._lock:
                self._end_reading(packets)
        return False

    def _abort(self, mine: object) -> None:
        """Give up roles and connection after an exception that may have left bytes half done."""
        with self._lock:
            if self._socket.writer is mine:
                self._socket.leave_writing()
            if self._socket.reader is mine:
                self._socket.leave_reading()
            self._closing.finish(INTERRUPTED)

    # --- figures ------------------------------------------------------------------------------------------------------

    def stats(self) -> TransportStats:
        """Return the traffic so far; `packets_sent` counts those of which a byte was handed to the network."""
        with self._lock:
            return TransportStats(
                bytes_sent=self._buffer.bytes_sent,
                bytes_received=self._bytes_received,
                packets_sent=self._buffer.packets_started(),
                packets_received=self._packets_received,
                bytes_buffered=self._buffer.bytes_buffered,
                waiting_senders=len(self._senders.tickets),
            )

    def accepted(self, *, is_reserved: bool = False) -> int:
        """Return how many packets ``send`` has accepted."""
        return self._buffer.packets_reserved if is_reserved else self._buffer.packets_accepted

    def written(self) -> int:
        """Return how many accepted packets have had a byte handed to the network, or may have by now."""
        with self._lock:
            if self._socket.writer is not None:  # It may be back from the system call, and wait for this lock.
                return self._buffer.packets_offered()
            return self._buffer.packets_started()
