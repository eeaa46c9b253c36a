"""How fast simulated rooms are: many clients for a virtual hour, a crowd for a virtual minute, and how both grow.

    python -m tests.benchmarks.simulation [--share 1.0]

Each measurement runs in a process of its own, so that its memory is its own. The numbers never pass or fail.

Machines differ, and so do minutes on one machine. So the processor time of a message is told in *bare hand-overs* too:
those of ten threads in a ring that do nothing but each wake the next by a lock, on the processor of the run and between
its parts; a row has a value for each part.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import meshsync
from simulator import Simulation, latency, participants
from simulator.simulation import SimulatedRoom
from tests.benchmarks.rows import Row, table

LAW = latency.lognormal(median=0.040, sigma=0.4)

BARE = "bare hand-over between threads"

GOAL = 45
"""What a message of 50 clients in a virtual hour should cost at most, in bare hand-overs."""

PARTS = 12
"""Into so many parts a run is cut, between which bare hand-overs are measured."""

RING = 10
"""So many threads pass bare hand-overs around."""

ROUNDS = 2000
"""How often each of them does in one measurement."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run took."""

    what: str
    participants: int
    virtual: float
    """Seconds that passed in the simulation."""
    joining: float
    """Real seconds until everybody was there."""
    real: float
    """Real seconds from then on."""
    processor: float
    """Seconds of processor time from then on, which tell less of what else the machine does."""
    messages: int
    """Messages that arrived, counted for each recipient."""
    turns: int
    """Times that an actor or a timer was taken."""
    costs: list[float]
    """Seconds of processor time of one message, in each part of the run that had any."""
    handovers: list[float]
    """Seconds of processor time of one bare hand-over, around each of these parts."""
    memory: int
    """The most bytes of memory that the process had."""


def talk(room: meshsync.RoomClient, to: str, interval: float, until: float) -> None:
    """Send a message to somebody again and again, and wait for each acknowledgement."""
    peer = room.messaging.wait_for_participant(name=to)
    number = 0
    while meshsync.monotonic() < until:
        number += 1
        room.messaging.send_message(peer, "chat", {"number": number})
        meshsync.sleep(interval)


def announce(room: meshsync.RoomClient, interval: float, until: float) -> None:
    """Broadcast again and again."""
    number = 0
    while meshsync.monotonic() < until:
        number += 1
        room.messaging.broadcast_message("news", {"number": number, "text": "x" * 100})
        meshsync.sleep(interval)


def clients(count: int, seconds: float) -> Figures:
    """Let so many full clients each send a message every 2 s to one other."""

    def begin(sim: Simulation, room: SimulatedRoom) -> float:
        rooms = [room.join(f"client-{number}", enable=True) for number in range(count)]
        until = sim.now + seconds
        for number, client in enumerate(rooms):
            sim.spawn(talk, client, f"client-{(number + 1) % count}", 2.0, until)
        return until

    return measure(f"clients, {seconds:,.0f} s", count, begin)


def crowd(count: int, seconds: float) -> Figures:
    """Let 5 full clients broadcast every second to a crowd without threads."""

    def begin(sim: Simulation, room: SimulatedRoom) -> float:
        room.add(*(participants.Sink(f"sink-{number}") for number in range(count)))
        rooms = [room.join(f"client-{number}", enable=True) for number in range(5)]
        until = sim.now + seconds
        for client in rooms:
            sim.spawn(announce, client, 1.0, until)
        return until

    return measure(f"sinks and 5 clients, {seconds:,.0f} s", count, begin)


def measure(what: str, count: int, begin: Callable[[Simulation, SimulatedRoom], float]) -> Figures:
    """Run one simulation to its end."""
    begun = time.perf_counter()
    with Simulation(seed=1, latency=LAW, stall_after=None) as sim:
        room = sim.room("bench")
        until = begin(sim, room)
        joined, turns, virtual = time.perf_counter(), sim.runtime.turns, sim.now
        real, busy, marks, handovers = 0.0, [], [len(room.transcript)], [bare_handover()]
        for part in range(PARTS):
            began, used = time.perf_counter(), time.process_time()
            sim.sleep((until + 5 - sim.now) / (PARTS - part))
            real += time.perf_counter() - began
            busy.append(time.process_time() - used)
            marks.append(len(room.transcript))
            handovers.append(bare_handover())
        turns, virtual = sim.runtime.turns - turns, sim.now - virtual
    outcomes = [record.kind == "message" and record.outcome == "delivered" for record in room.transcript]
    arrived = [sum(outcomes[first:end]) for first, end in pairwise(marks)]
    bare = [(before + after) / 2 for before, after in pairwise(handovers)]
    costs = [(used / messages, unit) for used, messages, unit in zip(busy, arrived, bare, strict=True) if messages]
    return Figures(
        what=what,
        participants=count,
        virtual=virtual,
        joining=joined - begun,
        real=real,
        processor=sum(busy),
        messages=sum(arrived),
        turns=turns,
        costs=[cost for cost, _ in costs],
        handovers=[unit for _, unit in costs],
        memory=peak_memory(),
    )


