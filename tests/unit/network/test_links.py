"""Links: what is put in arrives, in order, when physics says, unless the connection has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshsync.protocol import frames as wire
from meshsync.protocol.frames import CloseFrame
from simulator.engine.kernel import SECOND, Kernel
from simulator.latency import Law, constant, exponential, lognormal
from simulator.network.frames import ControlFrame, Frame, close_frame, frame, framed
from simulator.network.links import WINDOW, Link, LinkState
from tests.support.profiles import examples

MS = SECOND // 1000
"""Nanoseconds in a millisecond."""
PROPERTY = examples(200)


class Bench:
    """A link with a reader that notes what arrives when; it reads at once unless told otherwise."""

    def __init__(
        self,
        delay: Law | None = None,
        *,
        echo: Law | None = None,
        bandwidth: float | None = None,
        window: int = WINDOW,
        seed: int = 7,
    ) -> None:
        self.kernel = Kernel()
        self.taps: list[tuple[str, list[bytes | ControlFrame | CloseFrame]]] = []
        self.link = Link[bytes](
            self.kernel,
            Random(seed),
            delay=delay or constant(0.010),
            echo=echo,
            bandwidth=bandwidth,
            window=window,
            tap=lambda _, what, frames: self.taps.append((what, [content for content, _ in frames])),
        )
        self.arrived: list[tuple[int, bytes | ControlFrame | CloseFrame]] = []
        """When each frame was read, in milliseconds, and what it holds."""
        self.is_reading = True
        self.link.on_arrival = self.read
        self.rooms: list[int] = []
        """When the sender was told of room, in milliseconds."""
        self.link.on_room = lambda: self.rooms.append(self.kernel.now // MS)

    def read(self) -> None:
        if self.is_reading:
            self.arrived += [(self.kernel.now // MS, content) for content, _ in self.link.read()]

    def put(self, *packets: bytes) -> None:
        self.link.put([(packet, len(packet)) for packet in packets])

    def at(self, ms: int, do: object) -> None:
        assert callable(do)
        self.kernel.at(ms * MS, do)

    def run(self) -> None:
        while (callback := self.kernel.take()) is not None:
            callback()


def packets(count: int, size: int = 100) -> list[bytes]:
    """Return packets that differ."""
    return [number.to_bytes(4, "big") + bytes(size - 4) for number in range(count)]


def queue(*contents: bytes) -> deque[Frame[bytes]]:
    """Return frames whose size is that of their content."""
    return deque((content, len(content)) for content in contents)


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
@pytest.mark.parametrize("is_masked", [True, False])
def test_sizes_are_those_of_websocket_frames(size: int, is_masked: bool) -> None:
    """A packet, a ping and a goodbye count as many bytes as the real frames have."""
    keys = bytes(4) if is_masked else None
    packets = [bytes(size), b"x"]
    lengths = [len(wire.encode([packet], keys)) for packet in packets]
    assert framed(packets, is_masked=is_masked) == (list(zip(packets, lengths, strict=True)), sum(lengths))
    assert frame(ControlFrame.PING, is_masked=is_masked)[1] == len(wire.encode_control(wire.Opcode.PING, b"", keys))
    assert close_frame(4000, "ü" * 9, is_masked=is_masked)[1] == len(wire.encode_close(4000, "ü" * 9, keys))


def test_goodbyes_are_as_on_the_wire() -> None:
    """A reason that is too long is cut between characters, a code that must not be sent is refused."""
    assert close_frame(1000, "ü" * 100, is_masked=True)[0] == CloseFrame(1000, "ü" * 61)
    assert close_frame(None, "", is_masked=True)[0] == CloseFrame(None, "")
    with pytest.raises(ValueError, match="1006"):
        close_frame(1006, "", is_masked=True)


# --- delay and order --------------------------------------------------------------------------------------------------


def test_frames_arrive_after_the_delay() -> None:
    """What is put in together arrives together, by the law; not before."""
    bench = Bench(constant(0.025))
    bench.put(b"a", b"b")
    bench.at(5, lambda: bench.put(b"c"))
    bench.run()
    assert bench.arrived == [(25, b"a"), (25, b"b"), (30, b"c")]


def test_without_a_delay_frames_arrive_in_the_same_instant_but_later() -> None:
    """Even then nothing arrives inside ``put``: the reader never runs within the sender."""
    bench = Bench(constant(0))
    bench.put(b"a")
    assert bench.arrived == []
    bench.run()
    assert bench.arrived == [(0, b"a")]


def test_delays_come_from_the_law_one_for_each_burst() -> None:
    """Bursts that are far apart have the law's delays, drawn in order; all packets of a burst have the same."""
    law, bench = lognormal(median=0.040, sigma=0.4), Bench(lognormal(median=0.040, sigma=0.4))
    for number in range(50):
        bench.at(number * 10_000, lambda: bench.put(b"x", b"y"))
    bench.run()
    stream = Random(7)
    expected = [number * 10_000 + law.draw_us(stream) // 1000 for number in range(50)]
    assert [when for when, _ in bench.arrived] == [when for when in expected for _ in "xy"]


def test_a_short_delay_does_not_overtake_a_long_one() -> None:
    """A burst with a shorter delay waits for the one before it."""
    bench = Bench(constant(0.100))
    bench.put(b"slow")
    bench.link.change_delay(constant(0.001))
    bench.at(20, lambda: bench.put(b"fast"))
    bench.run()
    assert bench.arrived == [(100, b"slow"), (100, b"fast")]


@PROPERTY
@given(
    seed=st.integers(0, 2**32),
    pauses=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    bandwidth=st.one_of(st.none(), st.integers(1000, 10**6)),
    cuts=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 300)), max_size=3),
)
def test_a_living_link_delivers_all_in_order(
    seed: int, pauses: list[int], bandwidth: float | None, cuts: list[tuple[int, int]]
) -> None:
    """Nothing is lost, duplicated or reordered, whatever delays, bandwidth and freezes there are."""
    bench = Bench(exponential(0.050), bandwidth=bandwidth, seed=seed)
    sent, now = packets(len(pauses)), 0
    for packet, pause in zip(sent, pauses, strict=True):
        now += pause
        bench.at(now, lambda packet=packet: bench.put(packet))
    for begin, length in cuts:
        bench.at(begin, bench.link.freeze)
        bench.at(begin + length, bench.link.thaw)
    bench.run()
    assert [content for _, content in bench.arrived] == sent
    assert [what for what, _ in bench.taps].count("sent") == len(sent)
    assert not any(what == "lost" for what, _ in bench.taps)


