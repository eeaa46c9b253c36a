"""`SimulatedTransport`: what the contract cannot ask, since it needs exact times, pings, or a look at the links."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from meshsync.errors import ConnectionLost, ProtocolError, SendTimeout
from meshsync.protocol import frames as wire
from meshsync.protocol import heartbeat
from meshsync.protocol.frames import CloseFrame
from meshsync.runtime.interfaces import Task
from meshsync.transport.endings import Life
from simulator.engine.runtime import VirtualRuntime
from simulator.latency import constant
from simulator.network.client_end import SimulatedTransport
from simulator.network.frames import ControlFrame, close_frame, frame, framed
from simulator.network.links import Link
from simulator.network.traffic import Traffic

PING = frame(ControlFrame.PING, is_masked=False)
PONG = frame(ControlFrame.PONG, is_masked=False)


class Line:
    """A transport and, at the other end of its links, a room that reads at once and notes what comes when.

    Each link takes 10 ms; the window is 1000 bytes, the transport's buffer 500.
    """

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime = runtime
        self.kernel = runtime.kernel
        self.up, self.down = (
            Link[Traffic](runtime.kernel, runtime.seeds.stream(name), delay=constant(0.010), window=1000, name=name)
            for name in ("up", "down")
        )
        self.ends = 0
        self.transport = SimulatedTransport(
            runtime.kernel, runtime, self.up, self.down, send_buffer=500, max_packet=2000, ended=self._ended
        )
        self.heard: list[tuple[float, Traffic | ControlFrame | CloseFrame]] = []
        self.is_reading = True
        self.is_alive = False
        """Whether the room answers pings."""
        self.up.on_arrival = self.read

    def _ended(self) -> None:
        self.ends += 1

    def read(self) -> None:
        for content, _ in self.up.read() if self.is_reading else ():
            self.heard.append((round(self.runtime.now, 6), content))
            if content is ControlFrame.PING and self.is_alive:
                self.down.put([PONG], is_background=True)

    def say(self, *packets: bytes) -> None:
        self.down.put(framed(packets, is_masked=False)[0])

    def listen(self) -> list[object]:
        """Have a task receive for ever; what it got is in the list, and at last the error."""
        got: list[object] = []

        def run() -> None:
            try:
                while True:
                    got.extend(self.transport.receive(None))
            except (ConnectionLost, ProtocolError) as error:
                got.append(error)

        self.runtime.spawn(run, name="listener")
        return got

    def start(self, do: Callable[[], object]) -> Task:
        return self.runtime.spawn(lambda: (do(), None)[1], name="starter")

    def broke(self) -> None:
        self.up.reset()
        self.down.reset()
        self.transport.broke()


@pytest.fixture
def line() -> Iterator[Line]:
    """Return a line in a simulation of its own."""
    with VirtualRuntime(seed=7) as runtime:
        yield Line(runtime)


# --- is the peer alive ------------------------------------------------------------------------------------------------


def test_silence_is_noticed_after_interval_and_timeout(line: Line) -> None:
    """30 s without a byte, a ping, 15 s without an answer: the loss comes at 45 s, to the nanosecond."""
    with pytest.raises(ConnectionLost, match="no sign of life") as caught:
        line.transport.receive(None)
    assert line.kernel.now == 45 * 10**9
    assert (caught.value.code, caught.value.reason, caught.value.clean) == (None, "no sign of life", False)
    line.runtime.sleep(1)
    assert line.heard == [(30.01, ControlFrame.PING), (45.01, ControlFrame.END)]


def test_a_peer_that_answers_pings_is_kept(line: Line) -> None:
    """Nothing but pongs for an hour: one ping each 30.02 s, and no loss."""
    line.is_alive = True
    assert list(line.transport.receive(3600)) == []
    assert len(line.heard) == 3600 // 30.02


def test_a_late_look_asks_before_it_condemns(line: Line) -> None:
    """Nobody received for 100 s; whoever does then pings first, and gives up 15 s later."""
    line.runtime.sleep(100)
    with pytest.raises(ConnectionLost, match="no sign of life"):
        line.transport.receive(None)
    assert line.runtime.now == 115


def test_progress_of_a_write_is_a_sign_of_life(line: Line) -> None:
    """A peer that says nothing but reads a little now and then is kept; 45 s after it stops it is given up."""
    line.is_reading = False
    for _ in range(13):  # 106 bytes each: 9 in the window, 4 beyond it
        line.transport.send([bytes(100)], 0)
    got = line.listen()
    for _ in range(4):
        line.runtime.sleep(25)
        line.up.read(1)
    assert got == []
    line.runtime.sleep(44)
    assert got == []
    line.runtime.sleep(2)
    assert isinstance(got[0], ConnectionLost)


def test_heartbeats_leave_the_world_idle(line: Line) -> None:
    """While nothing but pings happens, no timer in the foreground is pending."""
    line.is_alive = True
    line.listen()
    line.runtime.run_until_idle()
    assert line.runtime.now == 0
    line.runtime.sleep(100.015)
    assert line.runtime.is_idle


def test_pings_are_answered_without_waking_the_reader(line: Line) -> None:
    """A task in receive goes on waiting; the pong is back after both ways, 20 ms."""
    got = line.listen()
    line.runtime.sleep(1)
    turns = line.runtime.turns
    line.down.put([PING, PING])
    line.runtime.sleep(0.021)
    assert line.heard == [(1.02, ControlFrame.PONG)]
    assert got == []
    # Of the turns one is the timer of each link, the others belong to this test's own sleep.
    assert line.runtime.turns - turns <= 5


def test_pings_are_not_answered_while_nobody_receives(line: Line) -> None:
    """Somebody has to be in receive: what comes is read by that, and by nothing else."""
    line.down.put([PING])
    line.runtime.sleep(5)
    assert line.heard == []
    assert list(line.transport.receive(0)) == []
    line.runtime.sleep(1)
    assert line.heard == [(5.01, ControlFrame.PONG)]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_what_waits_is_written_by_whoever_receives(line: Line) -> None:
    """Beyond the window packets wait in the buffer until the peer has read, and a task is in receive."""
    line.is_reading = False
    for _ in range(12):  # 12 * 106 bytes; 9 go into the window of 1000
        line.transport.send([bytes(100)], 0)
    assert (line.transport.written(), line.transport.stats().bytes_buffered) == (9, 3 * 106)
    line.is_reading = True
    line.runtime.sleep(0.005)
    line.read()
    line.runtime.sleep(1)
    assert line.transport.written() == 9
    line.listen()
    line.runtime.sleep(1)
    assert (line.transport.written(), line.transport.stats().bytes_buffered) == (12, 0)
    assert len(line.heard) == 12


def test_a_small_batch_does_not_overtake_a_large_one(line: Line) -> None:
    """Senders are served in order of arrival, though the later one would fit."""
    line.is_reading = False
    line.transport.send([bytes(900)], 0)
    line.transport.send([bytes(400)], 0)
    large = line.start(lambda: line.transport.send([bytes(300)], None))
    line.runtime.sleep(1)
    with pytest.raises(SendTimeout, match="no room for 7 bytes within 0 s: 408 bytes wait to be written"):
        line.transport.send([b"x"], 0)
    line.listen()
    line.is_reading = True
    line.read()
    assert large.join(5)
    assert [len(content) for _, content in line.heard if isinstance(content, bytes)] == [900]
    line.runtime.sleep(1)
    assert [len(content) for _, content in line.heard if isinstance(content, bytes)] == [900, 400, 300]


def test_figures_are_those_of_websocket_frames(line: Line) -> None:
    """Bytes count headers and masks, packets do not count control frames."""
    packets = [b"x", bytes(300)]
    line.transport.send(packets, 0)
    line.say(*packets)
    line.down.put([PING])
    line.transport.receive(1)
    stats = line.transport.stats()
    pong = len(wire.encode_control(wire.Opcode.PONG, b"", bytes(4)))
    assert stats.bytes_sent == len(wire.encode(packets, bytes(8))) + pong
    assert stats.bytes_received == len(wire.encode(packets, None)) + len(
        wire.encode_control(wire.Opcode.PING, b"", None)
    )
    assert (stats.packets_sent, stats.packets_received) == (2, 2)


def test_an_oversized_packet_ends_the_connection(line: Line) -> None:
    """What came before it is returned, then 1009 is raised, and the peer is told."""
    line.say(b"fine", bytes(2000))
    line.say(bytes(2001), b"never seen")
    assert [len(packet) for packet in line.transport.receive(1)] == [4, 2000]
    for _ in range(2):
        with pytest.raises(ProtocolError) as caught:
            line.transport.receive(1)
        assert caught.value.code == 1009
    line.runtime.sleep(1)
    assert [content for _, content in line.heard] == [
        CloseFrame(1009, "a packet of more than 2000 bytes"),
        ControlFrame.END,
    ]


def test_only_one_task_may_receive(line: Line) -> None:
    """A second one is refused, and the first goes on."""
    got = line.listen()
    line.runtime.sleep(1)
    with pytest.raises(RuntimeError, match="another task is in receive"):
        line.transport.receive(0)
    line.say(b"x")
    line.runtime.sleep(1)
    assert got == [b"x"]


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_reset_keeps_what_had_arrived(line: Line) -> None:
    """What arrived before it is still received, what was in flight is not; all calls raise the same loss."""
    line.say(b"arrived")
    line.runtime.sleep(0.015)
    line.say(b"in flight")
    line.transport.send([b"lost"], 0)
    line.broke()
    assert list(line.transport.receive(None)) == [b"arrived"]
    for call in (lambda: line.transport.receive(None), lambda: line.transport.send([b"x"], None)):
        with pytest.raises(ConnectionLost) as caught:
            call()
        assert (caught.value.code, caught.value.clean) == (None, False)
        assert str(caught.value) == "the connection broke: Connection reset by peer"
    line.runtime.sleep(1)
    assert (line.heard, line.ends, line.transport.written()) == ([], 1, 1)


def test_a_reset_wakes_everyone(line: Line) -> None:
    """Whoever waits in receive, send or close learns of it at once."""
    line.is_reading = False
    got = line.listen()
    for _ in range(13):
        line.transport.send([bytes(100)], 0)

    def send() -> None:
        with pytest.raises(ConnectionLost, match="reset by peer"):
            line.transport.send([bytes(100)], None)

    sending = line.start(send)
    line.runtime.sleep(1)
    line.broke()
    assert sending.join(0.001)
    assert isinstance(got[0], ConnectionLost)
    assert line.runtime.now == 1


def test_an_aborted_end_sends_what_is_written_and_no_close_frame(line: Line) -> None:
    """The stream's end comes behind it; of 13 packets, 9 fit into the window, and the rest is lost with the buffer."""
    line.is_reading = False
    got = line.listen()
    for _ in range(13):
        line.transport.send([bytes(100)], 0)
    line.is_reading = True
    line.transport.abort()
    line.transport.abort()
    line.runtime.sleep(1)
    assert [content for _, content in line.heard] == [*[bytes(100)] * 9, ControlFrame.END]
    assert line.ends == 1
    assert str(got[0]) == "the program whose connection this was has crashed"