def peak_memory() -> int:
    """Return the most bytes of memory that this process had."""
    with suppress(OSError):  # Elsewhere than on Linux, whose other figure begins with that of the process before.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("\nVmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def bare_handover() -> float:
    """Return the seconds of processor time in which a thread wakes the next one by a lock, and rests at its own."""
    locks = [allocate_lock() for _ in range(RING)]
    for lock in locks:
        lock.acquire()

    def pass_on(mine: LockType, following: LockType) -> None:
        for _ in range(ROUNDS):
            mine.acquire()
            following.release()

    for mine, following in zip(locks[1:], [*locks[2:], locks[0]], strict=True):
        start_new_thread(pass_on, (mine, following))  # Beneath `threading`, whose threads would be actors.
    used = time.process_time()
    for _ in range(ROUNDS):
        locks[1].release()
        locks[0].acquire()
    return (time.process_time() - used) / (ROUNDS * RING)


def start_and_close(times: int) -> float:
    """Return the seconds that an empty simulation takes to start and close, the median of many."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        with Simulation(seed=1):
            pass
        taken.append(time.perf_counter() - begun)
    return median(taken)


def switching(times: int, actors: int = 10, sleeps: int = 5000) -> Row:
    """Return what a timer event costs that wakes another thread than the one before."""
    row = Row("timer that wakes another of 10 threads: CPU", "us each", is_less_better=True, limits={BARE: []})

    def sleep_on(delay: float) -> None:
        meshsync.sleep(delay)
        for _ in range(sleeps):
            meshsync.sleep(0.001)

    for _ in range(times):
        with Simulation(seed=1) as sim:
            tasks = [sim.spawn(sleep_on, 0.0001 * (number + 1)) for number in range(actors)]
            before, used = bare_handover(), time.process_time()
            for task in tasks:
                task.join()
            row.ours.append((time.process_time() - used) / (actors * sleeps) * 1e6)
            row.limits[BARE].append((before + bare_handover()) / 2 * 1e6)
    return row


KINDS = {"clients": clients, "crowd": crowd}


def elsewhere(kind: str, count: int, seconds: float) -> Figures:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.simulation", "--one", kind, str(count), str(seconds)]
    return Figures(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def show(figures: Figures) -> None:
    """Print one line of the table of what else was measured."""
    print(
        f"{figures.participants:6,} {figures.what:30} {figures.joining:7.2f} {figures.real:7.2f} "
        f"{figures.processor:7.2f} {figures.virtual / figures.real:8,.0f}x {figures.messages / figures.real:11,.0f} "
        f"{figures.turns / figures.real:11,.0f} {figures.memory / 1e6:8,.0f}",
        flush=True,
    )


def row_of(figures: Figures, goal: float | None) -> Row:
    """Return what a message costs."""
    return Row(
        f"{figures.participants:,} {figures.what}: CPU",
        "us/message",
        is_less_better=True,
        ours=[cost * 1e6 for cost in figures.costs],
        limits={BARE: [handover * 1e6 for handover in figures.handovers]},
        goal=goal,
    )


def run(options: argparse.Namespace) -> list[Row]:
    """Measure, print what rows do not tell, and return them."""
    share = options.share
    print(f"an empty simulation starts and closes in {start_and_close(round(200 * share)) * 1000:.2f} ms (bound: 5)")
    print(
        f"{'count':>6} {'what':30} {'join s':>7} {'run s':>7} {'CPU s':>7} {'speed':>9} {'messages/s':>11} "
        f"{'turns/s':>11} {'MB':>8}"
    )
    rows = [switching(max(2, round(5 * share)))]
    for count in (2, 10, 50) if share == 1 else (2, 50):
        figures = elsewhere("clients", count, 3600 * share)
        show(figures)
        rows.append(row_of(figures, GOAL if count == 50 else None))
    for count in (10, 100, 1000) if share == 1 else (10,):
        figures = elsewhere("crowd", count, 60 * share)
        show(figures)
        rows.append(row_of(figures, None))
    print(
        "Each client sends to one other every 2 s; sinks have no thread, and 5 clients broadcast every second.\n"
        "messages/s: deliveries, one for each recipient. turns/s: switches between actors, and timers.\n"
        "Bounds: 50 clients for an hour in 20 s; 1,000 sinks for a minute in 60 s and 500 MB.\n"
    )
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--share", type=float, default=1.0, help="of the virtual time; below 1 of fewer sizes")
    made.add_argument("--one", nargs=3, metavar=("KIND", "COUNT", "SECONDS"), help="one measurement, as JSON")
    return made


def main() -> None:
    """Print one measurement, or the table."""
    options = parser().parse_args()
    if options.one:
        kind, count, seconds = options.one
        print(json.dumps(asdict(KINDS[kind](int(count), float(seconds)))))
    else:
        print(table(run(options)))


if __name__ == "__main__":
    main()