def test_same_seed_gives_the_same_arrivals() -> None:
    """Two links with one seed agree to the nanosecond; another seed differs."""

    def times(seed: int) -> list[int]:
        bench, seen = Bench(exponential(0.050), seed=seed), list[int]()
        bench.link.on_arrival = lambda: seen.append(bench.kernel.now)
        for number in range(20):
            bench.at(number * 1000, lambda: bench.put(b"x"))
        bench.run()
        return seen

    assert times(1) == times(1) != times(2)


# --- bandwidth --------------------------------------------------------------------------------------------------------


def test_bandwidth_makes_frames_queue() -> None:
    """At 10,000 bytes a second 100 bytes take 10 ms: three at once leave at 10, 20, 30 ms and travel 5 ms."""
    bench = Bench(constant(0.005), bandwidth=10_000)
    first, second, third = packets(3, 100)
    bench.put(first, second)
    bench.put(third)
    bench.run()
    assert bench.arrived == [(15, first), (25, second), (35, third)]


def test_a_large_frame_holds_up_a_small_one() -> None:
    """Head of the line: 1 byte behind 1,000 bytes waits for them, 100 ms at 10,000 bytes a second."""
    bench = Bench(constant(0), bandwidth=10_000)
    bench.put(bytes(1000))
    bench.at(50, lambda: bench.put(b"x"))
    bench.run()
    assert [when for when, _ in bench.arrived] == [100, 100]
    assert bench.kernel.now == 100 * MS + MS // 10


def test_throttling_changes_what_has_not_begun() -> None:
    """From 10,000 to 1,000 bytes a second at 15 ms: the frame on the wire ends at 20 ms, the next takes 100 ms."""
    bench = Bench(constant(0), bandwidth=10_000)
    bench.put(*packets(3, 100))
    bench.at(15, lambda: bench.link.change_bandwidth(1000))
    bench.run()
    assert [when for when, _ in bench.arrived] == [10, 20, 120]