def test_an_aborted_end_is_not_noticed_where_its_link_is_silent(line: Line) -> None:
    """As of a machine that has ended."""
    line.transport.send([b"x"], 0)
    line.up.silence()
    line.transport.abort()
    line.runtime.sleep(1)
    assert (line.heard, line.ends) == ([], 1)


def test_closing_asks_and_waits_for_the_answer(line: Line) -> None:
    """Goodbye and answer take 10 ms each way; the loss is clean, and tells that we closed."""
    line.up.on_arrival = lambda: [
        line.down.put([close_frame(said.code, said.reason, is_masked=False)])
        for said, _ in line.up.read()
        if isinstance(said, CloseFrame)
    ]
    line.transport.send([b"x"], 0)
    line.transport.close(5, 1001, "away")
    assert line.runtime.now == 0.020
    with pytest.raises(ConnectionLost, match="closed on this side") as caught:
        line.transport.receive(None)
    assert (caught.value.code, caught.value.reason, caught.value.clean) == (1001, "away", True)


def test_closing_gives_up_flushing_at_half_time(line: Line) -> None:
    """Of 4 s, 2 are for what waits; then it is dropped, the goodbye goes out past it, and at 4 s it is over."""
    line.is_reading = False
    for _ in range(13):
        line.transport.send([bytes(100)], 0)
    line.transport.close(4)
    assert line.runtime.now == 4
    line.runtime.sleep(1)
    line.is_reading = True
    line.read()
    heard = [content for _, content in line.heard]
    assert heard == [bytes(100)] * 9 + [CloseFrame(1000, ""), ControlFrame.END]
    assert line.transport.written() == 9


