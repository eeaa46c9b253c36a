"""What every `Transport` and `Connector` promises; ``test_transport.py`` runs it on each implementation.

A test drives both ends from one task: what nobody asks a scripted peer to read stays unread. A subclass gives the
fixture ``pair``; its `Pair` says how to connect. What only a transport with frames promises is a suite of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import pytest

from meshsync.errors import ConnectionLost, ProtocolError, SendTimeout
from meshsync.runtime.interfaces import Runtime, Task
from meshsync.transport.interfaces import Connector, Transport
from tests.support.waiting import EARLY

LONG = 30.0
"""Seconds after which what has to come is given up; no test that passes waits so long."""
SHORT = 0.02
"""Seconds of a wait that is meant to be in vain."""
BUFFER = 1024 * 1024
"""The bound of a transport's buffer, in bytes, unless a test asks for another."""


class Peer(Protocol):
    """The other end of a transport, which does what it is told and nothing else."""

    def receive(self, count: int) -> list[bytes]:
        """Read until ``count`` packets have come, and return them."""
        ...

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets, in order."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame."""
        ...

    def await_close(self) -> tuple[int | None, str]:
        """Read until the client's close frame and return its code and reason."""
        ...

    def await_end(self) -> None:
        """Read until the client has gone."""
        ...

    def drop(self) -> None:
        """End the connection without a close frame, once what was sent has gone."""
        ...

    def ping(self, payload: bytes) -> None:
        """Send a ping (only with frames)."""
        ...

    def await_pong(self) -> bytes:
        """Read until a pong and return its payload (only with frames)."""
        ...

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are (only with frames)."""
        ...


class Pair(Protocol):
    """Makes connected pairs of a transport and a scripted peer."""

    runtime: Runtime

    def connect(self, *, heartbeat: tuple[float, float] = (30.0, 15.0)) -> tuple[Transport, Peer]:
        """Return both ends of a new connection; ``heartbeat`` is interval and timeout in seconds."""
        ...

    def connector_to_nobody(self) -> Connector:
        """Return a connector whose peer answers nothing."""
        ...


def collect(transport: Transport, count: int) -> list[bytes]:
    """Receive until ``count`` packets have come."""
    packets: list[bytes] = []
    while len(packets) < count:
        more = transport.receive(LONG)
        assert more, f"{len(packets)} of {count} packets came"
        packets += more
    return packets


def fill(transport: Transport, packet: bytes) -> int:
    """Send ``packet`` until the buffer is full and return how often it was accepted; the peer does not read."""
    count = 0
    try:
        while True:
            transport.send([packet], 0)
            count += 1
    except SendTimeout:
        return count


def loss_of(transport: Transport) -> ConnectionLost:
    """Receive until the end and return its error; packets are passed over."""
    with pytest.raises(ConnectionLost) as caught:
        while True:
            transport.receive(LONG)
    return caught.value


class Reading:
    """A task that receives for ever, or once with a timeout, and remembers what came and how it ended."""

    def __init__(self, pair: Pair, transport: Transport, *, timeout: float | None = None) -> None:
        self.packets: list[bytes] = []
        self.error: Exception | None = None
        self._transport = transport
        self._timeout = timeout
        self.task: Task = pair.runtime.spawn(self._run, name="reading")

    def _run(self) -> None:
        try:
            self.packets += self._transport.receive(self._timeout)
            while self._timeout is None:
                self.packets += self._transport.receive(None)
        except Exception as error:
            self.error = error

    def ended(self) -> Exception | None:
        """Return what ended it, having waited for that."""
        assert self.task.join(LONG)
        return self.error


@contextmanager
def connected(pair: Pair, *, heartbeat: tuple[float, float] = (30.0, 15.0)) -> Iterator[tuple[Transport, Peer]]:
    """Connect, and drop the connection at the end."""
    transport, peer = pair.connect(heartbeat=heartbeat)
    try:
        yield transport, peer
    finally:
        transport.close(0)


class TransportContract:
    """The suite; a subclass gives the fixture ``pair``."""

    # --- carrying -----------------------------------------------------------------------------------------------------

    def test_packets_of_every_size_arrive_whole_and_in_order(self, pair: Pair) -> None:
        """Sizes around every boundary of the framing, there and back."""
        packets = [bytes([size % 251]) * size for size in (0, 1, 125, 126, 127, 1024, 65535, 65536, 300_000, 3)]
        with connected(pair) as (transport, peer):
            transport.send(packets, LONG)
            reading = Reading(pair, transport, timeout=LONG)
            assert peer.receive(len(packets)) == packets
            peer.send(packets)
            assert reading.ended() is None
            assert reading.packets + collect(transport, len(packets) - len(reading.packets)) == packets

    def test_many_small_packets_arrive_in_order(self, pair: Pair) -> None:
        """1,000 packets make 16 batches; they come out as they went in."""
        packets = [b"%d" % number for number in range(1000)]
        with connected(pair) as (transport, peer):
            transport.send(packets, LONG)
            assert peer.receive(1000) == packets
            peer.send(packets)
            assert collect(transport, 1000) == packets

    def test_receiving_nothing_ends_with_the_time(self, pair: Pair) -> None:
        """An empty sequence at the end of the timeout, at once if it is 0."""
        with connected(pair) as (transport, _):
            assert list(transport.receive(0)) == []
            begun = pair.runtime.monotonic()
            assert list(transport.receive(SHORT)) == []
            assert pair.runtime.monotonic() - begun >= SHORT - EARLY

    def test_a_waiting_reader_gets_what_comes(self, pair: Pair) -> None:
        """A task blocked in receive returns with the packet."""
        with connected(pair) as (transport, peer):
            got: list[bytes] = []
            task = pair.runtime.spawn(lambda: got.extend(transport.receive(LONG)), name="reader")
            peer.send([b"hello"])
            assert task.join(LONG)
            assert got == [b"hello"]

    def test_sending_nothing_does_nothing(self, pair: Pair) -> None:
        """An empty batch is accepted and leaves no trace."""
        with connected(pair) as (transport, peer):
            transport.send([], LONG)
            transport.send([b"x"], LONG)
            assert peer.receive(1) == [b"x"]
            assert (transport.accepted(), transport.written()) == (1, 1)

    # --- the bounded buffer -------------------------------------------------------------------------------------------

    def test_a_full_buffer_refuses_a_batch_whole(self, pair: Pair) -> None:
        """At the time-out nothing of the batch was accepted, and the error says that repeating is safe."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            with pytest.raises(SendTimeout) as caught:
                transport.send([b"small", bytes(BUFFER)], SHORT)
            assert caught.value.retryable
            assert transport.stats().bytes_buffered <= BUFFER
            Reading(pair, transport)
            assert peer.receive(accepted) == [bytes(50_000)] * accepted
            transport.send([b"next"], LONG)
            assert peer.receive(1) == [b"next"]

    def test_a_batch_beyond_the_bound_is_accepted_by_an_empty_buffer(self, pair: Pair) -> None:
        """Three times the bound go into a buffer with nothing in it, and arrive."""
        with connected(pair) as (transport, peer):
            packets = [bytes([number]) * 65536 for number in range(3 * BUFFER // 65536)]
            transport.send(packets, 0)
            Reading(pair, transport)
            assert peer.receive(len(packets)) == packets

    def test_a_sender_waits_for_room(self, pair: Pair) -> None:
        """A send into a full buffer returns once the peer has read."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            sending = pair.runtime.spawn(lambda: transport.send([b"last"], LONG), name="sender")
            Reading(pair, transport)
            assert peer.receive(accepted + 1)[-1] == b"last"
            assert sending.join(LONG)
            assert sending.error is None

    def test_a_waiting_sender_is_counted_until_it_has_room(self, pair: Pair) -> None:
        """A transport's figures contain a sender that waits for room, and no longer when its packets are accepted."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            assert transport.stats().waiting_senders == 0
            sending = pair.runtime.spawn(lambda: transport.send([bytes(50_000)], LONG), name="sender")
            while not transport.stats().waiting_senders:
                assert not sending.is_done
                pair.runtime.sleep(0)
            Reading(pair, transport)
            peer.receive(accepted + 1)
            assert sending.join(LONG)
            assert transport.stats().waiting_senders == 0

    def test_reserved_packets_go_ahead_of_senders_that_wait(self, pair: Pair) -> None:
        """A full buffer takes them at once, behind what it holds and before a sender that waits for room."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            sending = pair.runtime.spawn(lambda: transport.send([bytes(50_000)], LONG), name="sender")
            while not transport.stats().waiting_senders:
                pair.runtime.sleep(0)
            transport.send([b"reserved"], 0, is_reserved=True)
            Reading(pair, transport)
            assert peer.receive(accepted + 2)[accepted:] == [b"reserved", bytes(50_000)]
            assert sending.join(LONG)

    def test_the_reserve_is_bounded(self, pair: Pair) -> None:
        """Beyond 64 KiB a batch is refused at once, whatever time limit it is given, and safe to repeat."""
        with connected(pair) as (transport, peer):
            # Less than 10,000 bytes are left of the bound: each of these needs the reserve, which has room for one.
            accepted = fill(transport, bytes(50_000)) + fill(transport, bytes(10_000))
            transport.send([bytes(40_000)], LONG, is_reserved=True)
            with pytest.raises(SendTimeout, match="reserve") as caught:
                transport.send([bytes(40_000)], LONG, is_reserved=True)
            assert caught.value.retryable
            Reading(pair, transport)
            assert len(peer.receive(accepted + 1)) == accepted + 1
            transport.send([bytes(40_000)], LONG, is_reserved=True)
            assert peer.receive(1) == [bytes(40_000)]

    def test_a_reserved_batch_learns_of_the_end(self, pair: Pair) -> None:
        """Once the connection has ended it raises the loss."""
        with connected(pair) as (transport, _):
            transport.close(0)
            with pytest.raises(ConnectionLost):
                transport.send([b"late"], 0, is_reserved=True)

    def test_a_waiting_reader_finishes_what_a_sender_began(self, pair: Pair) -> None:
        """A task blocked in receive, with nothing to read, writes what the network did not take from the sender."""
        with connected(pair) as (transport, peer):
            reading = Reading(pair, transport)
            packets = [bytes([number]) * 65536 for number in range(200)]
            for number in range(3):
                peer.send([b"keeps the reader at it"])
                transport.send(packets, LONG)
                assert peer.receive(len(packets)) == packets, f"round {number}"
            assert reading.error is None

    def test_a_waiting_sender_learns_of_the_end(self, pair: Pair) -> None:
        """A send blocked for room raises when the connection is closed, and its batch was never accepted."""
        with connected(pair) as (transport, _):
            fill(transport, bytes(50_000))
            lost: list[ConnectionLost] = []

            def send() -> None:
                with pytest.raises(ConnectionLost) as caught:
                    transport.send([bytes(BUFFER)], None)
                lost.append(caught.value)

            sending = pair.runtime.spawn(send, name="sender")
            transport.close(0)
            assert sending.join(LONG)
            assert len(lost) == 1

    # --- figures ------------------------------------------------------------------------------------------------------

    def test_written_tells_what_has_left(self, pair: Pair) -> None:
        """Of the accepted packets some have left while the peer does not read, and all once it has."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            assert 0 < transport.written() < accepted
            Reading(pair, transport)
            peer.receive(accepted)
            assert transport.written() == accepted

    def test_written_outlives_the_connection(self, pair: Pair) -> None:
        """After the end it still tells what had left and what had not."""
        with connected(pair) as (transport, _):
            accepted = fill(transport, bytes(50_000))
            before = transport.written()
            transport.close(0)
            assert transport.written() == before < accepted

    def test_stats_count_both_directions(self, pair: Pair) -> None:
        """Packets are counted, and bytes are at least theirs."""
        with connected(pair) as (transport, peer):
            transport.send([b"abc", b"de"], LONG)
            peer.receive(2)
            peer.send([b"fghi"])
            collect(transport, 1)
            stats = transport.stats()
            assert (stats.packets_sent, stats.packets_received, stats.bytes_buffered) == (2, 1, 0)
            assert stats.bytes_sent >= 5
            assert stats.bytes_received >= 4

    # --- the other side ends it ---------------------------------------------------------------------------------------

    def test_a_goodbye_comes_after_what_was_said_before_it(self, pair: Pair) -> None:
        """Packets before the close frame are returned, then the loss tells code and reason, and is clean."""
        with connected(pair) as (transport, peer):
            peer.send([b"one", b"two"])
            peer.close(4001, "über")
            assert collect(transport, 2) == [b"one", b"two"]
            lost = loss_of(transport)
            assert (lost.code, lost.reason, lost.clean) == (4001, "über", True)
            assert peer.await_close()[0] == 4001
            with pytest.raises(ConnectionLost):
                transport.send([b"too late"], LONG)

    def test_a_dropped_connection_is_lost_uncleanly(self, pair: Pair) -> None:
        """What came before is returned, then the loss, without a code; so it stays."""
        with connected(pair) as (transport, peer):
            peer.send([b"last words"])
            peer.drop()
            assert collect(transport, 1) == [b"last words"]
            for _ in range(2):
                lost = loss_of(transport)
                assert (lost.code, lost.clean, lost.connection_alive) == (None, False, False)
            with pytest.raises(ConnectionLost):
                transport.send([b"too late"], LONG)

    def test_a_sender_on_a_dropped_connection_learns_it(self, pair: Pair) -> None:
        """With a reader at work, sends raise soon after the drop; each error is its own."""
        with connected(pair) as (transport, peer):
            reading = Reading(pair, transport)
            peer.drop()
            assert isinstance(reading.ended(), ConnectionLost)
            with pytest.raises(ConnectionLost) as first:
                transport.send([b"x"], LONG)
            with pytest.raises(ConnectionLost) as second:
                transport.send([b"x"], LONG)
            assert first.value is not second.value

    # --- we end it ----------------------------------------------------------------------------------------------------

    def test_closing_flushes_and_says_goodbye(self, pair: Pair) -> None:
        """The peer gets what was accepted, then code and reason; our receive ends cleanly."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            closing = pair.runtime.spawn(lambda: transport.close(LONG, 1001, "away"), name="closer")
            assert len(peer.receive(accepted)) == accepted
            assert peer.await_close() == (1001, "away")
            assert closing.join(LONG)
            assert loss_of(transport).clean

    def test_closing_keeps_what_came_meanwhile(self, pair: Pair) -> None:
        """Packets that close() finds while it waits are returned by a later receive, before the loss."""
        with connected(pair) as (transport, peer):
            peer.send([b"crossing"])
            closing = pair.runtime.spawn(lambda: transport.close(LONG), name="closer")
            peer.await_close()
            assert closing.join(LONG)
            assert list(transport.receive(LONG)) == [b"crossing"]
            assert loss_of(transport).clean

    def test_closing_ends_a_waiting_reader(self, pair: Pair) -> None:
        """A task blocked in receive raises when another closes, and the close frame goes out all the same."""
        with connected(pair) as (transport, peer):
            reading = Reading(pair, transport)
            closing = pair.runtime.spawn(lambda: transport.close(LONG, 1000, "done"), name="closer")
            assert peer.await_close() == (1000, "done")
            assert closing.join(LONG)
            lost = reading.ended()
            assert isinstance(lost, ConnectionLost)
            assert lost.clean

    def test_closing_takes_over_from_a_reader_that_leaves(self, pair: Pair) -> None:
        """Where the only reader's time runs out meanwhile, close itself flushes and reads the close frame."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            reading = Reading(pair, transport, timeout=4 * SHORT).task
            closing = pair.runtime.spawn(lambda: transport.close(LONG), name="closer")
            assert reading.join(LONG)
            assert len(peer.receive(accepted)) == accepted
            assert peer.await_close()[0] == 1000
            assert closing.join(LONG)
            assert loss_of(transport).clean

    @pytest.mark.parametrize("is_read", [False, True], ids=["no_reader", "reader"])
    @pytest.mark.parametrize("is_full", [False, True], ids=["idle", "full"])
    def test_closing_takes_no_longer_than_allowed(self, pair: Pair, is_read: bool, is_full: bool) -> None:
        """Where the peer neither reads nor answers, close returns at its time, uncleanly."""
        with connected(pair) as (transport, _):
            if is_full:
                fill(transport, bytes(50_000))
            reading = Reading(pair, transport) if is_read else None
            closing = pair.runtime.spawn(lambda: transport.close(4 * SHORT), name="closer")
            assert closing.join(LONG)
            lost = reading.ended() if reading else loss_of(transport)
            assert isinstance(lost, ConnectionLost)
            assert not lost.clean

    def test_closing_with_no_time_says_nothing(self, pair: Pair) -> None:
        """With a timeout of 0 the connection ends at once and without a close frame."""
        with connected(pair) as (transport, peer):
            transport.close(0)
            peer.await_end()
            with pytest.raises(ConnectionLost):
                transport.receive(0)
            with pytest.raises(ConnectionLost):
                transport.send([b"x"], 0)

    def test_closing_again_does_nothing(self, pair: Pair) -> None:
        """After the end, whoever brought it about, close returns and changes nothing."""
        with connected(pair) as (transport, peer):
            peer.close(4000, "first")
            assert loss_of(transport).code == 4000
            transport.close(LONG, 1000, "second")
            transport.close(0)
            assert loss_of(transport).code == 4000

    def test_closing_refuses_further_packets(self, pair: Pair) -> None:
        """While close waits for the close frame, a send raises and nothing of it arrives."""
        with connected(pair) as (transport, peer):
            closing = pair.runtime.spawn(lambda: transport.close(LONG), name="closer")
            peer.await_close()
            with pytest.raises(ConnectionLost):
                transport.send([b"x"], LONG)
            assert closing.join(LONG)

    # --- is the peer alive --------------------------------------------------------------------------------------------

    def test_a_silent_peer_is_given_up(self, pair: Pair) -> None:
        """interval + timeout = 0.04 + 0.04 s after the last sign of life, receive raises, and not before."""
        # The last sign of life is the greeting, which cannot come before it is asked for.
        begun = pair.runtime.monotonic()
        with connected(pair, heartbeat=(2 * SHORT, 2 * SHORT)) as (transport, _):
            lost = loss_of(transport)
            assert pair.runtime.monotonic() - begun >= 4 * SHORT - EARLY
            assert not lost.clean
            assert "no sign of life" in str(lost)

    def test_sending_into_silence_is_no_sign_of_life(self, pair: Pair) -> None:
        """Writes that the network takes at once keep no dead peer alive."""
        with connected(pair, heartbeat=(2 * SHORT, 2 * SHORT)) as (transport, _):
            begun = pair.runtime.monotonic()
            with pytest.raises(ConnectionLost, match="no sign of life"):
                while pair.runtime.monotonic() - begun < LONG:
                    transport.send([b"anybody there?"], 0)
                    transport.receive(SHORT / 2)

    def test_a_full_buffer_does_not_hide_a_dead_peer(self, pair: Pair) -> None:
        """The ping cannot go out behind what waits, and the peer is given up all the same, by senders too."""
        with connected(pair, heartbeat=(2 * SHORT, 2 * SHORT)) as (transport, _):
            fill(transport, bytes(50_000))
            reading = Reading(pair, transport)
            with pytest.raises(ConnectionLost, match="no sign of life"):
                transport.send([bytes(BUFFER)], None)
            assert isinstance(reading.ended(), ConnectionLost)

    def test_packets_are_signs_of_life(self, pair: Pair) -> None:
        """A peer that sends something within each interval is kept: 13 silences of 2 are more than 10 + 10."""
        with connected(pair, heartbeat=(10 * SHORT, 10 * SHORT)) as (transport, peer):
            for _ in range(13):
                peer.send([b"tick"])
                assert collect(transport, 1) == [b"tick"]
                assert list(transport.receive(2 * SHORT)) == []

    # --- connecting ---------------------------------------------------------------------------------------------------

    def test_connecting_to_nobody_ends_with_the_time(self, pair: Pair) -> None:
        """Where nothing answers, connect raises a time-out, which is a TimeoutError and retryable."""
        connector = pair.connector_to_nobody()
        with pytest.raises(TimeoutError) as caught:
            connector.connect(SHORT)
        assert getattr(caught.value, "retryable", False)


class FramedTransportContract(TransportContract):
    """The suite of a transport with frames: pings, and bytes below packets."""

    def test_a_ping_is_answered(self, pair: Pair) -> None:
        """The pong carries the ping's payload and goes out although there is nothing for receive to return."""
        with connected(pair) as (transport, peer):
            reading = Reading(pair, transport)
            peer.ping(b"are you there")
            assert peer.await_pong() == b"are you there"
            assert (reading.packets, reading.task.is_done) == ([], False)

    def test_a_ping_is_answered_ahead_of_a_full_buffer(self, pair: Pair) -> None:
        """The pong comes before packets that were accepted before the ping."""
        with connected(pair) as (transport, peer):
            accepted = fill(transport, bytes(50_000))
            peer.ping(b"now")
            transport.receive(SHORT)
            Reading(pair, transport)
            assert peer.await_pong() == b"now"
            left = accepted - len(peer.receive(0))
            assert left > 0
            assert len(peer.receive(left)) == left

    def test_a_flood_of_pings_costs_one_pong(self, pair: Pair) -> None:
        """10,000 pings, read in 20 goes while the wire is full, leave at most one answer each, and no memory held."""
        with connected(pair) as (transport, peer):
            fill(transport, bytes(50_000))
            buffered = transport.stats().bytes_buffered
            for number in range(10_000):
                peer.ping(b"%d" % number)
                if number % 500 == 499:
                    transport.receive(SHORT)
            assert transport.stats().bytes_buffered <= buffered
            Reading(pair, transport)
            pongs = [peer.await_pong()]
            while pongs[-1] != b"9999":
                pongs.append(peer.await_pong())
            assert len(pongs) <= 20

    def test_a_broken_frame_ends_the_connection(self, pair: Pair) -> None:
        """Packets before the fault are returned, then the fault is raised; the peer is sent its code."""
        with connected(pair) as (transport, peer):
            peer.send([b"good"])
            peer.send_raw(b"\xc2\x00")
            assert collect(transport, 1) == [b"good"]
            for _ in range(2):
                with pytest.raises(ProtocolError) as caught:
                    transport.receive(LONG)
                assert caught.value.code == 1002
            assert peer.await_close()[0] == 1002
            with pytest.raises(ConnectionLost):
                transport.send([b"x"], LONG)

    def test_a_text_frame_is_refused(self, pair: Pair) -> None:
        """Rooms speak binary only: 1003."""
        with connected(pair) as (transport, peer):
            peer.send_raw(b"\x81\x02hi")
            with pytest.raises(ProtocolError) as caught:
                transport.receive(LONG)
            assert caught.value.code == 1003
            assert peer.await_close()[0] == 1003