def test_lifting_a_limit_lets_everything_go() -> None:
    """Without a limit what has not begun goes at once, behind what is on the wire."""
    bench = Bench(constant(0.001), bandwidth=1000)
    bench.put(*packets(4, 100))
    bench.at(110, lambda: bench.link.change_bandwidth(None))
    bench.run()
    assert [when for when, _ in bench.arrived] == [101, 201, 201, 201]


# --- acknowledgements -------------------------------------------------------------------------------------------------


def test_bytes_are_acknowledged_when_they_are_read_and_an_echo_later() -> None:
    """200 bytes that travel 5 ms are read at once, which the sender knows at 10 ms."""
    bench = Bench(constant(0.005))
    seen: list[tuple[int, int]] = []
    bench.put(*packets(2, 100))
    for when in (1, 6, 9, 10, 11):
        bench.at(when, lambda when=when: seen.append((when, bench.link.unacknowledged)))  # type: ignore[misc]
    bench.run()
    size = bench.link.bytes_accepted
    assert size >= 200
    assert seen == [(1, size), (6, size), (9, size), (10, 0), (11, 0)]


def test_a_frame_on_a_slow_wire_is_acknowledged_bit_by_bit() -> None:
    """1,000 bytes at 10,000 a second with 10 ms of delays: 400 are known to be there at 50 ms; no more once frozen."""
    bench = Bench(constant(0.005), bandwidth=10_000)
    bench.put(bytes(1000))
    size = bench.link.bytes_accepted
    left: list[int] = []
    for when in (5, 10, 50):
        bench.at(when, lambda: left.append(bench.link.unacknowledged))
    bench.at(50, bench.link.freeze)
    bench.at(90, lambda: left.append(bench.link.unacknowledged))
    bench.run()
    assert left == [size, size, size - 400, size - 400]