def test_a_goodbye_that_comes_while_flushing_is_answered(line: Line) -> None:
    """The other side was first: its code goes back at once, past what waits, and the end is clean."""
    line.is_reading = False
    for _ in range(13):
        line.transport.send([bytes(100)], 0)
    line.kernel.after(1, lambda: line.down.put([close_frame(4000, "me first", is_masked=False)]))
    line.transport.close(20, 1000, "bye")
    assert line.runtime.now == 1.010
    with pytest.raises(ConnectionLost) as caught:
        line.transport.receive(0)
    assert (caught.value.code, caught.value.reason, caught.value.clean) == (4000, "me first", True)
    line.runtime.sleep(1)
    line.is_reading = True
    line.read()
    assert [content for _, content in line.heard][9:] == [CloseFrame(4000, "me first"), ControlFrame.END]


def test_a_code_that_must_not_be_sent_changes_nothing(line: Line) -> None:
    """Closing with 1006 is an error of the program's; the connection lives."""
    with pytest.raises(ValueError, match="1006"):
        line.transport.close(1, 1006)
    line.transport.send([b"x"], 0)
    line.runtime.sleep(1)
    assert [content for _, content in line.heard] == [b"x"]


def test_closing_twice_at_once_is_closing_once(line: Line) -> None:
    """A second close returns while the first waits; with a timeout of 0 it ends the first."""
    closing = line.start(lambda: line.transport.close(20))
    line.runtime.sleep(1)
    line.transport.close(20)
    assert (line.runtime.now, closing.is_done) == (1, False)
    line.transport.close(0)
    assert closing.join(0.001)
    assert line.ends == 1


