"""Megabytes per second through one stream, and what they cost, beside the official clients, in one run on one emulator.

    python -m tests.benchmarks.streams [--rounds 5] [--size 32]

Every pair is a sender and a receiver of one kind, a process each; the emulator is one for all of them. A round measures
every pair once with each size of chunk, and the next round goes through them in the other order. The time is from
opening the stream until the receiver has everything. Afterwards a slow reader shows what flow control does to memory.

The numbers are of this machine, on loopback. They never pass or fail.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from tests.benchmarks.limits import Relay
from tests.benchmarks.programs import EMULATOR, Program, official, running
from tests.benchmarks.rows import Row, table
from tests.interop.releases import ROOT

PARTICIPANT = Path(__file__).with_name("participant.py")
REFERENCES = ("official 0.0.21", "official 0.56.0")
"""What others are compared with: streams of a classic release, and attachments of the newest, each awaited."""
PAIRS = {
    "official 0.0.21": ("0.0.21", ["official"], "stream"),
    "official 0.56.0": ("0.56.0", ["official"], "sequential"),
    "official 0.56.0, gathered": ("0.56.0", ["official"], "pipelined"),
    "official 0.56.0, calls": ("0.56.0", ["official"], "stream"),
    "meshsync, pure Python, A": (None, ["pure", "A"], "stream"),
    "meshsync with speed, A": (None, ["meshsync", "A"], "stream"),
    "meshsync, pure Python, B": (None, ["pure", "B"], "stream"),
    "meshsync with speed, B": (None, ["meshsync", "B"], "stream"),
}
"""By label: the release whose environment runs it, ours for none; the kind of participant, and its dialect; what it
does: a stream, or messages with attachments, each awaited before the next or all of them together."""
OURS = {label: label.replace("meshsync", "stream") for label in PAIRS if label.startswith("meshsync")}
"""By label of those that are ours: how its rows begin."""
LIMIT = "limit"
LIMIT_IS = "bare sockets through a process"
CHUNKS = (64 * 1024, 1024 * 1024)
"""Bytes of data in each chunk."""
SLOW_SIZE, SLOW_CHUNK, SLOW_PAUSE = 200 * 1024 * 1024, 64 * 1024, 0.010
"""What the slow reader is sent, in bytes, and how long it takes for a chunk, in seconds."""


class Pair:
    """A sender and a receiver."""

    def __init__(self, label: str, python: str, environ: dict[str, str], stack: ExitStack) -> None:
        release, (kind, *dialect), self.does = PAIRS[label]
        path = {"PYTHONPATH": str(ROOT) if release is None else ""}  # the official one sees nothing of ours

        def start(name: str) -> Program:
            command = [python, str(PARTICIPANT), kind, f"{label} {name}", *dialect]
            program = stack.enter_context(running(command, {**environ, **path}))
            program.read()
            return program

        self.sender, self.receiver = start("sender"), start("receiver")
        self.to = f"{label} receiver"
        self.sent = 0

    def measure(self, size: int, chunk: int) -> dict[str, float]:
        """Send so many bytes; return megabytes a second, and milliseconds of each side's CPU per megabyte."""
        count = max(1, size // chunk)
        megabytes = count * chunk / (1 << 20)
        before = self.receiver.ask(do="streamed", size=self.sent)["cpu"]
        self.sent += count * chunk
        start = perf_counter()
        sender = self.sender.ask(do=self.does, to=self.to, count=count, size=chunk)
        after = self.receiver.ask(do="streamed", size=self.sent)["cpu"]
        costs = {"sender": sender["cpu"], "receiver": after - before}
        return {
            "rate": megabytes / (perf_counter() - start),
            **{side: cpu / megabytes * 1000 for side, cpu in costs.items()},
        }


QUANTITIES = {
    "rate": ("MB/s", False, ""),
    "sender": ("ms per MB", True, ", sender's CPU"),
    "receiver": ("ms per MB", True, ", receiver's CPU"),
}
"""By what is measured: its unit, whether less is better, and what its row's name ends with."""


def compare(pairs: dict[str, Pair], missing: dict[str, str], relay: Relay, rounds: int, megabytes: int) -> list[Row]:
    """Measure all pairs in alternation; return the rows of those that are ours."""
    values: dict[tuple[str, int, str], list[float]] = {}
    for pair in pairs.values():
        pair.measure(4 * 1024 * 1024, CHUNKS[0])  # the first time is slower
    for number in range(rounds):
        for chunk in CHUNKS:
            order = [*pairs, LIMIT]
            for label in order if number % 2 == 0 else reversed(order):
                if label == LIMIT:
                    figures = relay.stream(megabytes * (1 << 20) // chunk, chunk)
                else:
                    figures = pairs[label].measure(megabytes * (1 << 20), chunk)
                for quantity, value in figures.items():
                    values.setdefault((label, chunk, quantity), []).append(value)
    return [
        Row(
            f"{what}, {chunk >> 10} KiB{ends}",
            unit,
            is_less_better,
            values[label, chunk, quantity],
            {name.removeprefix("official "): values[name, chunk, quantity] for name in REFERENCES if name in pairs},
            {LIMIT_IS: values[LIMIT, chunk, quantity]} if (LIMIT, chunk, quantity) in values else {},
            missing=missing,
        )
        for chunk in CHUNKS
        for quantity, (unit, is_less_better, ends) in QUANTITIES.items()
        for label, what in OURS.items()
    ]


def slow_reader(environ: dict[str, str], stack: ExitStack) -> str:
    """Let a fast writer meet a slow reader and return what both needed of memory."""
    pair = Pair("meshsync with speed, B", sys.executable, environ, stack)
    pair.receiver.ask(do="slowly", seconds=SLOW_PAUSE)
    before = [program.ask(do="memory")["peak"] / 1024 for program in (pair.sender, pair.receiver)]
    rate = pair.measure(SLOW_SIZE, SLOW_CHUNK)["rate"]
    after = [program.ask(do="memory")["peak"] / 1024 for program in (pair.sender, pair.receiver)]
    return (
        f"{SLOW_SIZE >> 20} MiB to a reader that takes {SLOW_CHUNK >> 10} KiB per {SLOW_PAUSE * 1000:.0f} ms: "
        f"{(SLOW_SIZE >> 20) / rate:.0f} s; peak memory of the sender's process {after[0]:.1f} MiB (before: "
        f"{before[0]:.1f}), of the receiver's {after[1]:.1f} MiB (before: {before[1]:.1f})"
    )


def run(options: argparse.Namespace) -> list[Row]:
    """Measure, print what a slow reader does to memory, and return the rows."""
    rows = []
    if options.only != "slow":
        with ExitStack() as stack:
            environ = stack.enter_context(running(shlex.split(options.emulator), {})).read()["env"]
            found, missing = official(*sorted({release for release, *_ in PAIRS.values() if release}))
            pythons = {None: sys.executable, **found}
            pairs = {
                label: Pair(label, pythons[release], environ, stack)
                for label, (release, *_) in PAIRS.items()
                if release in pythons
            }
            rows = compare(pairs, missing, Relay(stack), options.rounds, options.size)
    if options.only != "compare":
        with ExitStack() as stack:
            environ = stack.enter_context(running(shlex.split(options.emulator), {})).read()["env"]
            print(slow_reader(environ, stack))
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--size", type=int, default=32, help="MiB in each measurement")
    made.add_argument("--emulator", default=EMULATOR, help="command that serves rooms and prints one line of JSON")
    made.add_argument("--only", choices=("compare", "slow"), help="one of the two parts")
    return made


if __name__ == "__main__":
    print(table(run(parser().parse_args())))