def test_the_bytes_of_a_frame_arrive_one_by_one() -> None:
    """From the first, 5 ms after it was sent, to the last 100 ms later; while the link is frozen none does."""
    bench = Bench(constant(0.005), bandwidth=10_000)
    bench.put(bytes(1000))
    seen: list[int | None] = []

    def look() -> None:
        when = bench.link.arriving_at
        seen.append(None if when is None else when // MS)

    for when in (4, 6, 50):
        bench.at(when, look)
    bench.at(60, bench.link.freeze)
    for when in (70, 200):
        bench.at(when, look)
    bench.at(200, bench.link.thaw)
    for when in (210, 250):
        bench.at(when, look)
    bench.run()
    assert seen == [None, 6, 50, 60, 60, 210, None]


def test_what_a_silent_link_loses_is_never_acknowledged() -> None:
    """It is accepted, and stays unacknowledged."""
    bench = Bench(constant(0.005))
    bench.link.silence()
    bench.put(bytes(100))
    bench.run()
    assert bench.link.unacknowledged == bench.link.bytes_accepted > 0


# --- backpressure -----------------------------------------------------------------------------------------------------


def test_the_window_bounds_what_is_unread() -> None:
    """A window of 250 bytes takes two frames of 100; a reader that does not read frees nothing."""
    bench = Bench(window=250)
    bench.is_reading = False
    waiting = queue(*packets(5))
    assert len(bench.link.fill(waiting)) == 2
    bench.run()
    assert len(bench.link.fill(waiting)) == 0
    assert (bench.link.in_flight, bench.link.unread, len(waiting), bench.rooms) == (0, 200, 3, [])


def test_frames_that_are_offered_go_together_or_not_at_all() -> None:
    """A window of 250 bytes has no room for the third and fourth of 100, until those before are known to be read."""
    bench = Bench(constant(0.010), echo=constant(0.010), window=250)
    first, second = ([(packet, 100) for packet in packets(4)[begin : begin + 2]] for begin in (0, 2))
    offers = [bench.link.offer(first, 200), bench.link.offer(second, 200)]
    assert (bench.link.in_flight, len(bench.taps)) == (200, 1)
    for ms in (19, 20):
        bench.at(ms, lambda: offers.append(bench.link.offer(second, 200)))
    bench.run()
    assert offers == [True, False, False, True]
    assert [when for when, _ in bench.arrived] == [10, 10, 30, 30]
    bench.link.reset()
    assert not bench.link.offer(first, 200)


def test_reading_frees_the_window_after_the_way_back() -> None:
    """Frames take 10 ms there; read at 40 ms, the sender learns of it 7 ms later."""
    bench = Bench(constant(0.010), echo=constant(0.007), window=250)
    bench.is_reading = False
    waiting = queue(*packets(5))
    bench.link.fill(waiting)
    bench.at(40, bench.link.read)
    bench.run()
    assert bench.rooms == [47]
    assert len(bench.link.fill(waiting)) == 2


def test_room_on_its_way_is_heard_of_by_who_asks_later() -> None:
    """Read at 20 ms while nobody waited; a sender that finds the window full at 25 ms is told at 30 ms all the same."""
    bench = Bench(constant(0.010), echo=constant(0.010), window=200)
    bench.is_reading = False
    waiting = queue(*packets(2))
    bench.link.fill(waiting)
    waiting = queue(*packets(2))
    bench.at(20, bench.link.read)
    bench.at(25, lambda: bench.link.fill(waiting))
    bench.run()
    assert bench.rooms == [30]


def test_the_way_back_takes_whole_microseconds() -> None:
    """The way back takes the other law's median in whole microseconds, since logarithms differ between libraries."""
    bench = Bench(constant(0), echo=exponential(0.001), window=100)
    bench.is_reading = False
    waiting = queue(*packets(2))
    bench.link.fill(waiting)
    heard: list[int] = []
    bench.link.on_room = lambda: heard.append(bench.kernel.now)
    bench.at(1, bench.link.read)
    bench.run()
    assert heard == [MS + 693_000]  # ln 2 ms is 693.147... us


def test_part_of_what_is_there_can_be_read() -> None:
    """Only what was read frees the window."""
    bench = Bench(window=300)
    bench.is_reading = False
    waiting = queue(*packets(6))
    bench.link.fill(waiting)
    bench.at(20, lambda: bench.link.read(2))
    bench.run()
    assert bench.link.unread == 100
    assert len(bench.link.fill(waiting)) == 2


def test_a_frame_larger_than_the_window_goes_alone() -> None:
    """It is taken when nothing else is under way, and nothing with it."""
    bench = Bench(window=100)
    assert len(bench.link.fill(queue(bytes(1000), b"x"))) == 1
    assert len(bench.link.fill(queue(b"x"))) == 0


def test_control_frames_wait_for_no_window() -> None:
    """A goodbye gets through where packets do not."""
    bench = Bench(window=100)
    waiting = queue(bytes(100), b"x")
    bench.link.fill(waiting)
    bench.link.put([close_frame(1000, "", is_masked=True)])
    bench.run()
    assert [content for _, content in bench.arrived] == [bytes(100), CloseFrame(1000, "")]


@PROPERTY
@given(
    seed=st.integers(0, 2**32),
    window=st.integers(1, 500),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40),
)
def test_a_sender_that_waits_for_room_sends_everything(seed: int, window: int, sizes: Sequence[int]) -> None:
    """By ``on_room`` alone everything gets through, and no more than the window, or one frame, is ever under way."""
    bench = Bench(exponential(0.010), window=window, seed=seed)
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    waiting = queue(*sent)

    def fill() -> None:
        bench.link.fill(waiting)
        assert bench.link.in_flight + bench.link.unread <= max(window, *sizes)

    bench.link.on_room = fill
    fill()
    bench.run()
    assert [content for _, content in bench.arrived] == sent


# --- ends -------------------------------------------------------------------------------------------------------------


def test_an_end_comes_behind_the_data() -> None:
    """What was put in before the end arrives before it; what is put in after it does not."""
    bench = Bench(exponential(0.050))
    bench.put(b"last words")
    bench.link.finish()
    bench.link.finish()
    bench.put(b"too late")
    bench.run()
    assert [content for _, content in bench.arrived] == [b"last words", ControlFrame.END]