def test_a_drop_while_closing_is_not_clean(line: Line) -> None:
    """The peer goes without an answer: close returns at once, and the loss tells that we closed."""
    line.kernel.after(1, line.down.finish)
    line.transport.close(20)
    assert line.runtime.now == 1.01
    with pytest.raises(ConnectionLost, match="closed on this side") as caught:
        line.transport.receive(None)
    assert not caught.value.clean


def test_an_interrupted_close_ends_the_connection(line: Line) -> None:
    """An exception from outside, such as Ctrl-C, leaves no half-closed connection behind."""
    closing = line.start(lambda: line.transport.close(20))
    line.runtime.sleep(1)
    line.runtime.close()
    assert closing.is_done
    assert line.ends == 1


def test_illegal_moves_raise(line: Line) -> None:
    """A state that cannot follow is a fault of ours and is not passed over."""
    line.transport.close(0)
    with line.transport._lock, pytest.raises(RuntimeError, match="cannot go from ENDED to CLOSING"):
        line.transport._move(Life.CLOSING, line.transport._ending)  # type: ignore[arg-type]


# --- paused -----------------------------------------------------------------------------------------------------------


def test_a_paused_end_neither_reads_nor_writes(line: Line) -> None:
    """From 1 to 11 s nothing is read, answered or written; then all of it is, in order."""
    got = line.listen()
    line.runtime.sleep(1)
    line.transport.pause()
    line.say(b"one")
    line.down.put([PING])
    line.transport.send([b"two"], 0)
    line.runtime.sleep(10)
    assert (got, line.heard, line.transport.written()) == ([], [], 0)
    line.transport.resume()
    line.runtime.sleep(1)
    assert got == [b"one"]
    assert line.heard == [(11.01, ControlFrame.PONG), (11.01, b"two")]


def test_a_long_pause_kills_no_peer(line: Line) -> None:
    """Paused for 100 s, longer than a heartbeat, this end asks before it condemns."""
    line.is_alive = True
    got = line.listen()
    line.transport.pause()
    line.runtime.sleep(100)
    line.transport.resume()
    line.runtime.sleep(100)
    assert got == []


def test_defaults_are_those_of_the_real_transport() -> None:
    """The heartbeat that ends a silent connection is the client's own."""
    assert (heartbeat.INTERVAL, heartbeat.TIMEOUT) == (30.0, 15.0)