def test_a_reset_loses_what_is_in_flight_and_nothing_else() -> None:
    """What has arrived can still be read; the rest is lost, and what is put in afterwards is not even sent."""
    bench = Bench(constant(0.010))
    bench.is_reading = False
    bench.put(b"early")
    bench.at(5, lambda: bench.put(b"late"))
    bench.at(12, bench.link.reset)
    bench.at(20, lambda: bench.put(b"after"))
    bench.run()
    assert [content for content, _ in bench.link.read()] == [b"early"]
    assert bench.taps == [("sent", [b"early"]), ("sent", [b"late"]), ("arrived", [b"early"]), ("lost", [b"late"])]
    assert list(bench.link.fill(queue(b"x"))) == []


@PROPERTY
@given(seed=st.integers(0, 2**32), count=st.integers(1, 30), when=st.integers(0, 200))
def test_a_reset_keeps_the_order_up_to_itself(seed: int, count: int, when: int) -> None:
    """What arrives before a reset is the beginning of what was sent; the rest is lost, and nothing is both."""
    bench, sent = Bench(exponential(0.050), seed=seed), packets(count)
    for number, packet in enumerate(sent):
        bench.at(3 * number, lambda packet=packet: bench.put(packet))
    bench.at(when, bench.link.reset)
    bench.run()
    arrived = [content for _, content in bench.arrived]
    lost = [content for what, contents in bench.taps if what == "lost" for content in contents]
    assert arrived + lost == sent[: len(arrived) + len(lost)]
    assert all(moment <= when for moment, _ in bench.arrived)


def test_a_silent_link_swallows_everything() -> None:
    """Nothing arrives any more, the window fills up for good, and nobody is called."""
    bench = Bench(constant(0.010), window=300)
    bench.put(bytes(100))
    bench.at(15, lambda: bench.put(bytes(100)))
    bench.at(20, bench.link.silence)
    bench.at(30, lambda: bench.put(bytes(100)))
    bench.run()
    assert list(bench.link.fill(queue(bytes(100)))) == []
    assert [when for when, _ in bench.arrived] == [10]
    assert bench.rooms == []
    assert [what for what, _ in bench.taps].count("lost") == 2
    assert bench.link.state is LinkState.SILENT


def test_silence_keeps_what_had_arrived() -> None:
    """The reader can still read what came before, which the sender never learns."""
    bench = Bench(window=150)
    bench.is_reading = False
    waiting = queue(bytes(100), bytes(100))
    bench.link.fill(waiting)
    bench.at(20, bench.link.silence)
    bench.at(30, bench.link.read)
    bench.run()
    assert (bench.rooms, len(waiting)) == ([], 1)


def test_illegal_moves_raise() -> None:
    """A state that cannot follow is a fault of ours and is not passed over."""
    bench = Bench()
    bench.link.reset()
    with pytest.raises(RuntimeError, match="cannot go from BROKEN to OPEN"):
        bench.link._move(LinkState.OPEN)


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_a_frozen_link_stands_still() -> None:
    """Frozen from 5 to 105 ms, what was due at 10 arrives at 110; what was put in meanwhile 10 ms after the thaw."""
    bench = Bench(constant(0.010))
    bench.put(b"before")
    bench.at(5, bench.link.freeze)
    bench.at(50, lambda: bench.put(b"meanwhile"))
    bench.at(105, bench.link.thaw)
    bench.at(120, lambda: bench.put(b"after"))
    bench.run()
    assert bench.arrived == [(110, b"before"), (115, b"meanwhile"), (130, b"after")]


def test_a_link_that_is_frozen_while_empty_stands_still_too() -> None:
    """What is put in while it is frozen, with nothing in flight, arrives 10 ms after the thaw."""
    bench = Bench(constant(0.010))
    bench.at(5, bench.link.freeze)
    bench.at(50, lambda: bench.put(b"meanwhile"))
    bench.at(105, bench.link.thaw)
    bench.run()
    assert bench.arrived == [(115, b"meanwhile")]


def test_no_room_is_learnt_of_while_frozen() -> None:
    """What was read before the freeze, and what is read during it, frees the window after the thaw."""
    bench = Bench(constant(0.010), echo=constant(0.010), window=200)
    bench.is_reading = False
    waiting = queue(*packets(4))
    bench.link.fill(waiting)
    bench.at(20, lambda: bench.link.read(1))
    bench.at(25, bench.link.freeze)
    bench.at(50, lambda: bench.link.read(1))
    bench.at(60, lambda: bench.link.fill(waiting))
    bench.at(125, bench.link.thaw)
    bench.run()
    assert bench.rooms == [130]
    assert len(waiting) == 2


def test_freezing_twice_is_freezing_once() -> None:
    """Freeze and thaw do nothing where they change nothing."""
    bench = Bench(constant(0.010))
    bench.put(b"x")
    bench.link.thaw()
    bench.at(5, bench.link.freeze)
    bench.at(6, bench.link.freeze)
    bench.at(20, bench.link.thaw)
    bench.at(21, bench.link.thaw)
    bench.run()
    assert bench.arrived == [(25, b"x")]


def test_a_reset_reaches_a_frozen_link() -> None:
    """What stood still is lost, and a thaw brings nothing back."""
    bench = Bench()
    bench.put(b"x")
    bench.at(5, bench.link.freeze)
    bench.at(6, bench.link.reset)
    bench.at(7, bench.link.thaw)
    bench.run()
    assert bench.arrived == []


# --- background -------------------------------------------------------------------------------------------------------


def test_pings_are_no_sign_that_something_goes_on() -> None:
    """A ping in flight leaves the kernel idle; data behind it does not, and once that has arrived it is idle again."""
    bench = Bench(constant(0.010))
    ping = frame(ControlFrame.PING, is_masked=True)
    bench.link.put([ping], is_background=True)
    assert (len(bench.kernel), bench.kernel.foreground) == (1, 0)
    bench.put(b"data")
    assert bench.kernel.foreground == 1
    bench.at(5, lambda: bench.link.put([ping], is_background=True))
    idle: list[int] = []
    bench.link.on_arrival = lambda: idle.append(bench.kernel.foreground)
    bench.run()
    assert idle == [0, 0]


def test_a_flushed_link_delivers_all_that_is_in_flight_now_and_in_order() -> None:
    """What is put in later takes its delay again."""
    bench = Bench(constant(10), bandwidth=100)
    bench.put(b"one", b"two")
    bench.put(b"three")
    bench.at(1, bench.link.flush)
    bench.at(2, lambda: bench.link.change_bandwidth(None))
    bench.at(2, lambda: bench.put(b"four"))
    bench.run()
    assert bench.arrived == [(1, b"one"), (1, b"two"), (1, b"three"), (10_002, b"four")]


# --- the way back is cut ----------------------------------------------------------------------------------------------


def test_what_is_read_while_the_way_back_is_cut_is_acknowledged_after_it() -> None:
    """Frames arrive as ever. Read at 10 and 40 ms, cut from 12 to 100: heard of at 10 + 10 + 88 and 100 + 10 ms."""
    bench = Bench(constant(0.010), echo=constant(0.010), window=200)
    bench.link.fill(queue(*packets(2)))  # They fill the window, and are read at 10 ms.
    waiting = queue(*packets(3))
    left: dict[int, int] = {}
    bench.at(12, lambda: bench.link.hold_echoes(is_held=True))
    bench.at(13, lambda: bench.link.fill(waiting))
    bench.at(30, lambda: bench.link.put([(bytes(100), 100)]))
    bench.at(100, lambda: bench.link.hold_echoes(is_held=False))
    for when in (99, 107, 108, 109, 111):
        bench.at(when, lambda when=when: left.__setitem__(when, bench.link.unacknowledged))  # type: ignore[misc]
    bench.run()
    assert [when for when, _ in bench.arrived] == [10, 10, 40]
    assert left == {99: 300, 107: 300, 108: 100, 109: 100, 111: 0}
    assert bench.rooms == [108]
    assert len(bench.link.fill(waiting)) == 2


def test_cutting_the_way_back_again_or_a_frozen_link_changes_nothing() -> None:
    """A frozen link's own clock stands still, and so do its echoes."""
    bench = Bench(constant(0.010), echo=constant(0.010))
    bench.put(bytes(100))
    seen: list[int] = []
    bench.at(11, bench.link.freeze)
    bench.at(12, lambda: bench.link.hold_echoes(is_held=True))
    bench.at(12, lambda: bench.link.hold_echoes(is_held=True))
    bench.at(50, lambda: bench.link.hold_echoes(is_held=False))
    bench.at(60, bench.link.thaw)
    for when in (68, 70):
        bench.at(when, lambda: seen.append(bench.link.unacknowledged))
    bench.run()
    assert seen == [100, 0]
